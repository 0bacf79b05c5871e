package monitor

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
)

// Additional processes (exec). The client compiles the program and opens the
// stdio; the monitor is only the parent. It has to be, because between joining
// a container and execve the parent's executable is in the container's reach:
// the monitor runs from a read-only mount of it, the CLI does not
// (CVE-2019-5736). It also makes the exit code of a detached exec reaped by
// somebody who knows it.
//
//	client                                monitor
//	  |-- connect exec.sock ---------------->|
//	  |-- plan, program, fds (as a launch) ->|-- clone, program --> process
//	  |<-------------- started / failed -----|
//	  |<-------------- exited, code ---------|

// execChild is a running additional process.
type execChild struct{ pid, pidfd, conn int }

// ExecSocket is the path of the exec socket beside a monitor's attach socket.
func ExecSocket(attachSocket string) string {
	return strings.TrimSuffix(attachSocket, ".sock") + "-exec.sock"
}

// execTimeout bounds how long a client may take to send its request.
const execTimeout = 5 * time.Second

// serveExec takes one request. It blocks until the request is whole: requests
// are written in one go by the engine.
func (m *loop) serveExec() {
	conn, _, err := unix.Accept4(m.execListener, unix.SOCK_CLOEXEC)
	if err != nil {
		return
	}
	tv := unix.NsecToTimeval(int64(execTimeout))
	unix.SetsockoptTimeval(conn, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	c, err := m.startExec(conn)
	if err != nil {
		sendFailure(conn, err)
		unix.Close(conn)
		return
	}
	reply(conn, frame(frameStarted, u32(uint32(c.pid))...))
	m.execs = append(m.execs, c)
	m.watch(c.pidfd, unix.EPOLLIN)
}

func (m *loop) startExec(conn int) (*execChild, error) {
	r, err := receive(conn)
	if err != nil {
		return nil, err
	}
	defer r.release()
	defer r.closeFDs()
	if r.plan.ID != m.plan.ID {
		return nil, errdefs.New(errdefs.Internal, "the request is for another container")
	}
	s, err := clone(r)
	if err != nil {
		return nil, err
	}
	return &execChild{pid: s.PID, pidfd: s.PIDFD, conn: conn}, nil
}

// reapExec tells the client how its process ended, if fd is a process of ours.
func (m *loop) reapExec(fd int) bool {
	for i, c := range m.execs {
		if c.pidfd != fd {
			continue
		}
		code, ended := reap(c.pid)
		if !ended {
			return true
		}
		reply(c.conn, frame(frameExited, u32(uint32(code))...))
		unix.Close(c.conn)
		unix.Close(c.pidfd)
		m.execs = append(m.execs[:i], m.execs[i+1:]...)
		return true
	}
	return false
}

// serveOne is the whole life of a monitor that was started for one additional
// process, because the container's own monitor has been killed.
func serveOne(sock int, r *request) {
	s, err := clone(r)
	r.closeFDs()
	r.release()
	if err != nil {
		sendFailure(sock, err)
		return
	}
	reply(sock, frame(frameStarted, u32(uint32(s.PID))...))
	for {
		fds := []unix.PollFd{{Fd: int32(s.PIDFD), Events: unix.POLLIN}}
		unix.Poll(fds, -1)
		if code, ended := reap(s.PID); ended {
			reply(sock, frame(frameExited, u32(uint32(code))...))
			return
		}
	}
}

// endExecs waits for the additional processes, which died with PID 1, so that
// their clients learn the codes before the container's end is told.
func (m *loop) endExecs() {
	os.Remove(ExecSocket(m.plan.Socket))
	for end := time.Now().Add(drainLimit); len(m.execs) > 0 && time.Now().Before(end); {
		fds := []unix.PollFd{{Fd: int32(m.execs[0].pidfd), Events: unix.POLLIN}}
		unix.Poll(fds, 100)
		m.reapExec(m.execs[0].pidfd)
	}
	for _, c := range m.execs {
		unix.Close(c.conn)
	}
}

// reap collects a child that may have ended.
func reap(pid int) (code int, ended bool) {
	var ws unix.WaitStatus
	got, err := unix.Wait4(pid, &ws, unix.WNOHANG, nil)
	switch {
	case err == unix.EINTR || err == nil && got == 0:
		return 0, false
	case err != nil:
		return 255, true
	case ws.Signaled():
		return 128 + int(ws.Signal()), true
	}
	return ws.ExitStatus(), true
}
