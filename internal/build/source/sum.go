package source

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
)

// Sum is the SHA-256 of what stat(2) does not tell of a file: its bytes or
// link target, and its extended attributes.
type Sum [sha256.Size]byte

// Sum returns the sum of name in the open directory dir. st is what Stat said
// of it, and is renewed if the file is read.
func (t *Tree) Sum(dir int, name string, st *unix.Stat_t) (Sum, error) {
	if t.Memory == nil {
		return t.read(dir, name, st)
	}
	key := keyOf(st)
	if sum, ok := t.Memory.get(key); ok {
		return sum, nil
	}
	start := time.Now()
	sum, err := t.read(dir, name, st)
	if err != nil {
		return sum, err
	}
	// Looked at again: what changed while it was read must not be remembered
	// under the times it had before, nor under those it has now.
	var after unix.Stat_t
	if unix.Fstatat(dir, name, &after, unix.AT_SYMLINK_NOFOLLOW) == nil && keyOf(&after) == key && settled(st, start) {
		t.Memory.put(key, sum)
	}
	return sum, nil
}

// settleTime is how old a change must be for a later one to have another
// timestamp: the coarsest that file systems in use have is two seconds (FAT).
const settleTime = 2 * time.Second

func settled(st *unix.Stat_t, now time.Time) bool {
	limit := now.Add(-settleTime)
	return time.Unix(st.Mtim.Unix()).Before(limit) && time.Unix(st.Ctim.Unix()).Before(limit)
}

func (t *Tree) read(dir int, name string, st *unix.Stat_t) (Sum, error) {
	h := sha256.New()
	var xattrs []Xattr
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		var fd int
		if fd, err = t.OpenFile(dir, name, st); err != nil {
			return Sum{}, err
		}
		defer unix.Close(fd)
		buf := buffers.Get().(*[]byte)
		defer buffers.Put(buf)
		for n := 1; n > 0; {
			n, err = ignoringEINTR(func() (int, error) { return unix.Read(fd, *buf) })
			if err != nil {
				return Sum{}, &os.PathError{Op: "read", Path: name, Err: err}
			}
			h.Write((*buf)[:n])
		}
		xattrs, err = Xattrs(rootpath.ProcPath(fd), true)
	case unix.S_IFLNK:
		var target string
		if target, err = rootpath.ReadLinkAt(dir, name); err != nil {
			return Sum{}, &os.PathError{Op: "readlink", Path: name, Err: err}
		}
		h.Write([]byte(target))
		fallthrough
	default:
		xattrs, err = Xattrs(rootpath.ProcPath(dir)+"/"+name, false)
	}
	if err != nil {
		return Sum{}, err
	}
	content := h.Sum(nil)
	h.Reset()
	h.Write(content)
	for _, x := range xattrs {
		var length [8]byte
		for _, s := range []string{x.Name, x.Value} {
			binary.BigEndian.PutUint64(length[:], uint64(len(s)))
			h.Write(length[:])
			h.Write([]byte(s))
		}
	}
	return Sum(h.Sum(nil)), nil
}

// buffers are for reading files; one fits most files whole.
var buffers = sync.Pool{New: func() any { b := make([]byte, 128<<10); return &b }}

// Xattr is an extended attribute (xattr(7)).
type Xattr struct{ Name, Value string }

// maxXattrs bounds the list of names, as Linux does (XATTR_LIST_MAX, XATTR_SIZE_MAX).
const maxXattrs = 64 << 10

// Xattrs returns the extended attributes of the file at path that a copy keeps,
// sorted: user's, trusted ones, file capabilities and access lists. Not kept are
// labels of this host's security modules, and overlay's own, by which a tree
// could make a mount show files of other directories. follow says whether a
// link at the end of path is followed.
func Xattrs(path string, follow bool) ([]Xattr, error) {
	list, get := unix.Llistxattr, unix.Lgetxattr
	if follow {
		list, get = unix.Listxattr, unix.Getxattr
	}
	n, err := list(path, nil)
	if err != nil || n == 0 {
		if errors.Is(err, unix.ENOTSUP) {
			err = nil
		}
		return nil, errdefs.Wrap(err, "list the extended attributes of", path)
	}
	names := make([]byte, maxXattrs)
	if n, err = list(path, names); err != nil {
		return nil, errdefs.Wrap(err, "list the extended attributes of", path)
	}
	var kept []Xattr
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		if !keptXattr(name) {
			continue
		}
		value := make([]byte, maxXattrs)
		n, err := get(path, name, value)
		if errors.Is(err, unix.ENODATA) {
			continue // gone by now
		}
		if err != nil {
			return nil, errdefs.Wrap(err, "read the extended attribute "+name+" of", path)
		}
		kept = append(kept, Xattr{name, string(value[:n])})
	}
	slices.SortFunc(kept, func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
	return kept, nil
}

func keptXattr(name string) bool {
	switch name {
	case "security.capability", "system.posix_acl_access", "system.posix_acl_default":
		return true
	}
	return (strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "trusted.")) &&
		!strings.HasPrefix(name, "user.overlay.") && !strings.HasPrefix(name, "trusted.overlay.")
}
