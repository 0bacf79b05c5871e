package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/linux/process"
)

// takeDown removes what a run left in the kernel: processes, cgroup, mounts,
// network. Every step may find its work done; the container's record and
// writable layer stay, unless the record is gone already.
func (e *Engine) takeDown(id, cgroupParent string) error {
	ctx, cancel := context.WithTimeout(context.Background(), takeDownLimit)
	defer cancel()
	var errs []error
	if host, err := e.cgroups(); err == nil {
		errs = append(errs, removeGroup(ctx, host, cgroupParent, id))
	}
	errs = append(errs, e.networks.Detach(ctx, id), e.unmountShm(id), e.snapshots.Unmount(id))
	if isDir(e.stepDir(id)) { // it has neither a record nor a layer
		return errors.Join(append(errs, os.RemoveAll(e.stepDir(id)))...)
	}
	if _, err := e.store.LoadState(id); errors.Is(err, errdefs.NotFound) { // removed, or never finished being created
		errs = append(errs, e.snapshots.Remove(id), os.RemoveAll(e.store.StateDir(id)))
		_, err := e.snapshots.Reclaim(ctx)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// takeDownLimit bounds the taking down: a hung unmount must not hold other work.
const takeDownLimit = 10 * time.Second

// recover takes over from a dead holder: it finishes its work and ends the
// lease. A container whose PID 1 lives on is left alive: its monitor died, every
// command works on it through its pid, and its end is noticed by the next reconcile.
func (e *Engine) recover(ctx context.Context, id string, l *lease) error {
	if st, err := e.store.LoadState(id); err == nil && process.Alive(st.PID, st.PIDStart) {
		return l.pass()
	}
	if err := e.finishFor(ctx, id, l.cgroupParent); err != nil {
		return errors.Join(err, l.pass())
	}
	return l.end()
}

// finishFor finishes what the dead holder of a container's lease was at: a start
// is undone, a run's end recorded, a removal carried through.
//
// Preconditions: the lease is held, and PID 1 does not live.
func (e *Engine) finishFor(ctx context.Context, id, parent string) error {
	if p := e.cgroupParent(id); p != "" {
		parent = p
	}
	errs := []error{e.killGroup(ctx, parent, id)} // what a start had made so far
	st, err := e.store.LoadState(id)
	switch {
	case errors.Is(err, errdefs.NotFound): // half made, or half removed
		_, gerr := e.store.GC()
		errs = append(errs, gerr, e.ids.Release(id))
	case err != nil:
		return err
	case st.AutoRemove || st.Status == container.Removing:
		errs = append(errs, e.removeRecord(id))
	case st.Status.Live():
		_, err := e.store.Update(id, func(s *container.State) error {
			endedUnseen(s)
			return nil
		})
		errs = append(errs, errdefs.Wrap(err, "record the end of", "container "+id))
	}
	return errors.Join(append(errs, e.takeDown(id, parent))...)
}

// endedUnseen records the end of a run that nobody saw. Between two runs of a
// restart policy the code of the last run is known, and stays.
func endedUnseen(s *container.State) {
	if s.Status != container.Restarting {
		s.ExitCode, s.Error, s.FinishedAt = 137, "the container's monitor was killed", time.Now().UTC()
	}
	s.Status, s.PID, s.PIDStart, s.MonitorPID, s.MonitorStart = container.Exited, 0, 0, 0, 0
}

// endLease ends the lease that this process inherited with its descriptors.
func (e *Engine) endLease(id string) { os.Remove(filepath.Join(e.leaseDir(), id)) }

// unmountShm takes down the /dev/shm of a shareable ipc namespace, if there is
// one; who shares it keeps it.
func (e *Engine) unmountShm(id string) error {
	shm := e.shmOf(id)
	if err := unix.Unmount(shm, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && err != unix.EINVAL && err != unix.ENOENT {
		return &os.PathError{Op: "umount", Path: shm, Err: err}
	}
	return nil
}

// removeRecord takes a container out of the store with its anonymous volumes:
// from here on its name is free and no list shows it.
func (e *Engine) removeRecord(id string) error {
	rec, err := e.store.Load(id)
	if err != nil {
		return err
	}
	if rec.HostConfig.IpcMode == "shareable" { // among the run-time files, which go with the record
		if err := e.unmountShm(id); err != nil {
			return err
		}
	}
	if err := e.store.Remove(id); err != nil {
		return err
	}
	err = e.releaseIDs(rec)
	if rec.HostConfig.AutoRemove {
		err = errors.Join(err, e.removeVolumes(rec.AnonymousVolumes))
	}
	return err
}

func (e *Engine) removeVolumes(names []string) error {
	var errs []error
	for _, name := range names {
		err := e.volumes.RemoveUnused(name, e.Volumes.users(name))
		// Another container may have mounted it by its name: then it stays.
		if err != nil && !errors.Is(err, errdefs.NotFound) && !errors.Is(err, errdefs.Conflict) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
