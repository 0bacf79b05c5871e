package export

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/build/solve"
	"berth/internal/errdefs"
	"berth/internal/image/attestation"
	"berth/internal/image/layout"
	"berth/internal/linux/rootpath"
	"berth/internal/oci"
	"berth/internal/storage/archive"
)

// Attest returns what is said about a result, to be attached to what becomes of
// it. A nil one says nothing.
//
// An image of the store keeps it beside its config, for whoever writes the image
// out later; an OCI archive has it as a manifest in the image's index; files have
// it as more files, which name each of the others with its digest.
type Attest func(ctx context.Context, r *solve.Result) ([]attestation.Predicate, error)

func (a Attest) of(ctx context.Context, r *solve.Result) ([]attestation.Predicate, error) {
	if a == nil {
		return nil, nil
	}
	return a(ctx, r)
}

// attest adds the attestation manifest of a result, if something is said about it.
func (l *result) attest(ctx context.Context, v *vertex, r *solve.Result, image oci.Descriptor, o *ArchiveOptions) ([]oci.Descriptor, error) {
	said, err := o.Attest.of(ctx, r)
	if err != nil || len(said) == 0 {
		return nil, err
	}
	if o.Docker {
		return nil, errdefs.New(errdefs.InvalidArgument, "Docker's image format has no attestations").WithHint("use type=oci")
	}
	subjects := attestation.ImageSubjects(o.Names, r.Plan.Platform, image.Digest)
	statements := make([]attestation.Statement, len(said))
	for i, p := range said {
		statements[i] = p.About(subjects)
	}
	m, err := attestation.NewManifest(image, statements)
	if err != nil {
		return nil, err
	}
	for d, b := range m.Blobs {
		l.Blobs[d] = layout.Bytes(b)
	}
	v.part("exporting attestation manifest " + m.Descriptor.Digest.String())()
	return []oci.Descriptor{m.Descriptor}, nil
}

// attested is a tar of files with what is said about them.
type attested struct {
	said        []attestation.Predicate
	prefix, dir string
	at          *time.Time
	owner       func(uint32, uint32) (uint32, uint32, error)
}

func (a *attested) name(p *attestation.Predicate) string {
	name := "attestation.json"
	switch p.Type {
	case attestation.Provenance:
		name = "provenance.json"
	case attestation.SPDX:
		name = "sbom.spdx.json"
	}
	return a.prefix + name
}

// check refuses to replace a file of the result.
func (a *attested) check(root *os.File) error {
	if root == nil {
		return nil
	}
	for i := range a.said {
		name := a.name(&a.said[i])
		_, err := rootpath.Lstat(root, name)
		if err == nil {
			return errdefs.New(errdefs.AlreadyExists, "the result has a file %s of its own", name).
				WithHint("name the attestations otherwise: --output type=local,dest=DIR,attestation-prefix=build-")
		}
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
			return err
		}
	}
	return nil
}

// write writes the tar that tree makes, and the statements as its last entries.
func (a *attested) write(w io.Writer, tree func(io.Writer) error) error {
	subjects, err := a.subjects(archive.WithoutEnd(w), tree)
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	uid, gid := uint32(0), uint32(0)
	if a.owner != nil {
		if uid, gid, err = a.owner(uid, gid); err != nil {
			return err
		}
	}
	now := time.Now()
	if a.at != nil {
		now = *a.at
	}
	for i := range a.said {
		text, err := json.MarshalIndent(a.said[i].About(subjects), "", "  ")
		if err != nil {
			return err
		}
		h := &tar.Header{Name: path.Join(a.dir, a.name(&a.said[i])), Mode: 0o600, Size: int64(len(text)), ModTime: now.Truncate(time.Second), Uid: int(uid), Gid: int(gid)}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(text); err != nil {
			return err
		}
	}
	return t.Close()
}

// subjects lets tree write its tar to w, and reads the digests of the files as
// they go by.
func (a *attested) subjects(w io.Writer, tree func(io.Writer) error) ([]attestation.Subject, error) {
	out, in := io.Pipe()
	type answer struct {
		list []attestation.Subject
		err  error
	}
	read := make(chan answer, 1)
	go func() {
		list, err := digestFiles(out, a.dir)
		out.CloseWithError(errors.Join(err, errors.New("the reader has gone")))
		read <- answer{list, err}
	}()
	err := tree(io.MultiWriter(w, in))
	in.CloseWithError(err) // nil: the end
	got := <-read
	if err == nil {
		err = got.err
	}
	return got.list, err
}

// digestFiles reads a tar to its last byte and returns the regular files in it,
// by their paths below dir. A second name of a file is a file as well.
func digestFiles(r io.Reader, dir string) ([]attestation.Subject, error) {
	all := []attestation.Subject{}
	known := map[string]oci.Digest{}
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, r)
			return all, err
		}
		if err != nil {
			return nil, fmt.Errorf("read what was written: %w", err)
		}
		digest, ok := known[h.Linkname]
		switch {
		case h.Typeflag == tar.TypeReg:
			sum := sha256.New()
			if _, err := io.Copy(sum, t); err != nil {
				return nil, err
			}
			digest = oci.DigestOfSum(sum.Sum(nil))
		case h.Typeflag != tar.TypeLink || !ok:
			continue
		}
		known[h.Name] = digest
		all = append(all, attestation.NewSubject(strings.TrimPrefix(path.Clean(h.Name), dir+"/"), digest))
	}
}
