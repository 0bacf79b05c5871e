// Package builtin provides the image that is always there: "hello".
//
// A newcomer's first container must not need a network. An image needs one
// program that depends on nothing, and there is one at hand: berth itself, which
// is linked statically. The image is a single layer with that executable at
// /berth; `berth run hello` runs it as "/berth hello" (package hello).
//
// The image is made when it is first used, and again when berth's executable has
// changed. It is an ordinary image in every other way: it can be listed,
// inspected, removed, and somebody may give its name to another one.
package builtin

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/image/catalog"
	"berth/internal/oci"
	"berth/internal/reference"
	"berth/internal/storage/archive/ustar"
	"berth/internal/storage/snapshot"
)

const helloName = "hello:latest"

// Program is the image's only file.
const Program = "/berth"

// marker begins the comment of an image that this package made.
const marker = "made from berth's executable: "

// IsHello reports whether a reference, as typed, means the built-in image.
func IsHello(ref string) bool {
	return ref == "hello" || ref == helloName
}

// AddHello makes sure that the built-in image is there and made from the
// executable exe. If the name belongs to another image, it is left alone.
func AddHello(ctx context.Context, images *catalog.Store, layers *snapshot.Store, exe, arch string) error {
	f, err := os.Open(exe)
	if err != nil {
		return errdefs.Wrap(err, "make", "the image hello")
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return errdefs.Wrap(err, "make", "the image hello")
	}
	comment := marker + fmt.Sprintf("%d bytes of %s", st.Size(), st.ModTime().UTC().Format("2006-01-02T15:04:05.000000000Z"))
	img, err := images.Resolve(helloName)
	if err == nil && (img.Config.Comment == comment || !strings.HasPrefix(img.Config.Comment, marker)) {
		return nil
	}
	h := hello{images: images, layers: layers, exe: f, info: st, comment: comment, arch: arch}
	return errdefs.Wrap(h.add(ctx), "make", "the image hello")
}

type hello struct {
	images  *catalog.Store
	layers  *snapshot.Store
	exe     *os.File
	info    os.FileInfo
	comment string
	arch    string
}

func (h *hello) add(ctx context.Context) (err error) {
	lease, err := h.images.Lease()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lease.Close()) }()
	draft, err := h.layers.Begin("")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, draft.Discard()) }()
	diffID, err := h.fill(draft.Dir())
	if err != nil {
		return err
	}
	layer, err := lease.AddLayer(ctx, catalog.NewLayer{Draft: draft, DiffID: diffID, Size: h.info.Size()})
	if err != nil {
		return err
	}
	raw, err := h.config(layer.DiffID)
	if err != nil {
		return err
	}
	img, err := lease.Put(ctx, raw, "")
	if err != nil {
		return err
	}
	name, err := reference.Parse(helloName)
	if err != nil {
		return err
	}
	_, err = h.images.Tag(name, img.ID)
	return err
}

// fill copies the executable into the layer and returns the digest of the
// layer's tar, in one pass over the file.
func (h *hello) fill(dir string) (oci.Digest, error) {
	mtime := h.info.ModTime().Unix()
	dst, err := os.OpenFile(dir+Program, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return "", err
	}
	defer dst.Close()
	var copied io.Writer = dst
	if unix.IoctlFileClone(int(dst.Fd()), int(h.exe.Fd())) == nil {
		copied = io.Discard // the file systems that can (btrfs, xfs) share the blocks
	}
	sum := sha256.New()
	tar := ustar.NewWriter(sum)
	header := ustar.Header{Name: Program[1:], Type: ustar.TypeReg, Mode: 0o755, Size: h.info.Size(), Mtime: ustar.Time{Sec: mtime}}
	if err := tar.Header(&header); err != nil {
		return "", err
	}
	n, err := io.Copy(io.MultiWriter(copied, tar), io.NewSectionReader(h.exe, 0, h.info.Size()))
	if err == nil && n != h.info.Size() {
		err = &os.PathError{Op: "read", Path: h.exe.Name(), Err: io.ErrUnexpectedEOF}
	}
	if err != nil {
		return "", err
	}
	tar.Pad(n)
	if err := tar.Close(); err != nil {
		return "", err
	}
	if err := dst.Chmod(0o755); err != nil { // whatever the umask
		return "", err
	}
	ts := []unix.Timespec{{Sec: mtime}, {Sec: mtime}}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, dst.Name(), ts, 0); err != nil {
		return "", &os.PathError{Op: "utimensat", Path: dst.Name(), Err: err}
	}
	return oci.DigestOfSum(sum.Sum(nil)), nil
}

func (h *hello) config(diffID oci.Digest) ([]byte, error) {
	created := h.info.ModTime().UTC()
	return json.Marshal(oci.ImageConfig{
		Created:      &created,
		Architecture: h.arch,
		OS:           "linux",
		Config: oci.RunConfig{
			Env: []string{"PATH=/"},
			Cmd: []string{Program, "hello"},
		},
		RootFS:  oci.RootFS{Type: "layers", DiffIDs: []oci.Digest{diffID}},
		History: []oci.History{{Created: &created, CreatedBy: "berth run hello", Comment: "berth's own executable"}},
		Comment: h.comment,
	})
}
