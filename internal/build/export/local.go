package export

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"berth/internal/build/progress"
	"berth/internal/build/solve"
	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
	"berth/internal/oci"
	"berth/internal/storage/archive"
	"berth/internal/storage/snapshot"
)

// FilesOptions say how the files of results are written out.
type FilesOptions struct {
	DataRoot string
	// Split puts the files of each platform into a directory of its own
	// (linux_amd64). It is needed for several results.
	Split bool
	// Attest makes more files, in the top directory, named Prefix and
	// provenance.json or sbom.spdx.json.
	Attest Attest
	Prefix string
	Events progress.Sink
}

// Local writes the files of the results into a directory, which is made if it is
// missing, over what is there. They belong to whoever builds, as every client of
// Docker's writes them: who owned them in the image means nothing here.
func Local(ctx context.Context, dir string, results []*solve.Result, o FilesOptions) (err error) {
	v := begin(o.Events, "exporting to client directory")
	defer func() { v.finish(err) }()
	defer v.part("copying files")()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, r := range results {
		at := dir
		if o.Split {
			if at = dir + "/" + platformDir(r.Plan.Platform); os.MkdirAll(at, 0o755) != nil {
				return errdefs.New(errdefs.Internal, "cannot make %s", at)
			}
		}
		if err := local(ctx, at, r, &o); err != nil {
			return errdefs.Wrap(err, "write", at)
		}
	}
	return nil
}

func local(ctx context.Context, dir string, r *solve.Result, o *FilesOptions) error {
	into, err := rootpath.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer into.Close()
	return through(func(w io.Writer) error { return pack(ctx, w, r, o, "", mine) }, func(tar io.Reader) error {
		_, err := archive.Apply(ctx, into, tar, archive.ApplyOptions{Plain: true})
		return err
	})
}

// through lets consume read what produce writes, at the same time. The error is
// the first one's that has a reason of its own.
func through(produce func(io.Writer) error, consume func(io.Reader) error) error {
	out, in := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		err := produce(in)
		in.CloseWithError(err)
		sent <- err
	}()
	err := consume(out)
	out.CloseWithError(errReaderGone)
	if serr := <-sent; serr != nil && (err == nil || !errors.Is(serr, errReaderGone)) {
		err = serr
	}
	return err
}

var errReaderGone = errors.New("the reader has gone")

// mine makes this process the owner of everything.
func mine(uint32, uint32) (uint32, uint32, error) {
	return uint32(os.Geteuid()), uint32(os.Getegid()), nil
}

// Tar writes the files of the results as a tar, with their owners.
func Tar(ctx context.Context, w io.Writer, results []*solve.Result, o FilesOptions) (err error) {
	v := begin(o.Events, "exporting to client tarball")
	defer func() { v.finish(err) }()
	defer v.part("sending tarball")()
	if len(results) > 1 && !o.Split {
		return errdefs.New(errdefs.Internal, "several platforms in one tar need Split")
	}
	if !o.Split {
		return pack(ctx, w, results[0], &o, "", nil)
	}
	for i, r := range results {
		part := w
		if i < len(results)-1 {
			part = archive.WithoutEnd(w)
		}
		if err := pack(ctx, part, r, &o, platformDir(r.Plan.Platform), nil); err != nil {
			return err
		}
	}
	return nil
}

// pack writes the files of a result as a tar, below a directory of that name,
// with the attestations about them.
func pack(ctx context.Context, w io.Writer, r *solve.Result, o *FilesOptions, name string, owner func(uint32, uint32) (uint32, uint32, error)) error {
	said, err := o.Attest.of(ctx, r)
	if err != nil {
		return err
	}
	var root *os.File
	if r.TopLayer != "" {
		if root, err = snapshot.Open(o.DataRoot).MountTree(ctx, r.TopLayer); err != nil {
			return err
		}
		defer root.Close()
	}
	tree := func(w io.Writer) error {
		if root == nil {
			_, err := w.Write(make([]byte, archive.EndSize)) // a tar without entries
			return err
		}
		_, err := archive.Pack(ctx, w, root, "/", archive.PackOptions{Name: name, Precise: r.Plan.Epoch == nil, MapOwner: owner, Latest: r.Plan.Epoch})
		return err
	}
	if len(said) == 0 {
		return tree(w)
	}
	a := &attested{said: said, prefix: o.Prefix, dir: name, at: r.Plan.Epoch, owner: owner}
	if err := a.check(root); err != nil {
		return err
	}
	return a.write(w, tree)
}

func platformDir(p oci.Platform) string { return strings.ReplaceAll(p.String(), "/", "_") }
