package copy

import (
	"context"

	"berth/internal/errdefs"
)

// unpack unpacks the file p into the directory dest, if it is an archive.
func (t *target) unpack(_ context.Context, _ *part, _ string) (bool, error) {
	return false, errdefs.New(errdefs.Unsupported, "ADD cannot unpack archives yet")
}
