package catalog

import (
	"errors"
	"os"

	"berth/internal/filelock"
	"berth/internal/oci"
	"berth/internal/storage/snapshot"
)

// Store is the catalog of one data root. It holds no state: any number of
// Stores, in any number of processes, may work on one root at once.
type Store struct {
	root   string
	dir    string
	layers *snapshot.Store

	// at, when not nil, is called before every step that a crash could fall
	// between; tests record the steps or end the process there.
	at func(step string)
}

// Open returns the catalog of a data root. It touches nothing: the directories
// are made by the first write.
func Open(dataRoot string) *Store {
	return &Store{root: dataRoot, dir: dataRoot + "/image/" + snapshot.Driver, layers: snapshot.Open(dataRoot)}
}

// Dir returns the directory of the catalog's files.
func (s *Store) Dir() string { return s.dir }

func (s *Store) namesPath() string   { return s.dir + "/repositories.json" }
func (s *Store) contentDir() string  { return s.dir + "/imagedb/content/sha256" }
func (s *Store) metadataDir() string { return s.dir + "/imagedb/metadata/sha256" }
func (s *Store) layerDir() string    { return s.dir + "/layerdb/sha256" }
func (s *Store) leaseDir() string    { return s.dir + "/.leases" }

func (s *Store) content(id oci.Digest) string  { return s.contentDir() + "/" + id.Hex() }
func (s *Store) metadata(id oci.Digest) string { return s.metadataDir() + "/" + id.Hex() }

// LayerDir returns the directory of a layer's record.
func (s *Store) LayerDir(chain oci.Digest) string { return s.layerDir() + "/" + chain.Hex() }

// DistributionDir returns the directory of what transfers leave for each other.
func (s *Store) DistributionDir() string { return s.dir + "/distribution" }

// makeDirs makes the catalog's directories. Configs may hold secrets of the
// user's, and the data root is closed to other users (mode 0710) anyway.
func (s *Store) makeDirs() error {
	if err := os.MkdirAll(s.root, 0o710); err != nil {
		return err
	}
	for _, d := range [...]string{s.contentDir(), s.metadataDir(), s.layerDir(), s.leaseDir(), s.DistributionDir()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	return nil
}

// Hold is the right to count on every image and layer that is here.
type Hold struct{ lock *filelock.Lock }

// Hold keeps every image and layer from being removed until Release. It is meant
// for the short time between looking an image up and recording its new user.
func (s *Store) Hold() (*Hold, error) {
	l, err := s.lock(filelock.Shared, "/.lock")
	if err != nil {
		return nil, err
	}
	return &Hold{l}, nil
}

// Release ends the hold.
func (h *Hold) Release() error { return h.lock.Unlock() }

func (s *Store) lock(how func(string) (*filelock.Lock, error), name string) (*filelock.Lock, error) {
	l, err := how(s.dir + name)
	if errors.Is(err, os.ErrNotExist) {
		if err := s.makeDirs(); err != nil {
			return nil, err
		}
		l, err = how(s.dir + name)
	}
	return l, err
}

// step marks a place where a crash test may strike.
func (s *Store) step(name string) {
	if s.at != nil {
		s.at(name)
	}
}
