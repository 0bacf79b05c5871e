package engine

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"runtime"
	"strings"
	"time"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/image/catalog"
	"berth/internal/image/change"
	"berth/internal/oci"
	"berth/internal/reference"
	"berth/internal/storage/archive"
	"berth/internal/storage/snapshot"
)

// Commit makes an image of a container and returns its id ("sha256:<hex>"). The
// container's changes become the image's top layer; a container that changed
// nothing adds none. A container with a rootfs of the user's becomes an image of
// one layer. The container stands still only while its files are copied, not
// while they are written to disk.
func (c *Containers) Commit(ctx context.Context, ref string, r CommitRequest) (string, error) {
	id, err := c.e.store.Resolve(ref)
	if err != nil {
		return "", err
	}
	m := &commit{e: c.e, r: r}
	if m.rec, err = c.e.store.Load(id); err != nil {
		return "", err
	}
	if err := m.check(); err != nil {
		return "", err
	}
	img, err := m.run(ctx)
	if err != nil {
		return "", errdefs.Wrap(err, "commit container", ident.Short(id))
	}
	c.e.emit("container", "commit", id, m.rec.State)
	return img.ID.String(), nil
}

// commit is one commit.
type commit struct {
	e    *Engine
	r    CommitRequest
	rec  *container.Record
	name reference.Named // the zero value: none was asked for

	lease  *catalog.Lease
	base   *catalog.Image
	config oci.RunConfig
}

// check finds out what is wrong with the request before anything is copied.
func (m *commit) check() error {
	if s := m.rec.State.Status; s == container.Dead || s == container.Removing {
		return errdefs.New(errdefs.Conflict, "You cannot commit container %s which is %s", ident.Short(m.rec.ID), s)
	}
	if ref := m.r.Reference; ref != "" {
		var err error
		if m.name, err = reference.Parse(ref); err != nil {
			return err
		}
		if m.name.Digest() != "" {
			return errdefs.New(errdefs.InvalidArgument, "cannot commit to digest reference")
		}
	}
	m.config = runConfig(&m.rec.Config)
	return change.Apply(&m.config, m.r.Changes)
}

// runConfig is the part of a container's configuration that an image keeps.
func runConfig(c *container.Config) oci.RunConfig {
	return oci.RunConfig{
		User: c.User, ExposedPorts: c.ExposedPorts, Env: c.Env, Entrypoint: c.Entrypoint, Cmd: c.Cmd,
		Volumes: c.Volumes, WorkingDir: c.WorkingDir, Labels: c.Labels, StopSignal: c.StopSignal,
	}
}

func (m *commit) run(ctx context.Context) (img *catalog.Image, err error) {
	if m.lease, err = m.e.images.Lease(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.lease.Close()) }()
	if err := m.findBase(); err != nil {
		return nil, err
	}
	layer, err := m.addLayer(ctx)
	if err != nil {
		return nil, err
	}
	raw, err := m.document(layer)
	if err != nil {
		return nil, err
	}
	if img, err = m.lease.Put(ctx, raw, m.base.ID); err != nil {
		return nil, err
	}
	if m.name != (reference.Named{}) {
		err = m.e.tag(m.name, img.ID)
	}
	return img, err
}

// findBase keeps the container's image from being removed meanwhile.
func (m *commit) findBase() (err error) {
	if m.rec.HostConfig.Rootfs != "" {
		m.base = &catalog.Image{Config: oci.ImageConfig{Architecture: runtime.GOARCH, OS: "linux", RootFS: oci.RootFS{Type: "layers"}}}
		return nil
	}
	m.base, err = m.lease.UseImage(oci.Digest(m.rec.ImageID))
	if errors.Is(err, errdefs.NotFound) {
		return errdefs.New(errdefs.NotFound, "its image %s is gone", m.rec.Config.Image).
			WithHint("berth cp takes single files out of the container")
	}
	return err
}

// addLayer makes the container's changes a layer; nil if there are none.
func (m *commit) addLayer(ctx context.Context) (_ *catalog.Layer, err error) {
	draft, err := m.e.snapshots.Begin(m.base.TopLayer)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, draft.Discard()) }()
	res, err := m.copyPaused(ctx, draft)
	if err != nil || res.Entries == 0 {
		return nil, err
	}
	var parent oci.Digest
	if chain := m.base.Chain(); len(chain) > 0 {
		parent = chain[len(chain)-1]
	}
	layer, err := m.lease.AddLayer(ctx, catalog.NewLayer{Draft: draft, Parent: parent, DiffID: res.DiffID, Size: res.Bytes})
	if err != nil {
		return nil, err
	}
	return &layer, nil
}

// copyPaused copies the container's files while it stands still, if that was asked for.
func (m *commit) copyPaused(ctx context.Context, draft *snapshot.Draft) (res archive.Result, err error) {
	if m.r.Pause && m.rec.State.Status == container.Running {
		err := m.e.Containers.Pause(ctx, m.rec.ID)
		switch {
		case err == nil:
			defer func() { err = errors.Join(err, m.unpause(ctx)) }()
		case errors.Is(err, errdefs.Conflict): // it ended just now, or somebody else paused it
		default:
			return res, err
		}
	}
	if res, err = m.copy(ctx, draft); err != nil {
		return res, err
	}
	// A removal deletes the record before the files: if the record is there, the
	// files were there all the time.
	_, err = m.e.store.LoadState(m.rec.ID)
	return res, err
}

func (m *commit) unpause(ctx context.Context) error {
	err := m.e.Containers.Unpause(context.WithoutCancel(ctx), m.rec.ID)
	if errors.Is(err, errdefs.Conflict) || errors.Is(err, errdefs.NotFound) {
		return nil // somebody stopped or removed it
	}
	return err
}

func (m *commit) copy(ctx context.Context, draft *snapshot.Draft) (res archive.Result, err error) {
	path := m.e.snapshots.Diff(m.rec.ID)
	if m.rec.HostConfig.Rootfs != "" {
		path = m.rec.HostConfig.Rootfs
	}
	upper, err := os.Open(path)
	if err != nil {
		return res, err
	}
	defer upper.Close()
	into, err := os.Open(draft.Dir())
	if err != nil {
		return res, err
	}
	defer into.Close()
	changed, err := archive.RootChanged(upper, into)
	if err != nil {
		return res, err
	}
	return archive.CopyLayer(ctx, upper, into, archive.DiffOptions{Root: changed})
}

// document is the new image's config.
func (m *commit) document(layer *catalog.Layer) ([]byte, error) {
	now := time.Now().UTC()
	c := m.base.Config
	c.Created, c.Author, c.Comment, c.Parent = &now, m.r.Author, m.r.Comment, ""
	healthcheck, shell := c.Config.Healthcheck, c.Config.Shell
	c.Config = m.config
	if c.Config.Healthcheck == nil {
		c.Config.Healthcheck = healthcheck
	}
	c.Config.Shell = shell
	c.RootFS.DiffIDs = append([]oci.Digest{}, c.RootFS.DiffIDs...)
	step := oci.History{Created: &now, Author: m.r.Author, Comment: m.r.Comment, CreatedBy: strings.Join(m.rec.Config.Cmd, " "), EmptyLayer: layer == nil}
	if layer != nil {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, layer.DiffID)
	}
	c.History = append(append([]oci.History{}, c.History...), step)
	return json.Marshal(c)
}
