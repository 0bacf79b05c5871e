package engine

import (
	"io"
	"os"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/runtime/monitor"
)

// StepTerminal gives a step's program a terminal of its own, in place of the
// streams: a person sits before it.
type StepTerminal struct {
	In         io.Reader // what is typed; a Read that waits is left behind at the end
	Out        io.Writer // the screen
	Rows, Cols uint16    // 0: unknown
	// Follow, when not nil, is called when the program runs, with what tells the
	// terminal a new size. What it returns is called when the program has ended.
	Follow func(resize func(rows, cols uint16) error) (stop func())
}

// terminal asks for a terminal and keeps our end of the socket that it comes through.
func (s *step) terminal() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	s.in.TerminalSocket = os.NewFile(uintptr(pair[1]), "terminal")
	s.console = os.NewFile(uintptr(pair[0]), "terminal")
	return nil
}

// converse passes on what is typed and shown, once the program runs. What it
// returns waits for the rest of the output.
func (s *step) converse() (rest func() error, err error) {
	t := s.req.Terminal
	fd, err := monitor.ReceiveTerminal(int(s.console.Fd()))
	if err != nil {
		return nil, errdefs.Wrap(err, "take", "the terminal of the program")
	}
	master := os.NewFile(uintptr(fd), "terminal")
	resize := func(rows, cols uint16) error {
		if rows == 0 || cols == 0 {
			return nil
		}
		return os.NewSyscallError("ioctl", unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}))
	}
	_ = resize(t.Rows, t.Cols) // a window of unknown size serves, too
	stop := func() {}
	if t.Follow != nil {
		stop = t.Follow(resize)
	}
	go io.Copy(master, t.In) //nolint:errcheck // the terminal ends with the program
	shown := make(chan error, 1)
	go func() {
		_, err := io.Copy(t.Out, master)
		if _, gone := err.(*os.PathError); gone { // EIO: nobody has the other end any more
			err = nil
		}
		shown <- err
	}()
	return func() error {
		defer master.Close()
		err := <-shown
		stop()
		return err
	}, nil
}
