package overlay

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
)

// mountMapped makes the overlay from layers whose owners are shifted.
//
// An overlay itself cannot be given a map; since Linux 5.19 the mounts that its
// layers lie in can. One is enough: a clone of Base with the map, put over Base
// itself. That takes a mount namespace of its own, which ends with the thread,
// so nobody else sees it and a crash leaves nothing. The overlay keeps private
// copies of its layers' mounts.
//
// An overlay works in its upper layer as whoever made it (it makes whiteouts and
// its scratch directory). The host's root has no id in the map, so nothing could
// be made for it: the thread takes the container's root as its user for files
// (setfsuid(2)), with the capabilities that it had.
func mountMapped(o Options) (*os.File, error) {
	var f *os.File
	err := onOwnThread(func() error {
		if err := coverBase(o); err != nil {
			return err
		}
		return o.IDs.Range.AsRoot(func() (err error) {
			f, err = mountOnce(o)
			return err
		})
	})
	if errors.Is(err, unix.EINVAL) {
		return nil, &errdefs.Error{Kind: errdefs.Unsupported, Op: "mount", Subject: "an overlay with shifted owners", Err: err,
			Hint: "this takes Linux 5.19 or newer: leave --userns out"}
	}
	return f, err
}

// coverBase puts a clone of Base with the map over it, for this thread alone.
func coverBase(o Options) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	// Slave: nothing made here gets out, and what the host unmounts is not kept busy here.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return &os.PathError{Op: "mount", Path: "/", Err: err}
	}
	return o.IDs.Cover(o.Base)
}
