package source

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
)

// Ignore tells whether the file rel, a clean path relative to the tree, is left
// out. It answers for rel as such: a name below an ignored directory is ignored
// unless a later rule takes it back. skipDir, of a directory, says that nothing
// below it can be taken back, so that it need not be read.
type Ignore func(rel string, isDir bool) (ignored, skipDir bool)

// Tree is an open directory that files are taken from. The exported fields are
// set before it is used first; after that any number of goroutines may use it.
type Tree struct {
	// Ignore is what is left out; nil leaves out nothing.
	Ignore Ignore
	// IgnoreName is the file that Ignore was made of, for hints; "" is ".dockerignore".
	IgnoreName string
	// Memory spares reading what was read before; nil reads.
	Memory *Memory
	// RootOwned shows every file as user 0's and group 0's: who owns the files of
	// a build context on disk is no part of the build, nor is who else may read
	// them (acl(5)) or what programs of this host noted on them (user.*).
	RootOwned bool
	// File is the name of the one file that a tree made by Get holds.
	File string
	// Revision is the commit of a checkout that kept its .git directory, with
	// the subdirectory: it stands for the content, as git's own files there
	// differ with every clone. "" otherwise.
	Revision string
	// Origin is where the tree was fetched from; nil if it was here.
	Origin *Origin

	root  *os.File
	dir   string // of the host, if it was made for the tree
	close []func() error
}

// Dir opens the directory path of the host as a build context.
func Dir(path string) (*Tree, error) {
	root, err := rootpath.OpenRoot(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errdefs.New(errdefs.NotFound, "unable to prepare context: path %q not found", path).
			WithHint("name a directory, the URL of a git repository, or - for an archive on standard input")
	case errors.Is(err, unix.ENOTDIR):
		return nil, errdefs.New(errdefs.InvalidArgument, "unable to prepare context: %q is not a directory", path).
			WithHint("name the directory; a Dockerfile in another place is named with -f")
	case err != nil:
		return nil, errdefs.Wrap(err, "open", "the build context")
	}
	t := Open(root)
	t.RootOwned = true
	return t, nil
}

// Open makes a tree of an open directory, such as the root of a mounted stage.
// Close closes it.
func Open(root *os.File) *Tree {
	return &Tree{root: root, close: []func() error{root.Close}}
}

// Root is the open directory, for the functions of linux/rootpath. It belongs to the tree.
func (t *Tree) Root() *os.File { return t.root }

// Close closes the directory and removes it if it was made for the tree.
func (t *Tree) Close() error {
	var errs []error
	for i := len(t.close) - 1; i >= 0; i-- {
		errs = append(errs, t.close[i]())
	}
	t.close = nil
	return errors.Join(errs...)
}

// ReadFile returns the content of the regular file at path, such as a
// Dockerfile, of at most limit bytes. Ignore does not count.
func (t *Tree) ReadFile(path string, limit int64) ([]byte, error) {
	return rootpath.ReadFile(t.root, path, limit)
}

// Ignored is Ignore with nil and the root seen to.
func (t *Tree) Ignored(rel string, isDir bool) (ignored, skipDir bool) {
	if t.Ignore == nil || rel == "" {
		return false, false
	}
	return t.Ignore(rel, isDir)
}

// Stat describes name in the open directory dir as the tree shows it; a link is not followed.
func (t *Tree) Stat(dir int, name string, st *unix.Stat_t) error {
	if err := unix.Fstatat(dir, name, st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "stat", Path: name, Err: err}
	}
	t.show(st)
	return nil
}

func (t *Tree) show(st *unix.Stat_t) {
	if t.RootOwned {
		st.Uid, st.Gid = 0, 0
	}
}

// OpenFile opens the regular file name in the open directory dir for reading
// and describes it. A link is not followed. What has taken the file's place
// since it was looked at (a FIFO, a device) is refused.
func (t *Tree) OpenFile(dir int, name string, st *unix.Stat_t) (int, error) {
	// O_NONBLOCK: a FIFO without a writer would make the open wait.
	fd, err := ignoringEINTR(func() (int, error) {
		return unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: name, Err: err}
	}
	err = unix.Fstat(fd, st)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = errdefs.New(errdefs.Conflict, "the file was replaced while it was read")
	}
	if err != nil {
		unix.Close(fd)
		return -1, &os.PathError{Op: "open", Path: name, Err: err}
	}
	t.show(st)
	return fd, nil
}

func ignoringEINTR(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
