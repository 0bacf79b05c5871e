package snapshot

import (
	"strings"

	"berth/internal/errdefs"
)

// SetParent puts a draft that was begun without a parent on top of a layer. The
// layers of an image are unpacked at the same time, when those below them have
// no id yet. keepRoot says that the draft's root directory has attributes of
// its own, from the layer's archive; else it takes the parent's.
func (d *Draft) SetParent(parent string, keepRoot bool) error {
	if parent == "" || d.parent != "" {
		return errdefs.New(errdefs.Internal, "cannot put layer %s on %q: it lies on %q", d.id, parent, d.parent)
	}
	lower, err := d.s.lowerOf(parent)
	if err != nil {
		return err
	}
	if strings.Count(lower, ":")+2 > maxLayers {
		return errdefs.New(errdefs.InvalidArgument, "an image can have at most %d layers", maxLayers)
	}
	if !keepRoot {
		if err := copyAttributes(d.s.Diff(parent), d.Dir(), false); err != nil {
			return err
		}
	}
	d.parent, d.synced = parent, false
	return nil
}
