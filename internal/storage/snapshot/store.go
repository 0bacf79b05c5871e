package snapshot

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/atomicfile"
	"berth/internal/errdefs"
)

// Driver is the name of this kind of layer store, as info and inspect show it.
const Driver = "overlay2"

// Store is the layers below one data root. It holds no state: any number of
// Stores, in any number of processes, may work on one root at once.
type Store struct {
	root string // the data root
	dir  string // root/overlay2

	// at, when not nil, is called before every step that a crash could fall
	// between; tests record the steps or end the process there.
	at func(step string)
}

// Open returns the store of a data root. It touches nothing: the directories
// are made by the first write.
func Open(dataRoot string) *Store {
	return &Store{root: dataRoot, dir: dataRoot + "/" + Driver}
}

// Dir returns the directory that holds the layers.
func (s *Store) Dir() string { return s.dir }

// Path returns the directory of a layer; its files are in "diff" below it.
func (s *Store) Path(id string) string { return s.dir + "/" + id }

// Diff returns the directory with a layer's files.
func (s *Store) Diff(id string) string { return s.dir + "/" + id + "/diff" }

// Merged returns where a writable layer is mounted.
func (s *Store) Merged(id string) string { return s.dir + "/" + id + "/merged" }

// Exists reports whether there is a layer of that id.
func (s *Store) Exists(id string) bool {
	var st unix.Stat_t
	return checkID(id) == nil && unix.Lstat(s.Diff(id), &st) == nil
}

// Modes of the directories. Layers hold set-user-id programs that only make
// sense inside a container: no other user of the host may reach them
// (CVE-2021-41091). Inside that gate a layer is open, as a container's root
// directory must be for the container's users.
const (
	rootMode  = 0o710
	storeMode = 0o700
	layerMode = 0o755
)

// makeDirs makes the store's directories.
func (s *Store) makeDirs() error {
	if err := os.MkdirAll(s.root, rootMode); err != nil {
		return err
	}
	for _, d := range [...]string{s.dir, s.dir + "/l"} {
		if err := os.Mkdir(d, storeMode); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// mkdir makes a directory below the store's, and the store's own if they are missing.
func (s *Store) mkdir(path string) error {
	err := unix.Mkdir(path, layerMode)
	if errors.Is(err, unix.ENOENT) {
		if err := s.makeDirs(); err != nil {
			return err
		}
		err = unix.Mkdir(path, layerMode)
	}
	if err != nil {
		return &os.PathError{Op: "mkdir", Path: path, Err: err}
	}
	return nil
}

// symlink makes the short link of a layer.
func (s *Store) symlink(link, id string) error {
	target, path := "../"+id+"/diff", s.dir+"/l/"+link
	err := unix.Symlink(target, path)
	if errors.Is(err, unix.ENOENT) { // who made the store was killed before it made "l"
		if err := s.makeDirs(); err != nil {
			return err
		}
		err = unix.Symlink(target, path)
	}
	if err != nil {
		return &os.LinkError{Op: "symlink", Old: target, New: path, Err: err}
	}
	return nil
}

// checkID refuses what cannot be the directory name of a layer: an id reaches
// this package from files that may be damaged.
func checkID(id string) error {
	ok := id != "" && id != "l" && len(id) <= 128
	for i := 0; i < len(id) && ok; i++ {
		c := id[i]
		ok = c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || i > 0 && (c == '-' || c == '_' || c == '.')
	}
	if !ok {
		return errdefs.New(errdefs.InvalidArgument, "invalid layer id %q", id)
	}
	return nil
}

// linkLen is the length of a short link's name.
const linkLen = 26

// readLink returns the short link of a layer.
func (s *Store) readLink(id string) (string, error) {
	b, err := atomicfile.Read(s.Path(id) + "/link")
	if err != nil {
		return "", err
	}
	if !isLink(string(b)) {
		return "", &os.PathError{Op: "parse", Path: s.Path(id) + "/link", Err: ErrDamaged}
	}
	return string(b), nil
}

// readLower returns the short links below a layer, topmost first, as written:
// "l/<26>:l/<26>". A base layer has none.
func (s *Store) readLower(id string) (string, error) {
	b, err := atomicfile.Read(s.Path(id) + "/lower")
	if errors.Is(err, os.ErrNotExist) && s.Exists(id) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	for l := range strings.SplitSeq(string(b), ":") {
		if !strings.HasPrefix(l, "l/") || !isLink(l[2:]) {
			return "", &os.PathError{Op: "parse", Path: s.Path(id) + "/lower", Err: ErrDamaged}
		}
	}
	return string(b), nil
}

// ErrDamaged is the cause when a layer's small files lost their content, as a
// power cut empties files that were never synced. For a writable layer, Mount
// with MountOptions.Parent makes them again.
var ErrDamaged = errors.New("damaged file")

func isLink(s string) bool {
	if len(s) != linkLen {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'A' || c > 'Z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// below returns the content of the lower file of a layer that lies on id.
func (s *Store) below(id string) (string, error) {
	link, err := s.readLink(id)
	if err != nil {
		return "", err
	}
	lower, err := s.readLower(id)
	if err != nil {
		return "", err
	}
	if lower == "" {
		return "l/" + link, nil
	}
	return "l/" + link + ":" + lower, nil
}

// step marks a place where a crash test may strike.
func (s *Store) step(name string) {
	if s.at != nil {
		s.at(name)
	}
}

// writeFile makes a new small file with two fewer system calls than os.WriteFile.
func writeFile(path, content string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	n, err := unix.Write(fd, []byte(content))
	if cerr := unix.Close(fd); err == nil {
		err = cerr
	}
	if err == nil && n < len(content) {
		err = unix.ENOSPC // a short write of a small file: the disk is full
	}
	if err != nil {
		return &os.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}
