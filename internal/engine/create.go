package engine

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"berth/internal/atomicfile"
	"berth/internal/cleanup"
	"berth/internal/container"
	"berth/internal/container/logs"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/image/builtin"
	"berth/internal/image/catalog"
	"berth/internal/oci"
	"berth/internal/runtime/spec"
)

// Create makes a container: its record, its writable layer, its volumes' names.
func (c *Containers) Create(ctx context.Context, r CreateRequest) (CreateResult, error) {
	rec, l, err := c.e.create(ctx, r, func(string) {})
	if err != nil {
		return CreateResult{}, err
	}
	return CreateResult{ID: rec.ID}, l.end()
}

// create makes the container and returns with its lease held. It calls begun
// when all is checked and the making begins.
func (e *Engine) create(ctx context.Context, r CreateRequest, begun func(id string)) (_ *container.Record, _ *lease, err error) {
	e.reconcile(ctx)
	rec := &container.Record{ID: ident.New(), Created: time.Now().UTC(), Config: r.Config, HostConfig: r.HostConfig}
	if err := checkModes(&rec.Config, &rec.HostConfig); err != nil {
		return nil, nil, err
	}
	parent, release, err := e.baseImage(ctx, rec, r)
	if err != nil {
		return nil, nil, err
	}
	defer release()
	if err := e.complete(rec); err != nil {
		return nil, nil, err
	}
	begun(rec.ID)
	cu := cleanup.New()
	defer func() {
		if err != nil {
			err = errors.Join(err, cu.Run())
		}
	}()
	l, err := e.acquireEnded(ctx, rec.ID) // a reconcile may look into the new file
	if err != nil {
		return nil, nil, err
	}
	cu.Add(l.end)
	durability := atomicfile.Durable
	if rec.HostConfig.AutoRemove {
		durability = atomicfile.Atomic // it does not outlive its run anyway
	}
	if rec.HostConfig.Rootfs == "" {
		if err := e.snapshots.Prepare(rec.ID, parent); err != nil {
			return nil, nil, err
		}
		cu.Add(func() error {
			err := e.snapshots.Remove(rec.ID)
			_, rerr := e.snapshots.Reclaim(context.WithoutCancel(ctx))
			return errors.Join(err, rerr)
		})
	}
	if isMapped(&rec.HostConfig) {
		if err := e.reserveIDs(rec); err != nil {
			return nil, nil, err
		}
		cu.Add(func() error { return e.releaseIDs(rec) })
	}
	rec.State = container.InitialState(rec, strings.TrimPrefix(r.Name, "/"))
	if err := e.store.Create(rec, durability); err != nil {
		return nil, nil, err
	}
	cu.Release()
	e.emit("container", "create", rec.ID, rec.State)
	return rec, l, nil
}

// baseImage finds the image, merges its config and returns its topmost layer.
// Until release is called the image cannot be removed.
func (e *Engine) baseImage(ctx context.Context, rec *container.Record, r CreateRequest) (topLayer string, release func(), err error) {
	if dir := rec.HostConfig.Rootfs; dir != "" {
		abs, err := filepath.Abs(dir)
		if err != nil || !isDir(abs) {
			return "", nil, errdefs.New(errdefs.InvalidArgument, "the rootfs %q is not a directory", dir)
		}
		rec.HostConfig.Rootfs = abs
		mergeImage(&rec.Config, &oci.RunConfig{})
		return "", func() {}, nil
	}
	img, release, err := e.imageFor(ctx, r)
	if err != nil {
		return "", nil, err
	}
	rec.ImageID = img.ID.String()
	mergeImage(&rec.Config, &img.Config.Config)
	return img.TopLayer, release, nil
}

// imageFor resolves the image by the pull policy, and holds it.
func (e *Engine) imageFor(ctx context.Context, r CreateRequest) (*catalog.Image, func(), error) {
	ref := r.Config.Image
	if r.Pull == "always" {
		if err := e.pull(ctx, ref, r.Platform, r.Quiet); err != nil {
			return nil, nil, err
		}
	}
	if builtin.IsHello(ref) { // made, or made again when berth's executable has changed
		if err := e.addHello(ctx); err != nil {
			return nil, nil, err
		}
	}
	hold, err := e.images.Hold()
	if err != nil {
		return nil, nil, err
	}
	release := func() { hold.Release() }
	img, err := e.images.Resolve(ref)
	if errors.Is(err, errdefs.NotFound) {
		img, err = e.buildState(ref)
	}
	if err == nil || !errors.Is(err, errdefs.NotFound) {
		if err != nil {
			release()
		}
		return img, release, err
	}
	release()
	switch {
	case r.Pull == "never":
		return nil, nil, errdefs.New(errdefs.NotFound, "no such image: %s", displayName(ref)).WithHint("berth pull %s", ref)
	default:
		if !r.Quiet {
			os.Stderr.WriteString("Unable to find image '" + displayName(ref) + "' locally\n")
		}
		if err := e.pull(ctx, ref, r.Platform, r.Quiet); err != nil {
			return nil, nil, err
		}
	}
	if hold, err = e.images.Hold(); err != nil {
		return nil, nil, err
	}
	if img, err = e.images.Resolve(ref); err != nil {
		hold.Release()
	}
	return img, func() { hold.Release() }, err
}

// displayName adds the tag that is meant.
func displayName(ref string) string {
	if strings.Contains(ref, "@") || strings.Contains(ref[strings.LastIndexByte(ref, '/')+1:], ":") {
		return ref
	}
	return ref + ":latest"
}

// pull has berthd fetch the image; its progress goes to stderr, as stdout
// belongs to the container.
func (e *Engine) pull(ctx context.Context, ref, platform string, quiet bool) error {
	path, err := Sibling("berthd")
	if err != nil {
		return err
	}
	args := []string{"--data-root", e.opt.DataRoot, "--state-root", e.opt.StateRoot, "pull", "--for-run"}
	if platform != "" {
		args = append(args, "--platform", platform)
	}
	cmd := exec.CommandContext(ctx, path, append(args, "--", ref)...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if quiet {
		cmd.Stdout = nil
	}
	if err := cmd.Run(); err != nil {
		return errdefs.New(errdefs.NotFound, "the image %s is not here and could not be pulled", ref).
			WithHint("berth image ls shows the images that are here; \"hello\" is always there")
	}
	return nil
}

// Sibling finds another program of berth: beside this one, else in PATH.
func Sibling(name string) (string, error) {
	if exe, err := os.Executable(); err == nil {
		if path := filepath.Join(filepath.Dir(exe), name); isExecutable(path) {
			return path, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", errdefs.New(errdefs.NotFound, "cannot find %s, which does everything that needs a network protocol", name).
			WithHint("install it beside berth (make install does)")
	}
	return path, nil
}

func isExecutable(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0
}

// complete checks the merged record and fills the defaults.
func (e *Engine) complete(rec *container.Record) (err error) {
	if rec.Path, rec.Args, err = command(&rec.Config); err != nil {
		return err
	}
	if err := e.resolveModes(&rec.Config, &rec.HostConfig); err != nil {
		return err
	}
	withDefaults(rec)
	if err := planMounts(rec); err != nil {
		return err
	}
	if s := rec.Config.StopSignal; s != "" {
		if _, err := spec.ParseSignal(s); err != nil {
			return err
		}
	}
	return e.validate(rec)
}

// maxHostName is the kernel's limit (__NEW_UTS_LEN, uname(2)).
const maxHostName = 64

// validate refuses what can be known to fail at start, before anything exists.
func (e *Engine) validate(rec *container.Record) error {
	h := &rec.HostConfig
	switch mode, _ := containerMode(h.NetworkMode); {
	case h.NetworkMode == "bridge", h.NetworkMode == "host", h.NetworkMode == "none", mode != "":
	default:
		return errdefs.New(errdefs.NotFound, "network %s not found", h.NetworkMode).WithHint("the networks here are bridge, host and none")
	}
	if len(rec.Config.Hostname) > maxHostName {
		return errdefs.New(errdefs.InvalidArgument, "invalid host name %q: it may have %d bytes at most", rec.Config.Hostname, maxHostName)
	}
	if err := e.validateUserns(h); err != nil {
		return err
	}
	if _, err := capabilities(h); err != nil {
		return err
	}
	if _, err := logs.ParseOptions(h.LogConfig.Type, h.LogConfig.Config); err != nil {
		return err
	}
	_, rules, err := devices(h)
	if err != nil {
		return err
	}
	l, err := limits(&h.Resources, rules)
	if err != nil {
		return err
	}
	host, err := e.cgroups()
	if err != nil {
		return err
	}
	_, _, err = host.Check(filepath.Dir(spec.CgroupPath(h.CgroupParent, rec.ID)), l)
	return err
}

// addHello makes the built-in image from this executable.
func (e *Engine) addHello(ctx context.Context) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	return builtin.AddHello(ctx, e.images, e.snapshots, exe, runtime.GOARCH)
}
