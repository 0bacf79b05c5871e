package overlay

import (
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
)

// mountByString makes the mount with mount(2) on o.Staging, takes a detached
// copy of it and removes the first. It serves kernels before 6.5.
func mountByString(o Options) (fd int, err error) {
	err = onOwnThread(func() (err error) {
		fd, err = mountHere(o)
		return err
	})
	return fd, err
}

// onOwnThread runs f on a thread that ends with it, whatever f did to the thread.
func onOwnThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked
		done <- f()
	}()
	return <-done
}

// mountHere is mountByString on the calling thread. Relative layer names need a
// working directory of the thread's own, which unshare gives it.
//
// Preconditions: the thread is locked, and ends afterwards.
func mountHere(o Options) (int, error) {
	data, err := optionString(o)
	if err != nil {
		return -1, err
	}
	return mountFrom(o, data)
}

func mountFrom(o Options, data string) (int, error) {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return -1, os.NewSyscallError("unshare", err)
	}
	if o.Base != "" {
		if err := unix.Chdir(o.Base); err != nil {
			return -1, &os.PathError{Op: "chdir", Path: o.Base, Err: err}
		}
	}
	if err := unix.Mount("overlay", o.Staging, "overlay", 0, data); err != nil {
		return -1, &os.PathError{Op: "mount", Path: o.Staging, Err: err}
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, o.Staging, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		err = &os.PathError{Op: "open_tree", Path: o.Staging, Err: err}
	}
	if uerr := Unmount(o.Staging, true); err == nil && uerr != nil {
		unix.Close(fd)
		err = uerr
	}
	return fd, err
}

// optionString returns the options as mount(2) takes them.
func optionString(o Options) (string, error) {
	var b strings.Builder
	b.WriteString("lowerdir=")
	for i, l := range o.Lower {
		if i > 0 {
			b.WriteByte(':')
		}
		b.WriteString(escape(l))
	}
	if o.Upper != "" {
		b.WriteString(",upperdir=" + escape(o.Upper) + ",workdir=" + escape(o.Work))
		for _, f := range features {
			b.WriteString("," + f + "=off")
		}
	}
	if o.Volatile && o.Upper != "" {
		b.WriteString(",volatile")
	}
	if o.UserXattr {
		b.WriteString(",userxattr")
	} else if o.Upper != "" {
		b.WriteString(",redirect_dir=off")
	}
	if b.Len() >= os.Getpagesize() {
		return "", errdefs.New(errdefs.Exhausted, "an overlay of %d layers needs %d bytes of mount options, and this kernel takes %d",
			len(o.Lower), b.Len(), os.Getpagesize()-1).WithHint("use an image with fewer layers, or kernel 6.5 or newer")
	}
	return b.String(), nil
}
