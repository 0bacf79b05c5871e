package container

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// cidFile is the file of --cidfile: it is made before the container, so that a
// second container cannot take it, and removed if no container came to be.
type cidFile struct {
	f       *os.File // nil: none is asked for
	written bool
}

func newCIDFile(path string) (*cidFile, error) {
	if path == "" {
		return &cidFile{}, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("container ID file found, make sure the other container isn't running or delete %s", path)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot create the container ID file: %w", err)
	}
	return &cidFile{f: f}, nil
}

// write stores the id; "" is no container.
func (c *cidFile) write(id string) error {
	if c.f == nil || id == "" {
		return nil
	}
	if _, err := c.f.WriteString(id); err != nil {
		return fmt.Errorf("cannot write the container ID file: %w", err)
	}
	c.written = true
	return nil
}

func (c *cidFile) close() {
	if c.f == nil {
		return
	}
	c.f.Close() //nolint:errcheck // the id was written, or the file goes
	if !c.written {
		os.Remove(c.f.Name()) //nolint:errcheck // an empty file is harmless
	}
}
