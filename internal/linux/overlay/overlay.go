package overlay

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/userns"
)

// Options describe an overlay. Paths are absolute or relative to Base.
type Options struct {
	Base  string   // the directory that relative paths start from; must be absolute
	Lower []string // read-only directories, topmost first; at least one, two without Upper
	Upper string   // the writable directory; "" makes a read-only overlay
	Work  string   // an empty directory on the file system of Upper, for the kernel's own use

	// Volatile skips every sync: the content of Upper is lost with the power.
	Volatile bool
	// UserXattr keeps overlay's markers in user.overlay.* attributes, as an
	// unprivileged user namespace needs, instead of trusted.overlay.*.
	UserXattr bool

	// IDs, when not nil, is a user namespace: everything below Base is on the disk
	// as the namespace has it, and seen in the overlay as the host has it. All
	// paths are relative to Base then.
	IDs *userns.Namespace

	// Staging is a directory that mount(2) may cover for a moment on kernels
	// before 6.5, which know no detached overlay. Nothing stays mounted there.
	Staging string
}

// features are set explicitly because a distribution's kernel may default them
// to "on": with them a file in the upper directory may hold only metadata or a
// name that points elsewhere, and the directory could no longer be read as the
// container's changes.
var features = [...]string{"index", "metacopy"}

// Mount makes the overlay and returns it as a detached mount: Attach it, then
// close the descriptor. Closing without attaching destroys the mount.
//
// Preconditions: CAP_SYS_ADMIN in the mount namespace's owning user namespace.
func Mount(o Options) (*os.File, error) {
	if len(o.Lower) == 0 || (o.Upper == "" && len(o.Lower) < 2) {
		return nil, errdefs.New(errdefs.InvalidArgument, "an overlay needs a lower directory, and two without an upper one")
	}
	once := mountOnce
	if o.IDs != nil {
		once = mountMapped
	}
	f, err := once(o)
	if errors.Is(err, unix.EINVAL) && o.Upper != "" && clearVolatile(o.path(o.Work)) {
		return once(o)
	}
	return f, err
}

func mountOnce(o Options) (*os.File, error) {
	fd, err := mountByContext(o)
	switch {
	case err == nil:
		return os.NewFile(uintptr(fd), "overlay"), nil
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL) && !hasLowerPlus():
		byString := mountByString
		if o.IDs != nil { // on the thread whose mounts are prepared for it
			byString = mountHere
		}
		if fd, err = byString(o); err == nil {
			return os.NewFile(uintptr(fd), "overlay"), nil
		}
	}
	return nil, err
}

// Attach puts a detached mount at path, which must be an existing directory.
// A symbolic link at path itself is not followed.
func Attach(mount *os.File, path string) error {
	err := unix.MoveMount(int(mount.Fd()), "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH)
	if err != nil {
		return &os.PathError{Op: "move_mount", Path: path, Err: err}
	}
	return nil
}

// Unmount takes the topmost mount off path. With detach it disappears from the
// tree at once and ends when its last user does; without, a mount in use is EBUSY.
// It is no error if nothing is mounted there or path is gone.
func Unmount(path string, detach bool) error {
	flags := unix.UMOUNT_NOFOLLOW
	if detach {
		flags |= unix.MNT_DETACH
	}
	err := unix.Unmount(path, flags)
	if err == nil || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return &os.PathError{Op: "umount", Path: path, Err: err}
}

// path returns p as seen from here.
func (o Options) path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return o.Base + "/" + p
}

// clearVolatile removes the mark that a volatile mount left in its work
// directory and reports whether there was one. The kernel makes the file
// work/incompat/volatile/dirty: it clears away what it finds in work by itself
// except "incompat", and refuses the mount if that holds anything.
func clearVolatile(work string) bool {
	mark := work + "/work/incompat/volatile"
	unix.Unlink(mark + "/dirty")
	if unix.Rmdir(mark) != nil {
		return false
	}
	unix.Rmdir(work + "/work/incompat")
	return true
}

// escape protects a path inside a mount(2) option string, where overlay takes
// a colon as the end of a lower directory and a comma as the end of the option.
func escape(p string) string {
	if !strings.ContainsAny(p, `\:,`) {
		return p
	}
	return strings.NewReplacer(`\`, `\\`, `:`, `\:`, `,`, `\,`).Replace(p)
}
