package engine

import (
	"context"
	"io"
	"log/slog"
	"os"
	"time"

	"berth/internal/container"
	"berth/internal/container/logs"
	"berth/internal/linux/cgroup"
	"berth/internal/linux/process"
	"berth/internal/runtime/monitor"
)

// monitorMain is the monitor process: package monitor drives, the engine
// records and takes down.
func monitorMain() int {
	nameProcess(monitorRole)
	var e *Engine
	var oom *cgroup.OOMWatch
	restarting := false
	engine := func(p *monitor.Plan) *Engine {
		if e == nil {
			e = open(Options{DataRoot: p.DataRoot, StateRoot: p.StateRoot, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
		}
		return e
	}
	plan, exit := monitor.Serve(controlFD, monitor.Hooks{
		OpenLog: openLog,
		Started: func(p *monitor.Plan, pid int) error {
			oom = engine(p).watchOOM(p)
			return e.started(p, pid)
		},
		KillRest: func(p *monitor.Plan) { engine(p).killGroup(context.Background(), p.CgroupParent, p.ID) },
		Exited:   func(p *monitor.Plan, x monitor.Exit) { engine(p).exited(p, x, oom) },
		Reclaim: func(p *monitor.Plan, _ monitor.Exit) {
			engine(p).takeDown(p.ID, p.CgroupParent)
			if restarting = e.isRestarting(p.ID); !restarting {
				e.endLease(p.ID)
			}
		},
	})
	switch {
	case plan == nil:
		return 1
	case restarting:
		return e.restartAfter(plan, exit)
	}
	return 0
}

// openLog opens the log that a plan names.
func openLog(p *monitor.Plan) (monitor.Log, error) {
	o, err := logs.ParseOptions(p.LogDriver, p.LogOptions)
	if err != nil {
		return nil, err
	}
	return logs.OpenWriter(p.LogPath, o)
}

// started records that PID 1 runs.
func (e *Engine) started(p *monitor.Plan, pid int) error {
	start, err := process.StartTime(pid)
	if err != nil {
		return err
	}
	monitorStart, err := process.StartTime(os.Getpid())
	if err != nil {
		return err
	}
	st, err := e.store.Update(p.ID, func(s *container.State) error {
		if p.Restarts > 0 && s.Status != container.Restarting {
			return errNoRestart
		}
		s.Status, s.PID, s.PIDStart, s.MonitorPID = container.Running, pid, start, os.Getpid()
		s.MonitorStart, s.BootID, s.StartedAt = monitorStart, process.BootID(), time.Now().UTC()
		s.ExitCode, s.Error, s.OOMKilled, s.StoppedByAPI, s.RestartCount = 0, "", false, false, p.Restarts
		s.Network, s.Ports = p.Network, p.Published
		return nil
	})
	if err == nil {
		e.emit("container", "start", p.ID, st)
	}
	return err
}

// exited records the end of a run. It is the first thing done after PID 1 has
// ended, as users wait for it.
func (e *Engine) exited(p *monitor.Plan, x monitor.Exit, w *cgroup.OOMWatch) {
	oom := w != nil && w.Kills() > 0 || e.oomKilled(p.CgroupParent, p.ID)
	// Whoever waits for the end may publish the same port again at once.
	if err := e.networks.Detach(context.Background(), p.ID); err != nil {
		e.opt.Log.Warn("give back the network", "container", p.ID, "error", err)
	}
	if p.AutoRemove {
		st, _ := e.store.LoadState(p.ID)
		st.ExitCode = x.Code
		e.emit("container", "die", p.ID, st)
		if e.removeRecord(p.ID) == nil {
			e.emit("container", "destroy", p.ID, st)
		}
		return
	}
	st, _ := e.store.Update(p.ID, func(s *container.State) error {
		s.Status, s.PID, s.PIDStart = container.Exited, 0, 0
		s.ExitCode, s.FinishedAt, s.OOMKilled = x.Code, x.At.UTC(), oom
		if restarts(s, p.RestartName, p.RestartMax) {
			s.Status = container.Restarting // this process goes on as the one that starts it
		} else {
			s.MonitorPID, s.MonitorStart = 0, 0
		}
		return nil
	})
	if oom {
		e.emit("container", "oom", p.ID, st)
	}
	e.emit("container", "die", p.ID, st)
}

// watchOOM watches a group that may be gone before its container's end is known.
func (e *Engine) watchOOM(p *monitor.Plan) *cgroup.OOMWatch {
	if !namesSlice(p.CgroupParent) { // most do not, and need not know the host's groups yet
		return nil
	}
	host, err := e.cgroups()
	if err != nil || !scoped(host, p.CgroupParent) {
		return nil
	}
	w, err := host.Open(groupName(host, p.CgroupParent, p.ID)).WatchOOM()
	if err != nil {
		return nil // as without a watch: the count is read at the end
	}
	return w
}

func (e *Engine) oomKilled(parent, id string) bool {
	g, err := e.group(parent, id)
	if err != nil {
		return false
	}
	n, err := g.OOMKills()
	return err == nil && n > 0
}

// group is a container's cgroup, there or not.
func (e *Engine) group(parent, id string) (*cgroup.Group, error) {
	host, err := e.cgroups()
	if err != nil {
		return nil, err
	}
	return host.Open(groupName(host, parent, id)), nil
}

// killGroup kills every process of a container.
func (e *Engine) killGroup(ctx context.Context, parent, id string) error {
	g, err := e.group(parent, id)
	if err != nil {
		return err
	}
	return g.Kill(ctx)
}

// thaw lets a frozen container run again, so that it can die.
func (e *Engine) thaw(parent, id string) error {
	g, err := e.group(parent, id)
	if err != nil {
		return err
	}
	return g.Thaw()
}
