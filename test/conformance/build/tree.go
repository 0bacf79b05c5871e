package main

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// entry is a file of a tar.
type entry struct {
	path string // clean, without the / in front; "." for the root
	link string // target of a hard link; "" if it is something else
	*inode
}

// inode is a file without its names: hard links share one.
type inode struct {
	kind     byte // tar's
	mode     int64
	uid, gid int
	target   string // of a symbolic link
	content  string // or its summary, if it is long
	device   string
	xattrs   map[string]string
	modified time.Time
}

func readTar(r io.Reader) (list []*entry, err error) {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		e := &entry{path: clean(h.Name), inode: &inode{
			kind: h.Typeflag, mode: h.Mode & 0o7777, uid: h.Uid, gid: h.Gid, modified: h.ModTime, xattrs: map[string]string{},
		}}
		for key, value := range h.PAXRecords {
			if name, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
				e.xattrs[name] = value
			}
		}
		switch h.Typeflag {
		case tar.TypeReg:
			data, err := io.ReadAll(t)
			if err != nil {
				return nil, err
			}
			e.content = summary(data)
		case tar.TypeSymlink:
			e.target = h.Linkname
		case tar.TypeLink:
			e.link = clean(h.Linkname)
		case tar.TypeChar, tar.TypeBlock:
			e.device = fmt.Sprintf("%d:%d", h.Devmajor, h.Devminor)
		}
		list = append(list, e)
	}
}

// summary stands for a file's content: itself as long as it can be read in a table.
func summary(data []byte) string {
	if len(data) <= 300 {
		return string(data)
	}
	hash := sha256.Sum256(data)
	return fmt.Sprintf("%d bytes, %s", len(data), hex.EncodeToString(hash[:8]))
}

func clean(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

// tree is a tree of files by their paths; "" is the root.
type tree map[string]*inode

// The names of files that are not there any more, from the image specification.
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

// apply lays a layer over the tree. What it removes, it removes of the layers
// below: so that comes first, wherever it stands in the tar.
func (t tree) apply(layer []*entry) error {
	for _, e := range layer {
		dir, name := path.Split(e.path)
		switch hidden, ok := strings.CutPrefix(name, whiteout); {
		case name == opaque:
			t.remove(strings.TrimSuffix(dir, "/"), false)
		case ok:
			t.remove(dir+hidden, true)
		}
	}
	for _, e := range layer {
		if strings.HasPrefix(path.Base(e.path), whiteout) {
			continue
		}
		if e.kind != tar.TypeDir || t[e.path] == nil || t[e.path].kind != tar.TypeDir {
			t.remove(e.path, true)
		}
		t[e.path] = e.inode
		if e.kind == tar.TypeLink {
			if t[e.path] = t[e.link]; t[e.link] == nil {
				return fmt.Errorf("%s is a hard link to %s, which is not there", e.path, e.link)
			}
		}
	}
	return nil
}

// remove removes what is below a path, and itself.
func (t tree) remove(name string, itself bool) {
	below := name + "/"
	if name == "" {
		below = ""
	}
	for p := range t {
		if p != name && strings.HasPrefix(p, below) {
			delete(t, p)
		}
	}
	if itself {
		delete(t, name)
	}
}

// describe says what is at a path: what two trees have to have in common.
func (t tree) describe(name string, links map[*inode][]string, since time.Time) string {
	n := t[name]
	if n == nil {
		return "nothing"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %04o %d:%d", kinds[n.kind], n.mode, n.uid, n.gid)
	for _, s := range []string{n.target, n.device, n.content} {
		if s != "" {
			fmt.Fprintf(&b, " %q", s)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(n.xattrs)) {
		fmt.Fprintf(&b, " %s=%q", key, n.xattrs[key])
	}
	if len(links[n]) > 1 {
		fmt.Fprintf(&b, " also %q", links[n])
	}
	if n.modified.Before(since) && n.kind != tar.TypeDir {
		fmt.Fprintf(&b, " of %s", n.modified.UTC().Format(time.DateTime))
	}
	return b.String()
}

var kinds = map[byte]string{
	tar.TypeReg: "file", tar.TypeDir: "directory", tar.TypeSymlink: "symlink", tar.TypeChar: "character device",
	tar.TypeBlock: "block device", tar.TypeFifo: "fifo", tar.TypeLink: "hard link",
}

// names returns the names of each file that has several.
func (t tree) names() map[*inode][]string {
	links := map[*inode][]string{}
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if n := t[name]; n.kind != tar.TypeDir {
			links[n] = append(links[n], name)
		}
	}
	return links
}

// compareTrees returns the paths where the trees differ. Times count that are
// older than since: those did not come of the build.
func compareTrees(what string, berth, buildkit tree, since time.Time) (found []difference) {
	all := map[string]bool{}
	for p := range berth {
		all[p] = true
	}
	for p := range buildkit {
		all[p] = true
	}
	ours, theirs := berth.names(), buildkit.names()
	for _, p := range slices.Sorted(maps.Keys(all)) {
		x, y := berth.describe(p, ours, since), buildkit.describe(p, theirs, since)
		if x != y {
			found = append(found, difference{fmt.Sprintf("%s /%s", what, p), x, y})
		}
	}
	return found
}
