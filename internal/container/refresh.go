package container

import (
	"os"
	"sync"
	"time"

	"berth/internal/linux/process"
)

// A state file may be wrong about the present in two ways. After a reboot it
// names a process of another boot. And a monitor that was killed with -9 could
// not record the end of its container.

// bootID asks for the identifier of this boot once per store. It is "" without
// /proc: then nothing can be said of any process.
func bootID() func() string { return sync.OnceValue(process.BootID) }

// The exit codes of a container whose end nobody saw, as Docker gives them.
const (
	codeLostMonitor = 137 // as if killed: the monitor was
	codeReboot      = 255
)

// refresh returns the state as the kernel knows it, and whether that differs
// from st. While the monitor lives, it alone says that its container ended.
func (s *Store) refresh(st State) (State, bool) {
	if !st.Status.Live() || s.boot() == "" {
		return st, false
	}
	sameBoot := st.BootID == s.boot()
	if sameBoot && (st.MonitorPID == os.Getpid() || process.Alive(st.PID, st.PIDStart)) {
		return st, false
	}
	if end, ok := s.aside(st); ok {
		return end, true
	}
	if sameBoot && process.Alive(st.MonitorPID, st.MonitorStart) {
		return st, false
	}
	switch {
	case !sameBoot:
		st.ExitCode, st.Error = codeReboot, "the host was restarted while the container ran"
	case st.Status != Restarting: // between two runs the code of the last is known
		st.ExitCode, st.Error = codeLostMonitor, "the container's monitor was killed: how the program ended is not known"
	}
	if st.Status != Restarting || st.FinishedAt.IsZero() {
		st.FinishedAt = time.Now().UTC()
	}
	st.Status, st.PID, st.PIDStart, st.MonitorPID, st.MonitorStart = Exited, 0, 0, 0, 0
	return st, true
}
