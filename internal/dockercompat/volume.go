package dockercompat

import (
	"time"

	"berth/internal/engine"
)

// Volume is the answer to inspect of a volume.
type Volume struct {
	CreatedAt  string `json:",omitempty"`
	Driver     string
	Labels     map[string]string
	Mountpoint string
	Name       string
	Options    map[string]string
	Scope      string
}

// NewVolume returns the shape of a volume.
func NewVolume(v *engine.VolumeInfo) *Volume {
	return &Volume{
		CreatedAt: v.CreatedAt.Format(time.RFC3339), Driver: v.Driver, Labels: table(v.Labels),
		Mountpoint: v.Mountpoint, Name: v.Name, Options: table(v.Options), Scope: v.Scope,
	}
}
