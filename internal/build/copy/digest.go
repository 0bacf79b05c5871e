package copy

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"golang.org/x/sys/unix"

	"berth/internal/build/plan"
	"berth/internal/build/source"
	"berth/internal/oci"
)

// Sources are the trees that one instruction reads from.
type Sources struct {
	Main *source.Tree // for Copy.Paths; nil if there are none
	// Remote are the trees of Copy.Remote, in its order: a file made by
	// source.Get, or a checkout.
	Remote []*source.Tree
}

// Digest returns the digest of what c would copy. owner is who --chown means if
// that is known; nil puts the text of --chown in its place, which is enough
// where the key of the step also holds the stage below, whose /etc/passwd it is
// looked up in.
//
// The digest does not depend on where the trees are, on files that are not
// selected, on times, or on the destination's name.
func Digest(ctx context.Context, from Sources, c *plan.Copy, owner *Owner) (oci.Digest, error) {
	w, err := newWork(from, c)
	if err != nil {
		return "", err
	}
	d := digester{h: sha256.New(), chmod: &w.chmod, owner: owner}
	d.text("berth copy 1")
	if owner == nil {
		d.text(c.Chown)
	}
	err = w.each(func(p *part) error {
		d.begin(p)
		switch {
		case p.file != nil:
			return d.inline(p.file)
		case p.revision != "":
			d.revision(p.revision, c)
			return nil
		case p.item.isDir():
			return walk(ctx, p, &d)
		default:
			return d.tell(p.item.entry(), "")
		}
	})
	if err != nil {
		return "", err
	}
	return oci.DigestOfSum(d.h.Sum(nil)), nil
}

// digester puts what it is told into a hash. The form is
//
//	digest  = text("berth copy 1") text(chown) part*
//	part    = byte(kind of part) text(name) entry*   or, of a checkout with .git, text(commit) text(chmod) text(exclude)*
//	entry   = byte(kind) text(name) u32(mode) u32(uid) u32(gid) u64(rdev) u64(link) sum   for a file
//	        | byte('d') the same ... entry* byte('.')                                     for a directory
//	text(s) = u64(length) bytes
//
// with numbers big endian. Every field has a fixed place or a length in front,
// so that no two trees give the same bytes. link is 0, or tells which earlier
// file of the part, counted from 1, this is another name of.
type digester struct {
	h     hash.Hash
	tree  *source.Tree
	chmod *Chmod
	owner *Owner
	links map[inode]uint64
	files uint64 // in this part
	buf   []byte
}

// inode names a file across its hard links.
type inode struct{ dev, ino uint64 }

func (d *digester) text(s string) {
	d.buf = binary.BigEndian.AppendUint64(d.buf[:0], uint64(len(s)))
	d.buf = append(d.buf, s...)
	d.h.Write(d.buf)
}

// begin starts a part. The name of a directory does not matter, as what is in it is copied.
func (d *digester) begin(p *part) {
	d.tree, d.files = p.item.tree, 0
	clear(d.links)
	kind, name := byte('F'), p.as()
	switch {
	case p.unpack:
		kind = 'U'
	case p.revision != "":
		kind, name = 'G', ""
	case p.file == nil && p.item.isDir():
		kind, name = 'D', ""
	}
	d.h.Write([]byte{kind})
	d.text(name)
}

// revision stands for a checkout that kept its .git directory.
func (d *digester) revision(commit string, c *plan.Copy) {
	d.text(commit)
	d.text(c.Chmod)
	for _, pattern := range c.Exclude {
		d.text(pattern)
	}
}

func (d *digester) inline(f *plan.File) error {
	sum := sha256.Sum256(f.Data)
	d.entry("", unix.S_IFREG|f.Mode, 0, 0, 0, 0, sum[:])
	return nil
}

func (d *digester) file(e *entry) error { return d.tell(e, e.name) }

// tell puts a file into the hash under a name.
func (d *digester) tell(e *entry, name string) error {
	sum, err := d.tree.Sum(e.dir, e.name, &e.st)
	if err != nil {
		return err
	}
	d.files++
	var link uint64
	if e.st.Nlink > 1 && !isDir(&e.st) {
		id := inode{e.st.Dev, e.st.Ino}
		if link = d.links[id]; link == 0 {
			if d.links == nil {
				d.links = map[inode]uint64{}
			}
			d.links[id] = d.files
		}
	}
	d.entry(name, e.st.Mode, e.st.Uid, e.st.Gid, e.st.Rdev, link, sum[:])
	return nil
}

func (d *digester) enter(e *entry) error { return d.file(e) }

func (d *digester) leave(*entry) error {
	d.h.Write([]byte{'.'})
	return nil
}

func (d *digester) entry(name string, mode, uid, gid uint32, rdev, link uint64, sum []byte) {
	if d.owner != nil {
		uid, gid = d.owner.UID, d.owner.GID
	}
	b := append(d.buf[:0], kindOf(mode))
	b = binary.BigEndian.AppendUint64(b, uint64(len(name)))
	b = append(b, name...)
	b = binary.BigEndian.AppendUint32(b, d.chmod.Apply(mode))
	b = binary.BigEndian.AppendUint32(b, uid)
	b = binary.BigEndian.AppendUint32(b, gid)
	switch mode & unix.S_IFMT {
	case unix.S_IFCHR, unix.S_IFBLK:
	default:
		rdev = 0
	}
	b = binary.BigEndian.AppendUint64(b, rdev)
	b = binary.BigEndian.AppendUint64(b, link)
	d.buf = append(b, sum...)
	d.h.Write(d.buf)
}

// kindOf gives the type of a file a letter. A socket is copied as an empty file.
func kindOf(mode uint32) byte {
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return 'd'
	case unix.S_IFLNK:
		return 'l'
	case unix.S_IFCHR:
		return 'c'
	case unix.S_IFBLK:
		return 'b'
	case unix.S_IFIFO:
		return 'p'
	}
	return 'f'
}
