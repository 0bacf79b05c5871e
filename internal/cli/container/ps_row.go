package container

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/internal/cli/output"
	"berth/internal/engine"
	"berth/internal/units"
)

// psRow is a row of ps; its methods are the fields of templates.
type psRow struct {
	s     *engine.Summary
	now   time.Time
	trunc bool
}

// The widths to which ps shortens.
const (
	commandWidth = 20
	mountWidth   = 15
)

// MarshalJSON has all fields.
func (r psRow) MarshalJSON() ([]byte, error) { return output.RowJSON(r) }

// ID is the container's id.
func (r psRow) ID() string { return output.ShortID(r.s.ID, r.trunc) }

// Names is the container's name.
func (r psRow) Names() string { return r.s.Name }

// Image is the reference it was made from.
func (r psRow) Image() string {
	image := r.s.Image
	switch {
	case image == "":
		return "<no image>"
	case r.trunc && strings.TrimPrefix(r.s.ImageID, "sha256:") == strings.TrimPrefix(image, "sha256:"):
		return output.ShortID(image, true)
	}
	return image
}

// Command is the program and its arguments in quotes.
func (r psRow) Command() string {
	c := r.s.Command
	if r.trunc {
		c = output.Ellipsis(c, commandWidth)
	}
	return strconv.Quote(c)
}

// CreatedAt is the time of creation.
func (r psRow) CreatedAt() string { return r.s.Created.Local().Format("2006-01-02 15:04:05 -0700 MST") }

// RunningFor is how long ago it was created.
func (r psRow) RunningFor() string { return units.HumanDuration(r.now.Sub(r.s.Created)) + " ago" }

// State is the state in one word.
func (r psRow) State() string { return string(r.s.Status) }

// Status is the state in words.
func (r psRow) Status() string { return Status(&r.s.State, r.now) }

// Ports are the exposed and published ports.
func (r psRow) Ports() string { return Ports(r.s.Ports) }

// Size is the size of the writable layer, and of all layers in brackets.
func (r psRow) Size() string {
	size := units.FormatBytes1000(float64(max(r.s.SizeRw, 0)))
	if r.s.SizeRootFs > 0 {
		size += " (virtual " + units.FormatBytes1000(float64(r.s.SizeRootFs)) + ")"
	}
	return size
}

// Labels are all labels.
func (r psRow) Labels() string { return joined(r.s.Labels) }

// Label is one label's value.
func (r psRow) Label(name string) string { return r.s.Labels[name] }

// Mounts are the names of the volumes and the sources of bind mounts.
func (r psRow) Mounts() string {
	names := slices.Clone(r.s.MountNames)
	if r.trunc {
		for i := range names {
			names[i] = output.Ellipsis(names[i], mountWidth)
		}
	}
	return strings.Join(names, ",")
}

// LocalVolumes is the number of its volumes.
func (r psRow) LocalVolumes() string {
	n := 0
	for _, m := range r.s.MountNames {
		if !strings.HasPrefix(m, "/") {
			n++
		}
	}
	return strconv.Itoa(n)
}

// Networks are the networks it is on.
func (r psRow) Networks() string {
	if len(r.s.Network.Networks) > 0 {
		return strings.Join(sortedKeys(r.s.Network.Networks), ",")
	}
	return r.s.NetworkMode
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
