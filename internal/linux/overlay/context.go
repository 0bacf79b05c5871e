package overlay

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxValue is the longest string that fsconfig(2) takes, without its final NUL.
const maxValue = 255

// mountByContext makes the mount with fsopen, fsconfig and fsmount.
func mountByContext(o Options) (int, error) {
	fsfd, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, &os.PathError{Op: "fsopen", Path: "overlay", Err: err}
	}
	defer unix.Close(fsfd)
	c := fsContext{fd: fsfd, base: o.Base, baseFD: -1}
	defer c.close()

	// The source is what mount tables show in the first column.
	c.set("source", "overlay")
	for _, l := range o.Lower {
		c.setPath("lowerdir+", l)
	}
	if o.Upper != "" {
		c.setPath("upperdir", o.Upper)
		c.setPath("workdir", o.Work)
		for _, f := range features {
			c.set(f, "off")
		}
	}
	if o.Volatile && o.Upper != "" {
		c.setFlag("volatile")
	}
	if o.UserXattr {
		c.setFlag("userxattr")
	} else if o.Upper != "" {
		c.set("redirect_dir", "off") // userxattr excludes it by itself
	}
	return c.mount()
}

// fsContext is a file system being configured; the first error sticks.
type fsContext struct {
	fd     int
	base   string
	baseFD int // opened when a path below base is too long for fsconfig
	err    error
}

func (c *fsContext) close() {
	if c.baseFD >= 0 {
		unix.Close(c.baseFD)
	}
}

func (c *fsContext) set(key, value string) {
	if c.err == nil {
		c.fail("fsconfig "+key, value, unix.FsconfigSetString(c.fd, key, value))
	}
}

func (c *fsContext) setFlag(key string) {
	if c.err == nil {
		c.fail("fsconfig "+key, "overlay", unix.FsconfigSetFlag(c.fd, key))
	}
}

// setPath sets a directory. The mount table shows it to users, so it is the
// full path where that fits.
func (c *fsContext) setPath(key, path string) {
	if c.err != nil {
		return
	}
	full := path
	if path[0] != '/' {
		full = c.base + "/" + path
	}
	if len(full) <= maxValue {
		c.set(key, full)
		return
	}
	if c.baseFD < 0 {
		fd, err := unix.Open(c.base, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			c.fail("open", c.base, err)
			return
		}
		c.baseFD = fd
	}
	if rel, ok := strings.CutPrefix(full, c.base+"/"); ok {
		full = "/proc/self/fd/" + strconv.Itoa(c.baseFD) + "/" + rel
	}
	c.set(key, full)
}

func (c *fsContext) mount() (int, error) {
	if c.err == nil {
		c.fail("fsconfig create", "overlay", unix.FsconfigCreate(c.fd))
	}
	if c.err != nil {
		return -1, c.err
	}
	fd, err := unix.Fsmount(c.fd, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		c.fail("fsmount", "overlay", err)
		return -1, c.err
	}
	return fd, nil
}

// fail keeps err with the kernel's own explanation, which a context hands out
// through read(2), one message a time, as "e overlay: <text>".
func (c *fsContext) fail(op, path string, err error) {
	if err == nil {
		return
	}
	var buf [512]byte
	if n, rerr := unix.Read(c.fd, buf[:]); rerr == nil && n > 2 {
		op += " (" + strings.TrimSpace(string(buf[2:n])) + ")"
	}
	c.err = &os.PathError{Op: op, Path: path, Err: err}
}

// hasLowerPlus reports whether overlay takes one lower directory at a time
// (kernel 6.5). An older one stores any key it is given, and refuses later.
func hasLowerPlus() bool {
	fd, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.FsconfigSetString(fd, "lowerdir+", "/proc/self/no such directory") != nil
}
