package source

import (
	"errors"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/linux/rootpath"
)

// Xattr is an extended attribute (xattr(7)).
type Xattr struct{ Name, Value string }

// maxXattrs bounds the list of names and a value, as Linux does (XATTR_LIST_MAX, XATTR_SIZE_MAX).
const maxXattrs = 64 << 10

// FileXattrs returns the extended attributes of an open file that a copy keeps,
// sorted: user's, trusted ones, file capabilities and access lists. Not kept are
// labels of this host's security modules, and overlay's own, by which a tree
// could make a mount show files of other directories. Of a build context only
// file capabilities are kept.
func (t *Tree) FileXattrs(fd int) ([]Xattr, error) {
	return t.xattrs(
		func(b []byte) (int, error) { return unix.Flistxattr(fd, b) },
		func(name string, b []byte) (int, error) { return unix.Fgetxattr(fd, name, b) },
	)
}

// Xattrs is FileXattrs for name in the open directory dir, which may be a link or must not be opened.
func (t *Tree) Xattrs(dir int, name string) ([]Xattr, error) {
	path := rootpath.ProcPath(dir) + "/" + name
	return t.xattrs(
		func(b []byte) (int, error) { return unix.Llistxattr(path, b) },
		func(name string, b []byte) (int, error) { return unix.Lgetxattr(path, name, b) },
	)
}

func (t *Tree) xattrs(list func([]byte) (int, error), get func(string, []byte) (int, error)) ([]Xattr, error) {
	n, err := list(nil)
	if err != nil || n == 0 {
		if errors.Is(err, unix.ENOTSUP) {
			err = nil
		}
		return nil, os.NewSyscallError("listxattr", err)
	}
	names := make([]byte, maxXattrs)
	if n, err = list(names); err != nil {
		return nil, os.NewSyscallError("listxattr", err)
	}
	var kept []Xattr
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		if !t.keepsXattr(name) {
			continue
		}
		value := make([]byte, maxXattrs)
		n, err := get(name, value)
		if errors.Is(err, unix.ENODATA) {
			continue // gone by now
		}
		if err != nil {
			return nil, os.NewSyscallError("getxattr "+name, err)
		}
		kept = append(kept, Xattr{name, string(value[:n])})
	}
	slices.SortFunc(kept, func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
	return kept, nil
}

func (t *Tree) keepsXattr(name string) bool {
	switch name {
	case "security.capability":
		return true
	case "system.posix_acl_access", "system.posix_acl_default":
		return !t.RootOwned
	}
	return !t.RootOwned && (strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "trusted.")) &&
		!strings.HasPrefix(name, "user.overlay.") && !strings.HasPrefix(name, "trusted.overlay.")
}
