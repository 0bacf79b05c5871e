package snapshot

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/ident"
)

// Committed reports whether id is an image layer: nobody writes to it any more.
func (s *Store) Committed(id string) bool {
	var st unix.Stat_t
	return checkID(id) == nil && unix.Lstat(s.Path(id)+"/committed", &st) == nil
}

// UnderWritable returns a test for the layers that writable layers lie on. What
// cannot be read counts as lying on everything.
func (s *Store) UnderWritable() (func(id string) bool, error) {
	names, err := s.list()
	if err != nil {
		return nil, err
	}
	used, unknown := map[string]bool{}, false
	for _, name := range names {
		if !ident.Valid(name) || s.Committed(name) {
			continue
		}
		below, err := s.Below(name)
		switch {
		case errors.Is(err, os.ErrNotExist) && !s.Exists(name): // removed meanwhile
		case err != nil:
			unknown = true
		}
		for _, l := range below {
			used[strings.TrimSuffix(l, initSuffix)] = true
		}
	}
	return func(id string) bool { return unknown || used[id] }, nil
}
