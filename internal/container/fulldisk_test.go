package container

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/atomicfile"
	"berth/internal/errdefs"
	"berth/internal/linux/process"
)

// onSmallDisk runs f with a file system of a few megabytes mounted at a
// directory, in a mount namespace that ends with the goroutine's thread.
func onSmallDisk(t *testing.T, f func(t *testing.T, root string)) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	root := t.TempDir()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread's namespace is not the process's
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			t.Errorf("unshare: %v", err)
			return
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Errorf("make mounts private: %v", err)
			return
		}
		if err := unix.Mount("tmpfs", root, "tmpfs", 0, "size=1m"); err != nil {
			t.Errorf("mount: %v", err)
			return
		}
		defer unix.Unmount(root, unix.MNT_DETACH)
		f(t, root)
	}()
	<-done
}

// fillDisk leaves not one byte free.
func fillDisk(t *testing.T, root string) {
	t.Helper()
	f, err := os.Create(filepath.Join(root, "ballast"))
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	for size := 64 << 10; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, unix.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Error(err)
			return
		}
	}
}

// TestFullDisk: with 0 bytes free, containers can be listed, stopped, renamed
// and removed; only what needs room fails, with a next step.
func TestFullDisk(t *testing.T) {
	onSmallDisk(t, func(t *testing.T, root string) {
		s := Open(filepath.Join(root, "data"), filepath.Join(root, "run")) // the run-time files find no room either
		const n = 20
		var ids []string
		for i := range n {
			r := record(fmt.Sprintf("c%d", i))
			r.Config.Labels["long"] = strings.Repeat("x", i*400) // from one block to three
			if err := s.Create(r, atomicfile.Atomic); err != nil {
				t.Error(err)
				return
			}
			if _, err := s.Update(r.ID, func(st *State) error { st.Status, st.StartedAt = Running, time.Now(); return nil }); err != nil {
				t.Error(err)
				return
			}
			ids = append(ids, r.ID)
		}
		fillDisk(t, root)
		if states, err := s.States(); err != nil || len(states) != n {
			t.Errorf("ps on a full disk: %d, %v", len(states), err)
		}
		err := s.Create(record("more"), atomicfile.Atomic)
		if !errors.Is(err, errdefs.Exhausted) || errdefs.HintOf(err) == "" {
			t.Errorf("create on a full disk: %v", err)
		}
		if _, err := s.lookup("more"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a failed create keeps its name: %v", err)
		}
		for _, id := range ids {
			for _, code := range []int{1, 2, 137} {
				st, err := s.Update(id, func(st *State) error {
					st.Status, st.ExitCode, st.FinishedAt, st.Error = Exited, code, time.Now(), strings.Repeat("e", 150)
					return nil
				})
				if err != nil {
					t.Errorf("stop on a full disk: %v", err)
				}
				if got, err := s.LoadState(id); err != nil || got.ExitCode != code || got.Error != st.Error {
					t.Errorf("state on a full disk: %+v, %v", got, err)
				}
			}
		}
		if err := s.Rename(ids[0], "renamed"); err != nil {
			t.Errorf("rename on a full disk: %v", err)
		}
		for _, id := range ids {
			if err := s.Remove(id); err != nil {
				t.Errorf("rm on a full disk: %v", err)
			}
		}
		if states, err := s.States(); err != nil || len(states) != 0 {
			t.Errorf("%d are left, %v", len(states), err)
		}
	})
}

// TestEndPutAside: the end of a run that the data root has no room for is kept
// among the run-time files, and believed for that run only.
func TestEndPutAside(t *testing.T) {
	onSmallDisk(t, func(t *testing.T, root string) {
		s := Open(root, t.TempDir())
		r := record("web")
		if err := s.Create(r, atomicfile.Atomic); err != nil {
			t.Error(err)
			return
		}
		ended := endedProcess(t)
		run := func(st *State) error {
			st.Status, st.BootID, st.PID, st.PIDStart = Running, s.boot(), ended.PID, ended.PIDStart
			st.MonitorPID, st.StartedAt = os.Getpid(), time.Now()
			return nil
		}
		st, err := s.Update(r.ID, run)
		if err != nil {
			t.Error(err)
			return
		}
		os.Remove(filepath.Join(s.Dir(r.ID), nextFile)) // as if the file system never overwrote
		fillDisk(t, root)
		if _, err := s.Update(r.ID, func(st *State) error { st.Status, st.ExitCode = Exited, 42; return nil }); err != nil {
			t.Errorf("no room: %v", err)
		}
		st.MonitorPID = ended.PID // the monitor has ended, too
		if got, changed := s.refresh(st); !changed || got.Status != Exited || got.ExitCode != 42 {
			t.Errorf("the end that was put aside: %+v", got)
		}
		st.StartedAt = st.StartedAt.Add(time.Second)
		if got, _ := s.refresh(st); got.ExitCode != codeLostMonitor {
			t.Errorf("the end of another run is believed: %+v", got)
		}
	})
}

// endedProcess returns the number and start time of a process that has ended.
func endedProcess(t *testing.T) State {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	start, err := process.StartTime(cmd.Process.Pid)
	cmd.Process.Kill()
	cmd.Wait()
	if err != nil {
		t.Error(err)
	}
	return State{PID: cmd.Process.Pid, PIDStart: start}
}

// TestLostMonitor: what is true when the one who should have recorded it is gone.
func TestLostMonitor(t *testing.T) {
	s := newStore(t)
	self, _ := process.StartTime(os.Getpid())
	ended := endedProcess(t)
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	defer child.Process.Kill()
	childStart, _ := process.StartTime(child.Process.Pid)
	set := func(status Status, boot string, pid int, start uint64, monitor int, monitorStart uint64) State {
		r := create(t, s, "")
		st, err := s.Update(r.ID, func(st *State) error {
			st.Status = Running
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		lk, err := s.lock(r.ID)
		if err != nil {
			t.Fatal(err)
		}
		defer lk.release()
		st.Status, st.BootID, st.PID, st.PIDStart, st.MonitorPID, st.MonitorStart, st.ExitCode, st.Error, st.FinishedAt = status, boot, pid, start, monitor, monitorStart, 7, "", time.Time{}
		if err := writeState(lk.dir, &st, atomicfile.Atomic); err != nil {
			t.Fatal(err)
		}
		return st
	}
	for name, c := range map[string]struct {
		st     State
		status Status
		code   int
	}{
		"runs":                     {set(Running, s.boot(), os.Getpid(), self, 1, 0), Running, 7},
		"frozen":                   {set(Paused, s.boot(), os.Getpid(), self, 1, 0), Paused, 7},
		"runs without its monitor": {set(Running, s.boot(), child.Process.Pid, childStart, ended.PID, ended.PIDStart), Running, 7},
		"ended, monitor at work":   {set(Running, s.boot(), ended.PID, ended.PIDStart, child.Process.Pid, childStart), Running, 7},
		"ended, monitor is me":     {set(Running, s.boot(), ended.PID, ended.PIDStart, os.Getpid(), 0), Running, 7},
		"ended without monitor":    {set(Running, s.boot(), ended.PID, ended.PIDStart, ended.PID, ended.PIDStart), Exited, 137},
		"frozen and killed":        {set(Paused, s.boot(), ended.PID, ended.PIDStart, ended.PID, ended.PIDStart), Exited, 137},
		"pid used again":           {set(Running, s.boot(), child.Process.Pid, childStart+1, ended.PID, ended.PIDStart), Exited, 137},
		"monitor's pid used again": {set(Running, s.boot(), ended.PID, ended.PIDStart, child.Process.Pid, childStart+1), Exited, 137},
		"between runs":             {set(Restarting, s.boot(), 0, 0, child.Process.Pid, childStart), Restarting, 7},
		"between runs, no monitor": {set(Restarting, s.boot(), 0, 0, ended.PID, ended.PIDStart), Exited, 7},
		"rebooted":                 {set(Running, "another boot", os.Getpid(), self, os.Getpid(), 0), Exited, 255},
		"exited before":            {set(Exited, "another boot", 0, 0, 0, 0), Exited, 7},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := s.LoadState(c.st.ID)
			if err != nil || got.Status != c.status || got.ExitCode != c.code {
				t.Errorf("%s, code %d, %v; want %s, %d", got.Status, got.ExitCode, err, c.status, c.code)
			}
			if c.st.Status.Live() && got.Status == Exited && (got.FinishedAt.IsZero() || got.PID != 0) {
				t.Errorf("the end is not complete: %+v", got)
			}
			again, err := s.LoadState(c.st.ID)
			if err != nil || !again.FinishedAt.Equal(got.FinishedAt) {
				t.Errorf("the end was not recorded: %v, then %v", got.FinishedAt, again.FinishedAt)
			}
		})
	}
}
