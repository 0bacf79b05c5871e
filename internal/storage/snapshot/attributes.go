package snapshot

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// copyAttributes gives the directory to the mode, owner, extended attributes
// and, when asked, the times of from. Overlay shows a directory with the attributes it has in
// the topmost layer, so a layer that repeats a directory must repeat them all.
func copyAttributes(from, to string, times bool) error {
	var have, want unix.Stat_t
	if err := unix.Stat(from, &want); err != nil {
		return &os.PathError{Op: "stat", Path: from, Err: err}
	}
	if err := unix.Lstat(to, &have); err != nil {
		return &os.PathError{Op: "lstat", Path: to, Err: err}
	}
	if have.Uid != want.Uid || have.Gid != want.Gid {
		if err := unix.Lchown(to, int(want.Uid), int(want.Gid)); err != nil {
			return &os.PathError{Op: "lchown", Path: to, Err: err}
		}
	}
	// After the owner: chown takes set-id bits away.
	if have.Mode&0o7777 != want.Mode&0o7777 {
		if err := unix.Chmod(to, want.Mode&0o7777); err != nil {
			return &os.PathError{Op: "chmod", Path: to, Err: err}
		}
	}
	if err := copyXattrs(from, to); err != nil {
		return err
	}
	if !times {
		return nil
	}
	ts := []unix.Timespec{want.Atim, want.Mtim}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, to, ts, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "utimensat", Path: to, Err: err}
	}
	return nil
}

// copyXattrs copies the extended attributes except overlay's own markers.
func copyXattrs(from, to string) error {
	var space [1024]byte
	names, err := readXattr(space[:], func(b []byte) (int, error) { return unix.Listxattr(from, b) })
	if err != nil || len(names) == 0 {
		return ignoreUnsupported("listxattr", from, err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		if strings.HasPrefix(name, "trusted.overlay.") || strings.HasPrefix(name, "user.overlay.") {
			continue
		}
		value, err := readXattr(nil, func(b []byte) (int, error) { return unix.Getxattr(from, name, b) })
		if err == nil {
			err = unix.Lsetxattr(to, name, value, 0)
		}
		if err := ignoreUnsupported("copy attribute "+name+" of", from, err); err != nil {
			return err
		}
	}
	return nil
}

// readXattr calls get with buf, and with larger ones while the answer does not fit.
func readXattr(buf []byte, get func([]byte) (int, error)) ([]byte, error) {
	for {
		if len(buf) > 0 {
			n, err := get(buf)
			if err == nil {
				return buf[:n], nil
			}
			if !errors.Is(err, unix.ERANGE) {
				return nil, err
			}
		}
		n, err := get(nil)
		if err != nil || n == 0 {
			return nil, err
		}
		buf = make([]byte, n)
	}
}

func ignoreUnsupported(op, path string, err error) error {
	if err == nil || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENODATA) {
		return nil
	}
	return &os.PathError{Op: op, Path: path, Err: err}
}
