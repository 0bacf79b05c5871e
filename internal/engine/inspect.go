package engine

import (
	"context"
	"os"
	"path/filepath"

	"berth/internal/container"
	"berth/internal/container/logs"
)

// Inspection is a record and what else inspect tells.
type Inspection struct {
	container.Record
	GraphDriver     map[string]string // LowerDir, MergedDir, UpperDir, WorkDir; nil with --rootfs
	ResolvConfPath  string            // these three: "" until the first start
	HostnamePath    string
	HostsPath       string
	LogPath         string // "" if no log is kept
	Platform        string
	Driver          string   // "overlay2"
	ExecIDs         []string // running execs
	AppArmorProfile string
	SizeRw          int64
	SizeRootFs      int64
}

// Inspect returns a container whole. size adds SizeRw and SizeRootFs (else -1, -1).
func (c *Containers) Inspect(_ context.Context, ref string, size bool) (*Inspection, error) {
	id, err := c.e.store.Resolve(ref)
	if err != nil {
		return nil, err
	}
	rec, err := c.e.store.Load(id)
	if err != nil {
		return nil, err
	}
	in := &Inspection{Record: *rec, Platform: "linux", Driver: "overlay2", SizeRw: -1, SizeRootFs: -1}
	if rec.HostConfig.Rootfs == "" {
		if in.GraphDriver, err = c.e.snapshots.GraphData(id); err != nil {
			return nil, err
		}
		if size {
			in.SizeRw, in.SizeRootFs = c.e.containerSize(id, c.e.imageSize(rec.ImageID))
		}
	}
	owner := id // a shared network has its first container's files
	if ref, ok := containerMode(rec.HostConfig.NetworkMode); ok {
		owner = ref
	}
	for name, path := range map[string]*string{"resolv.conf": &in.ResolvConfPath, "hostname": &in.HostnamePath, "hosts": &in.HostsPath} {
		file := filepath.Join(c.e.store.StateDir(owner), name)
		if _, err := os.Stat(file); err == nil {
			*path = file
		}
	}
	if rec.HostConfig.LogConfig.Type != logs.None {
		in.LogPath = c.e.logPath(id)
	}
	return in, nil
}
