package source

import (
	"crypto/sha256"
	"encoding/binary"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

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
		xattrs, err = t.FileXattrs(fd)
	case unix.S_IFLNK:
		var target string
		if target, err = rootpath.ReadLinkAt(dir, name); err != nil {
			return Sum{}, &os.PathError{Op: "readlink", Path: name, Err: err}
		}
		h.Write([]byte(target))
		fallthrough
	default:
		xattrs, err = t.Xattrs(dir, name)
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
