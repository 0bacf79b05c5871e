package engine

import (
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// output is one of a step's streams that goes through this process.
type output struct {
	from *os.File
	to   io.Writer
}

// outputLimit is how long an output may stay open after the program has ended:
// only a process outside that was handed it (through a forwarded socket, say) can keep it so.
const outputLimit = 2 * time.Second

// stdio gives the program no input, and the caller's own files where they can
// be handed to it, else pipes. A file that is not the program's user's cannot:
// see giveStdio.
func (s *step) stdio() (err error) {
	if s.req.Terminal != nil {
		return s.terminal()
	}
	if s.in.Stdio[0], err = null(); err != nil {
		return err
	}
	for i, w := range [...]io.Writer{s.req.Stdout, s.req.Stderr} {
		if s.in.Stdio[1+i], err = s.output(w); err != nil {
			return err
		}
	}
	return nil
}

func (s *step) output(w io.Writer) (*os.File, error) {
	if isNil(w) {
		return null()
	}
	if f, ok := w.(*os.File); ok && s.in.ConsoleOwner == 0 && passable(f) {
		return duplicate(f)
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	// Our end can be waited for with a deadline; the program's is an ordinary one.
	_ = unix.SetNonblock(p[0], true)
	s.outputs = append(s.outputs, &output{from: os.NewFile(uintptr(p[0]), "pipe"), to: w})
	end := os.NewFile(uintptr(p[1]), "pipe")
	return end, giveStdio(nil, s.in.ConsoleOwner, end)
}

// copyOutputs begins to pass on the output. The function that it returns waits
// for the rest of it, when the program has ended. A writer that fails keeps the
// program from nothing: what it says from then on is dropped, and the error told.
func (s *step) copyOutputs() (rest func() error) {
	done := make(chan error, len(s.outputs))
	for _, o := range s.outputs {
		go func() {
			_, err := io.Copy(o.to, o.from)
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				_, _ = io.Copy(io.Discard, o.from)
			} else {
				err = nil
			}
			done <- err
		}()
	}
	return func() error {
		var errs []error
		for _, o := range s.outputs {
			_ = o.from.SetReadDeadline(time.Now().Add(outputLimit))
		}
		for range s.outputs {
			errs = append(errs, <-done)
		}
		return errors.Join(errs...)
	}
}

// closeFiles closes what this process holds for the program. It may be called again.
func (s *step) closeFiles() {
	s.launch.closeFiles(s.lease)
	for _, src := range s.in.Sources {
		src.Tree.Close()
	}
}

// duplicate returns a second descriptor of an open file.
func duplicate(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "fcntl", Path: f.Name(), Err: err}
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
