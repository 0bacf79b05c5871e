package snapshot

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"berth/internal/errdefs"
	"berth/internal/ident"
)

// Below returns the ids of the layers under id, topmost first; for a writable
// layer the first is the init layer.
func (s *Store) Below(id string) ([]string, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	lower, err := s.readLower(id)
	if err != nil {
		return nil, errdefs.Wrap(err, "read layer", ident.Short(id))
	}
	if lower == "" {
		return nil, nil
	}
	links := strings.Split(lower, ":")
	ids := make([]string, len(links))
	for i, l := range links {
		if ids[i], err = s.layerAt(l); err != nil {
			return nil, errdefs.Wrap(err, "read layer", ident.Short(id))
		}
	}
	return ids, nil
}

// Parent returns the layer that id lies on, "" for a base layer.
func (s *Store) Parent(id string) (string, error) {
	if err := checkID(id); err != nil {
		return "", err
	}
	lower, err := s.readLower(id)
	if err == nil && lower != "" {
		first, _, _ := strings.Cut(lower, ":")
		lower, err = s.layerAt(first)
	}
	return lower, errdefs.Wrap(err, "read layer", ident.Short(id))
}

// layerAt returns the layer that a short link leads to.
func (s *Store) layerAt(link string) (string, error) {
	target, err := os.Readlink(s.dir + "/" + link)
	if err != nil {
		return "", err
	}
	name, ok := strings.CutPrefix(target, "../")
	name, ok2 := strings.CutSuffix(name, "/diff")
	if !ok || !ok2 || checkID(name) != nil {
		return "", &os.PathError{Op: "readlink", Path: s.dir + "/" + link, Err: ErrDamaged}
	}
	return name, nil
}

// Lowers returns the directories under the layer id, topmost first.
func (s *Store) Lowers(id string) ([]string, error) {
	ids, err := s.Below(id)
	if err != nil {
		return nil, err
	}
	dirs := make([]string, len(ids))
	for i, l := range ids {
		dirs[i] = s.Diff(l)
	}
	return dirs, nil
}

// GraphData returns what inspect shows as GraphDriver.Data: LowerDir (absent
// for a base layer), MergedDir, UpperDir and WorkDir.
func (s *Store) GraphData(id string) (map[string]string, error) {
	lowers, err := s.Lowers(id)
	if err != nil {
		return nil, err
	}
	data := map[string]string{
		"MergedDir": s.Merged(id),
		"UpperDir":  s.Diff(id),
		"WorkDir":   s.Path(id) + "/work",
	}
	if len(lowers) > 0 {
		data["LowerDir"] = strings.Join(lowers, ":")
	}
	return data, nil
}

// Usage returns the bytes of the files in a layer: the sum of their lengths,
// each file once however many names it has, directories not counted. What
// vanishes during the walk is not counted.
func (s *Store) Usage(id string) (int64, error) {
	if err := checkID(id); err != nil {
		return 0, err
	}
	return TreeSize(s.Diff(id))
}

// TreeSize is Usage of any directory.
func TreeSize(dir string) (int64, error) {
	var sum int64
	seen := map[[2]uint64]bool{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			return nil
		}
		var info fs.FileInfo
		if err == nil {
			info, err = e.Info()
		}
		if errors.Is(err, os.ErrNotExist) && path != dir {
			return nil
		}
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 {
			key := [2]uint64{uint64(st.Dev), st.Ino}
			if seen[key] {
				return nil
			}
			seen[key] = true
		}
		sum += info.Size()
		return nil
	})
	return sum, err
}
