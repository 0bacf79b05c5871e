package engine

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"berth/internal/runtime/monitor"
)

// ExecSession is a running exec.
type ExecSession struct {
	PID    int
	conn   *monitor.Connection
	req    ExecRequest
	master int
	done   chan struct{} // output is drained
	failed chan error    // input ended the session
}

// relay starts moving bytes that the program does not read or write itself.
func (s *ExecSession) relay(own [3]*os.File) {
	s.done, s.failed = make(chan struct{}), make(chan error, 1)
	if s.req.Tty && s.master >= 0 {
		f := os.NewFile(uintptr(s.master), "terminal")
		own = [3]*os.File{f, f, nil}
	}
	if own[0] != nil && !isNil(s.req.Stdin) {
		go func() {
			_, err := io.Copy(own[0], s.req.Stdin)
			if errors.Is(err, ErrDetached) {
				s.failed <- err
			}
			if !s.req.Tty {
				own[0].Close()
			}
		}()
	}
	go func() {
		defer close(s.done)
		second := make(chan struct{})
		go func() {
			defer close(second)
			if own[2] != nil {
				io.Copy(s.req.Stderr, own[2])
			}
		}()
		if own[1] != nil {
			io.Copy(s.req.Stdout, own[1]) // a terminal ends with EIO
		}
		<-second
	}()
}

// Resize tells the exec's terminal its new size.
func (s *ExecSession) Resize(rows, cols uint16) error {
	if s.master < 0 || rows == 0 || cols == 0 {
		return nil
	}
	return os.NewSyscallError("ioctl", unix.IoctlSetWinsize(s.master, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}))
}

// Signal sends a signal number to the program.
func (s *ExecSession) Signal(sig int) error {
	return os.NewSyscallError("kill", unix.Kill(s.PID, unix.Signal(sig)))
}

// Wait returns the program's exit code when it and its output have ended;
// ErrDetached if the request's Stdin returned it.
func (s *ExecSession) Wait() (exitCode int, err error) {
	type end struct {
		code int
		err  error
	}
	ended := make(chan end, 1)
	go func() {
		code, err := s.conn.Copy(nil, io.Discard, io.Discard)
		if err == nil {
			<-s.done
		}
		ended <- end{code, err}
	}()
	select {
	case e := <-ended:
		return e.code, e.err
	case err := <-s.failed:
		if s.master >= 0 {
			err = errors.Join(holdTerminal(s.master), err)
		}
		return 0, err
	}
}
