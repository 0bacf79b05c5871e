package copy

import (
	"errors"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/build/source"
	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
)

// copier puts one part into the target; it is a visitor of the part's files.
type copier struct {
	*target
	tree     *source.Tree
	progress func(int64)
	dest     string // the path of dirs[0], for errors
	// dirs are the open directories of the target from the one that the part is
	// put into to the one being filled.
	dirs  []int
	names []string // of dirs but the first
	links map[inode]linked
}

// linked is a file of the target that others may be hard links of.
type linked struct {
	path string // below dirs[0]
	id   inode  // in the target, so that a file that replaced it is not taken for it
}

func (c *copier) close() {
	for _, fd := range c.dirs {
		unix.Close(fd)
	}
}

// here is the directory being filled.
func (c *copier) here() int { return c.dirs[len(c.dirs)-1] }

// at is the path of name in the directory being filled.
func (c *copier) at(name string) string {
	return printable(path.Join("/", c.dest, strings.Join(c.names, "/"), name))
}

func (c *copier) file(e *entry) error { return c.put(e, e.name) }

// enter makes a directory, or takes the one that is there.
func (c *copier) enter(e *entry) error {
	err := unix.Mkdirat(c.here(), e.name, 0o700)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return os.NewSyscallError("mkdir", err)
	}
	fd, err := unix.Openat(c.here(), e.name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return errdefs.New(errdefs.Conflict, "cannot copy to non-directory: %s", c.at(e.name)).
			WithHint("the destination has a file or link of this name: remove it in an earlier step, or copy to where it leads")
	}
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	c.dirs, c.names = append(c.dirs, fd), append(c.names, e.name)
	return nil
}

// leave gives a directory its attributes, now that nothing more is made in it.
func (c *copier) leave(e *entry) error {
	fd := c.here()
	defer unix.Close(fd)
	c.dirs, c.names = c.dirs[:len(c.dirs)-1], c.names[:len(c.names)-1]
	xattrs, err := c.tree.Xattrs(e.dir, e.name)
	if err != nil {
		return err
	}
	return c.finishFile(fd, &e.st, xattrs)
}

// put makes the file e under a name of the directory being filled.
func (c *copier) put(e *entry, name string) error {
	var err error
	switch e.st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		err = c.regular(e, name)
	case unix.S_IFLNK:
		err = c.symlink(e, name)
	default:
		err = c.special(e, name)
	}
	if err == nil && c.progress != nil {
		c.progress(max(e.st.Size, 0))
	}
	return err
}

// fresh calls create, and once more after removing what has the name. A
// directory is never replaced.
func (c *copier) fresh(name, op string, create func() error) error {
	err := create()
	for try := 0; errors.Is(err, unix.EEXIST) && try < 8; try++ {
		rerr := unix.Unlinkat(c.here(), name, 0)
		if errors.Is(rerr, unix.EISDIR) {
			return errdefs.New(errdefs.Conflict, "cannot replace to directory %s with file", c.at(name)).
				WithHint("the destination has a directory of this name: remove it in an earlier step")
		}
		if rerr != nil && !errors.Is(rerr, unix.ENOENT) {
			return os.NewSyscallError("unlink", rerr)
		}
		err = create()
	}
	return os.NewSyscallError(op, err)
}

// create makes an empty file in the directory being filled.
func (c *copier) create(name string, mode uint32) (fd int, err error) {
	err = c.fresh(name, "open", func() (err error) {
		fd, err = unix.Openat(c.here(), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode&0o777)
		return err
	})
	return fd, err
}

func (c *copier) regular(e *entry, name string) error {
	if e.st.Nlink > 1 {
		if done, err := c.link(e, name); done || err != nil {
			return err
		}
	}
	var st unix.Stat_t
	from, err := c.tree.OpenFile(e.dir, e.name, &st)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	xattrs, err := c.tree.FileXattrs(from)
	if err != nil {
		return err
	}
	fd, err := c.create(name, c.chmod.Apply(st.Mode))
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := copyData(from, fd, &st); err != nil {
		return err
	}
	e.st = st
	if err := c.finishFile(fd, &st, xattrs); err != nil {
		return err
	}
	if st.Nlink > 1 {
		return c.remember(fd, &st, name)
	}
	return nil
}

func (c *copier) symlink(e *entry, name string) error {
	text, err := rootpath.ReadLinkAt(e.dir, e.name)
	if err != nil {
		return os.NewSyscallError("readlink", err)
	}
	err = c.fresh(name, "symlink", func() error { return unix.Symlinkat(text, c.here(), name) })
	if err != nil {
		return err
	}
	return c.finishPath(e, name)
}

// special makes a device node or FIFO; of a socket, which only the process that
// listens on it gives a meaning, an empty file is left.
func (c *copier) special(e *entry, name string) error {
	kind, dev := e.st.Mode&unix.S_IFMT, 0
	switch kind {
	case unix.S_IFCHR, unix.S_IFBLK:
		dev = int(e.st.Rdev)
	case unix.S_IFSOCK:
		kind = unix.S_IFREG
	}
	err := c.fresh(name, "mknod", func() error {
		return unix.Mknodat(c.here(), name, kind|0o600, dev)
	})
	if err != nil {
		return err
	}
	return c.finishPath(e, name)
}
