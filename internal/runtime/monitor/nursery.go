package monitor

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
)

// A nursery is the parent of programs that belong to another process: the steps
// of a build. The builder cannot be the parent itself. Between clone and execve
// a child's /proc/PID/exe is its parent's executable, which a hostile image can
// have executed and then written to (CVE-2019-5736); a nursery runs from a
// read-only mount of it, as a monitor does. And a nursery outlives a builder
// that is killed, if only to kill what that was running.
//
//	builder                               nursery                     step
//	  |-- spawn, once -------------------->|                            :
//	  |-- a socket for each step --------->|                            :
//	  |== on it: plan, program, fds ======>|-- clone3, program -------->|
//	  |<===================== started =====|<---------- execve ---------|
//	  |     (closing the socket kills) - ->|- - - - - - kill - - - - - >|
//	  |<=============== exited, status ====|<----------- exit ----------|

// StepEnd is how a step's program ended.
type StepEnd struct {
	Code   int // its exit code, or 128 + the signal's number
	Signal int // that ended it, 0: none
}

// ServeNursery starts and reaps programs until nobody has the other end of the
// control socket any more, and all that it started has ended.
func ServeNursery(control int) {
	var steps sync.WaitGroup
	for {
		sock, err := receiveSocket(control)
		if err != nil {
			break
		}
		steps.Go(func() { serveStep(sock) })
	}
	steps.Wait()
}

// receiveSocket takes the socket of the next step.
func receiveSocket(control int) (int, error) {
	var b [1]byte
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := recvmsg(control, b[:], oob)
	if err != nil || n == 0 {
		return -1, errGone
	}
	got, err := rights(oob[:oobn])
	if err != nil || len(got) != 1 {
		return -1, errGone
	}
	return got[0], nil
}

// serveStep is the whole life of one program.
func serveStep(sock int) {
	defer unix.Close(sock)
	r, err := receive(sock)
	if err != nil {
		if !errors.Is(err, errGone) {
			sendFailure(sock, err)
		}
		return
	}
	s, err := clone(r)
	r.closeFDs()
	r.release()
	if err != nil {
		sendFailure(sock, err)
		return
	}
	reply(sock, frame(frameStarted, u32(uint32(s.PID))...))
	end := awaitStep(sock, s.PID, s.PIDFD)
	unix.Close(s.PIDFD)
	reply(sock, frame(frameExited, append(u32(uint32(end.Code)), u32(uint32(end.Signal))...)...))
}

// awaitStep waits for the end of the program, and kills it when nothing more
// can come from its socket. With a PID 1 die all of its pid namespace.
func awaitStep(sock, pid, pidfd int) StepEnd {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}, {Fd: int32(sock), Events: unix.POLLIN | unix.POLLRDHUP}}
	for {
		_, _ = unix.Poll(fds, -1)
		if len(fds) == 2 && fds[1].Revents != 0 {
			_ = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
			fds = fds[:1]
		}
		var ws unix.WaitStatus
		got, err := unix.Wait4(pid, &ws, unix.WNOHANG, nil)
		switch {
		case err == unix.EINTR || err == nil && got == 0:
			continue
		case err != nil:
			return StepEnd{Code: 255}
		case ws.Signaled():
			return StepEnd{Code: 128 + int(ws.Signal()), Signal: int(ws.Signal())}
		}
		return StepEnd{Code: ws.ExitStatus()}
	}
}

// ConnectStep returns a connection for one program of the nursery whose control
// socket is given. Send, AwaitStart and AwaitEnd follow; Close at any time kills
// the program.
func ConnectStep(control int) (*Connection, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(pair[1])
	if _, err := unix.SendmsgN(control, []byte{0}, unix.UnixRights(pair[1]), nil, unix.MSG_NOSIGNAL); err != nil {
		unix.Close(pair[0])
		return nil, os.NewSyscallError("sendmsg", err)
	}
	return NewConnection(pair[0]), nil
}

// Kill has the nursery kill the program; AwaitEnd tells when it is dead.
func (c *Connection) Kill() { _ = unix.Shutdown(c.fd, unix.SHUT_WR) }

// AwaitEnd waits for the end of a step's program.
func (c *Connection) AwaitEnd() (StepEnd, error) {
	kind, p, err := c.read()
	switch {
	case errors.Is(err, io.EOF):
		return StepEnd{}, errdefs.New(errdefs.Internal, "the parent process of the program was killed")
	case err != nil:
		return StepEnd{}, err
	case kind != frameExited || len(p) != 8:
		return StepEnd{}, errdefs.New(errdefs.Internal, "unexpected answer from the nursery")
	}
	return StepEnd{Code: int(binary.BigEndian.Uint32(p)), Signal: int(binary.BigEndian.Uint32(p[4:]))}, nil
}
