package source

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
	"berth/internal/storage/archive"
)

// Tar unpacks the build context that r holds, a tar archive as it is or packed
// by gzip, bzip2, xz or zstd, into a directory of its own below tmpdir, which
// Close removes. Files keep the owners that the archive says.
func Tar(ctx context.Context, r io.Reader, tmpdir string) (*Tree, error) {
	p, err := Unpack(r)
	if err != nil {
		return nil, errdefs.Wrap(err, "read", "the build context")
	}
	defer p.Close()
	t, err := private(tmpdir)
	if err != nil {
		return nil, err
	}
	res, err := archive.Apply(ctx, t.root, p, archive.ApplyOptions{Plain: true, Compressed: p.Taken})
	if err == nil && res.Entries == 0 {
		err = errdefs.New(errdefs.InvalidArgument, "the archive is empty").
			WithHint("pass a tar archive, plain or packed, or a Dockerfile")
	}
	if err != nil {
		return nil, errors.Join(errdefs.Wrap(err, "read", "the build context"), t.Close())
	}
	return t, nil
}

// private makes a tree of a new directory below tmpdir. The directory lies in
// one that only its owner may enter: whatever modes its own files have, nobody
// else reaches them.
func private(tmpdir string) (*Tree, error) {
	outer, err := os.MkdirTemp(tmpdir, "source-")
	if err != nil {
		return nil, errdefs.Wrap(err, "make", "a directory for the build context")
	}
	remove := func() error {
		parent, err := rootpath.OpenRoot(filepath.Dir(outer))
		if err != nil {
			return err
		}
		defer parent.Close()
		return rootpath.RemoveAll(int(parent.Fd()), filepath.Base(outer))
	}
	files := filepath.Join(outer, "files")
	err = os.Mkdir(files, 0o755)
	if err == nil {
		var root *os.File
		if root, err = rootpath.OpenRoot(files); err == nil {
			t := Open(root)
			t.close = append([]func() error{remove}, t.close...)
			t.dir = outer
			return t, nil
		}
	}
	return nil, errors.Join(errdefs.Wrap(err, "make", "a directory for the build context"), remove())
}
