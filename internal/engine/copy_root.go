package engine

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/linux/overlay"
	"berth/internal/linux/process"
	"berth/internal/linux/rootpath"
	"berth/internal/linux/userns"
	"berth/internal/storage/snapshot"
)

// withRoot calls f with the root directory of a container, with everything that
// is mounted in it, as a root for linux/rootpath and storage/archive.
//
// A running container's root is opened once through its PID 1 and pinned by the
// descriptor: it is what the container sees, and what the container does to it
// meanwhile is the reason why every path in it is resolved by handle. That of
// another container is put together for as long as f runs, where nobody else
// sees it, under the container's lease, so that it is not started meanwhile.
func (c *Containers) withRoot(ctx context.Context, ref string, write bool, f func(*os.File, *container.Record) error) error {
	id, err := c.e.store.Resolve(ref)
	if err != nil {
		return err
	}
	for end := time.Now().Add(takeDownLimit); ; {
		rec, err := c.e.store.Load(id)
		if err != nil {
			return err
		}
		if root, err := runningRoot(rec.State); err == nil {
			defer root.Close()
			return asContainerRoot(rec, func() error { return f(root, rec) })
		}
		l, err := c.e.acquireFinished(ctx, id)
		if err == nil {
			err = c.e.withStoppedRoot(ctx, rec, write, func(root *os.File) error { return f(root, rec) })
			return errors.Join(err, l.end())
		}
		if !errors.Is(err, errdefs.Conflict) || time.Now().After(end) {
			return err
		}
		// Another cp has it, or it is being started or taken down.
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

var errNotRunning = errdefs.New(errdefs.Conflict, "the container does not run")

// runningRoot opens the root directory of a running container. The check comes
// after the opening: a process that is alive then is still the one that was meant.
func runningRoot(s container.State) (*os.File, error) {
	if s.PID == 0 {
		return nil, errNotRunning
	}
	root, err := rootfsOf(s)
	if err != nil {
		return nil, err
	}
	if !process.Alive(s.PID, s.PIDStart) {
		root.Close()
		return nil, errNotRunning
	}
	return root, nil
}

// withStoppedRoot mounts the container's layers and what it has mounted in
// them, in a mount namespace of a thread that ends with the call: whatever
// happens to this process, nothing stays mounted.
func (e *Engine) withStoppedRoot(ctx context.Context, rec *container.Record, write bool, f func(*os.File) error) error {
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread has left the host's mounts and must not run anything else.
		runtime.LockOSThread()
		done <- e.inOwnMounts(ctx, rec, write, f)
	}()
	return <-done
}

func (e *Engine) inOwnMounts(ctx context.Context, rec *container.Record, write bool, f func(*os.File) error) (err error) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	// Slave: what is mounted here stays here, what the host unmounts is not kept busy here.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return &os.PathError{Op: "mount", Path: "/", Err: err}
	}
	var ids *userns.Namespace
	if rec.IDs != nil {
		var err error
		if ids, err = userns.New(*rec.IDs, false); err != nil {
			return err
		}
		defer ids.Close()
	}
	root, err := e.stoppedRoot(ctx, rec, ids, write)
	if err != nil {
		return err
	}
	defer func() {
		root.Close()
		if rec.HostConfig.Rootfs == "" {
			// Here rather than with the thread's end, so that it is over when the lease is given up.
			err = errors.Join(err, overlay.Unmount(e.snapshots.Merged(rec.ID), true))
		}
	}()
	missing, err := e.mountVolumes(ctx, rec, root, write)
	if err != nil {
		return err
	}
	if missing && !write {
		// A mount point that is not in the image yet: only a writable root can take it.
		root.Close()
		if root, err = e.stoppedRoot(ctx, rec, ids, true); err != nil {
			return err
		}
		if _, err := e.mountVolumes(ctx, rec, root, true); err != nil {
			return err
		}
	}
	return asContainerRoot(rec, func() error { return f(root) })
}

// asContainerRoot calls f, and if the container has ids of its own as its root,
// who alone can make files there.
func asContainerRoot(rec *container.Record, f func() error) error {
	if rec.IDs == nil {
		return f()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return rec.IDs.AsRoot(f)
}

// stoppedRoot mounts the layers at Merged. Without write it is an overlay
// without a writable directory, whose end needs no sync of the disk.
// ids is the container's user namespace, if it has one.
func (e *Engine) stoppedRoot(ctx context.Context, rec *container.Record, ids *userns.Namespace, write bool) (*os.File, error) {
	if dir := rec.HostConfig.Rootfs; dir != "" {
		if ids != nil {
			if err := ids.Cover(dir); err != nil {
				return nil, err
			}
		}
		return rootpath.OpenRoot(dir)
	}
	var mnt *os.File
	below, err := e.snapshots.Below(rec.ID)
	if write || err != nil || len(below) == 0 {
		mnt, err = e.snapshots.MountDetached(ctx, rec.ID, snapshot.MountOptions{IDs: ids})
	} else {
		lower := []string{rec.ID + "/diff"}
		for _, id := range below {
			lower = append(lower, id+"/diff")
		}
		mnt, err = overlay.Mount(overlay.Options{Base: e.snapshots.Dir(), Lower: lower, Staging: e.snapshots.Merged(rec.ID), IDs: ids})
	}
	if err != nil {
		return nil, err
	}
	defer mnt.Close()
	if err := overlay.Attach(mnt, e.snapshots.Merged(rec.ID)); err != nil {
		return nil, err
	}
	return rootpath.OpenRoot(e.snapshots.Merged(rec.ID))
}

// mountVolumes mounts the container's volumes and bind mounts below root. If a
// mount point is missing it is made, or without write only told.
func (e *Engine) mountVolumes(ctx context.Context, rec *container.Record, root *os.File, write bool) (missing bool, err error) {
	list, err := e.makeMounts(ctx, rec, root)
	if err != nil {
		return false, err
	}
	for _, m := range list {
		if m.Type != "bind" {
			continue // a tmpfs is there only while the container runs
		}
		absent := false
		err := asContainerRoot(rec, func() (err error) {
			absent, err = bindInto(root, m, write)
			return err
		})
		if err != nil {
			return false, errdefs.Wrap(err, "mount", m.Destination)
		}
		missing = missing || absent
	}
	if write && rec.HostConfig.ReadonlyRootfs {
		return missing, makeReadOnly(root, ".")
	}
	return missing, nil
}

// bindInto mounts m.Source at its destination inside root. The destination is
// resolved inside the root, and mounted on by descriptor.
func bindInto(root *os.File, m specs.Mount, write bool) (absent bool, err error) {
	at, err := rootpath.Open(root, m.Destination, unix.O_PATH, 0)
	if errors.Is(err, unix.ENOENT) {
		if !write {
			return true, nil
		}
		at, err = makeMountPoint(root, m)
	}
	if err != nil {
		return false, err
	}
	defer at.Close()
	if err := unix.Mount(m.Source, rootpath.ProcPath(int(at.Fd())), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return false, &os.PathError{Op: "mount", Path: m.Source, Err: err}
	}
	for _, o := range m.Options {
		if o == "ro" {
			return false, makeReadOnly(root, m.Destination)
		}
	}
	return false, nil
}

// makeMountPoint makes what the first start would make: a directory, or an empty file for a file.
func makeMountPoint(root *os.File, m specs.Mount) (*os.File, error) {
	if isDir(m.Source) {
		return rootpath.MkdirAll(root, m.Destination, 0o755)
	}
	dir, _ := rootpath.SplitLast(m.Destination)
	parent, err := rootpath.MkdirAll(root, dir, 0o755)
	if err != nil {
		return nil, err
	}
	parent.Close()
	file, err := rootpath.Create(root, m.Destination, 0o644)
	if err != nil {
		return nil, err
	}
	file.Close()
	return rootpath.Open(root, m.Destination, unix.O_PATH, 0)
}

// makeReadOnly makes the mount at path read-only. It is opened anew: a
// descriptor from before the mount still means what lies under it.
func makeReadOnly(root *os.File, path string) error {
	at, err := rootpath.Open(root, strings.TrimPrefix(path, "/"), unix.O_PATH, 0)
	if err != nil {
		return err
	}
	defer at.Close()
	const flags = unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY
	if err := unix.Mount("", rootpath.ProcPath(int(at.Fd())), "", flags, ""); err != nil {
		return &os.PathError{Op: "remount read-only", Path: path, Err: err}
	}
	return nil
}
