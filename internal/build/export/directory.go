package export

import (
	"context"

	"berth/internal/build/solve"
	"berth/internal/errdefs"
)

// Layout writes what Archive writes as an OCI layout in a directory, which is
// made if it is missing. A layout that is there is added to: an image of the
// same name is replaced.
func Layout(ctx context.Context, dir string, results []*solve.Result, o ArchiveOptions) (_ Written, err error) {
	v := begin(o.Events, o.name())
	defer func() { v.finish(err) }()
	l, err := build(ctx, v, results, &o)
	if err != nil {
		return Written{}, err
	}
	defer l.close()
	defer v.part("copying to " + dir)()
	return l.Written, errdefs.Wrap(l.WriteDir(ctx, dir), "write", dir)
}
