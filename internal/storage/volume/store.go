// Package volume provides directories whose content outlives containers.
//
// A volume is ROOT/volumes/<name>/_data, bound into containers like any
// directory of the host, and a small record beside it (volume.json), whose
// appearance makes the volume exist. A volume made for one container alone is
// anonymous: its name is random, and it goes when the container is removed with
// its volumes.
//
// The first container that mounts a new volume over a directory of its image
// finds the image's files in it: FillFrom copies them, once.
//
// Changes of one volume are made under flock(2) on its file .lock; there is no
// lock over all volumes and no index. Who uses a volume is known to the
// containers' records, not here. So that none is removed under a container that
// is just being made, the maker writes its record first and calls Create after
// that, and RemoveUnused asks for the users while it holds the lock.
package volume

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/atomicfile"
	"berth/internal/errdefs"
	"berth/internal/filelock"
	"berth/internal/ident"
)

// Store is the volumes of one data root. It keeps nothing open.
type Store struct{ root string }

// Open returns the store of a data root, without I/O.
func Open(dataRoot string) *Store { return &Store{filepath.Join(dataRoot, "volumes")} }

// Options are what a volume is created with.
type Options struct {
	Labels    map[string]string
	Driver    map[string]string // --opt; see Volume.Mount
	Anonymous bool
	// Durable makes the new volume survive the loss of power before Create returns.
	Durable bool
}

// AnonymousLabel is the label by which Docker marks volumes that nobody named.
const AnonymousLabel = "com.docker.volume.anonymous"

// Volume is one volume.
type Volume struct {
	Name      string            `json:"Name"`
	Path      string            `json:"-"` // the directory with its files
	CreatedAt time.Time         `json:"CreatedAt"`
	Labels    map[string]string `json:"Labels,omitempty"`
	Options   map[string]string `json:"Options,omitempty"`
	Anonymous bool              `json:"Anonymous,omitempty"`
	// Filled means that it once got the content of an image: it never gets any again.
	Filled bool `json:"Filled,omitempty"`
}

const (
	dataDir    = "_data"
	recordFile = "volume.json"
	lockFile   = ".lock"
	trash      = ".trash-"
)

// CheckName refuses names that Docker refuses: [a-zA-Z0-9][a-zA-Z0-9_.-]+.
func CheckName(name string) error {
	ok := len(name) > 1 && len(name) <= 255
	for i, c := range []byte(name) {
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		ok = ok && (alnum || i > 0 && (c == '_' || c == '.' || c == '-'))
	}
	if !ok {
		return errdefs.New(errdefs.InvalidArgument, "create %s: %q includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed", name, name).
			WithHint("if you meant a directory of the host, write its absolute path")
	}
	return nil
}

// Create makes a volume, or returns the one that has the name. An empty name
// makes a random one.
func (s *Store) Create(name string, o Options) (Volume, error) {
	if name == "" {
		name, o.Anonymous = ident.New(), true
	}
	if err := CheckName(name); err != nil {
		return Volume{}, err
	}
	for {
		v, err := s.Get(name)
		if errors.Is(err, errdefs.NotFound) {
			v, err = s.make(name, o)
		}
		if err != nil {
			return Volume{}, errdefs.Wrap(err, "create", "volume "+name)
		}
		if err := s.heal(name); !errors.Is(err, errdefs.NotFound) { // else it was removed just now
			return v, err
		}
	}
}

// make makes a volume, or returns the one that another process has made meanwhile.
func (s *Store) make(name string, o Options) (Volume, error) {
	if err := checkDriver(o.Driver); err != nil {
		return Volume{}, err
	}
	lock, err := s.lockNew(name)
	if err != nil {
		return Volume{}, err
	}
	defer lock.Unlock()
	if v, err := s.Get(name); !errors.Is(err, errdefs.NotFound) {
		return v, err
	}
	data := filepath.Join(s.root, name, dataDir)
	if err := os.Mkdir(data, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return Volume{}, err
	}
	if err := os.Chmod(data, 0o755); err != nil { // whatever the umask: any user of a container may look in
		return Volume{}, err
	}
	v := Volume{Name: name, Path: data, CreatedAt: time.Now().UTC(), Labels: o.Labels, Options: o.Driver, Anonymous: o.Anonymous}
	if o.Anonymous {
		v.Labels = map[string]string{AnonymousLabel: ""}
		maps.Copy(v.Labels, o.Labels)
	}
	if err := s.write(&v, atomicfile.Durability(o.Durable)); err != nil {
		return Volume{}, err
	}
	if o.Durable {
		return v, atomicfile.SyncDir(s.root)
	}
	return v, nil
}

// lockNew makes the directory of a volume and locks it. A Remove may take the
// directory away in between: then again.
func (s *Store) lockNew(name string) (*filelock.Lock, error) {
	for {
		// Only the owner passes through: containers get at the files by a bind mount.
		if err := os.MkdirAll(filepath.Join(s.root, name), 0o700); err != nil {
			return nil, err
		}
		lock, err := s.lock(name)
		if !errors.Is(err, errdefs.NotFound) {
			return lock, err
		}
	}
}

// lock waits for the lock of a volume; NotFound if its directory is not there.
func (s *Store) lock(name string) (*filelock.Lock, error) {
	lock, err := filelock.Exclusive(filepath.Join(s.root, name, lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notFound(name)
	}
	return lock, err
}

func notFound(name string) error {
	return errdefs.New(errdefs.NotFound, "get %s: no such volume", name).WithHint("list the volumes: berth volume ls")
}

// write replaces a volume's record.
func (s *Store) write(v *Volume, d atomicfile.Durability) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(s.root, v.Name, recordFile), append(text, '\n'), 0o600, d)
}

// Get returns the volume of that name.
func (s *Store) Get(name string) (Volume, error) {
	if CheckName(name) != nil {
		return Volume{}, notFound(name)
	}
	dir := filepath.Join(s.root, name)
	text, err := os.ReadFile(filepath.Join(dir, recordFile))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return Volume{}, notFound(name)
	}
	if err != nil {
		return Volume{}, errdefs.Wrap(err, "read", "volume "+name)
	}
	v := Volume{}
	if json.Unmarshal(text, &v) != nil {
		// A record that a power cut emptied is no reason to hide the files. Nothing
		// says that they were never filled: rather an empty volume than one overwritten.
		v = Volume{Filled: true}
		if fi, err := os.Stat(dir); err == nil {
			v.CreatedAt = fi.ModTime().UTC()
		}
	}
	v.Name, v.Path = name, filepath.Join(dir, dataDir)
	return v, nil
}

// List returns all volumes by name.
func (s *Store) List() ([]Volume, error) {
	entries, err := os.ReadDir(s.root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []Volume
	for _, e := range entries {
		v, err := s.Get(e.Name())
		switch {
		case errors.Is(err, errdefs.NotFound):
			continue // being made or removed
		case err != nil:
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}
