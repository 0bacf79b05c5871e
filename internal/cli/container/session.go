package container

import (
	"context"
	"errors"
	"io"
	"os"

	"berth/internal/cli/command"
	"berth/internal/cli/streams"
	"berth/internal/cli/terminal"
	"berth/internal/engine"
	"berth/internal/errdefs"
)

// session lends the client's streams to a program in a container until the
// program ends or the user takes them back with the detach keys.
type session struct {
	env        *command.Env
	tty, stdin bool
	detachKeys string
}

// check refuses what cannot work before anything is made: an interactive
// terminal needs one on this side too.
func (s *session) check() error {
	if _, err := s.keys(); err != nil {
		return err
	}
	if s.tty && s.stdin && streams.Terminal(s.env.In) == nil {
		return notTerminal()
	}
	return nil
}

// notTerminal has Docker's text, and its exit code 1 also for run.
func notTerminal() error {
	return &command.UsageError{
		Err:  errors.New("the input device is not a TTY"),
		Hint: "leave out -t when the input is a pipe or a file",
	}
}

// passesSignals reports whether signals to this client are meant for the
// program. With a terminal and input Ctrl-C is a byte that goes inside, and the
// terminal there makes the signal.
func (s *session) passesSignals() bool { return !s.tty || !s.stdin }

func (s *session) keys() ([]byte, error) {
	keys := s.detachKeys
	if keys == "" {
		keys = terminal.DefaultDetachKeys
	}
	return terminal.ParseDetachKeys(keys)
}

// size returns the size the container's terminal shall have.
func (s *session) size() (rows, cols uint16) {
	if !s.tty {
		return 0, 0
	}
	f := streams.Terminal(s.env.Out)
	if f == nil {
		f = streams.Terminal(s.env.In)
	}
	return terminal.Size(f)
}

// lend prepares the terminal and returns the input to pass on and the function
// that takes everything back.
func (s *session) lend(ctx context.Context, resize func(rows, cols uint16) error) (in io.Reader, takeBack func(), err error) {
	takeBack = func() {}
	if s.stdin {
		if in, takeBack, err = s.input(); err != nil {
			return nil, nil, err
		}
	}
	if s.tty {
		if f := s.window(); f != nil {
			stop, restore := terminal.Follow(ctx, f, resize), takeBack
			takeBack = func() { stop(); restore() }
		}
	}
	return in, takeBack, nil
}

func (s *session) window() *os.File {
	if f := streams.Terminal(s.env.Out); f != nil {
		return f
	}
	return streams.Terminal(s.env.In)
}

// input puts the terminal in raw mode when the container has one of its own,
// and looks for the detach keys in what is typed.
func (s *session) input() (io.Reader, func(), error) {
	restore := func() {}
	if f := streams.Terminal(s.env.In); s.tty && f != nil {
		r, err := terminal.Raw(f)
		if err != nil {
			return nil, nil, errdefs.Wrap(err, "lend", "the terminal")
		}
		restore = r
	}
	keys, err := s.keys()
	if err != nil {
		restore()
		return nil, nil, err
	}
	if !s.tty {
		keys = nil // bytes of a pipe are data: no sequence in them means anything
	}
	return terminal.DetachReader(s.env.In, keys), restore, nil
}

// attachment copies through a until the end and returns the program's exit code
// as an error. Detaching is success.
func (s *session) attachment(ctx context.Context, a *engine.Attachment) error {
	defer a.Close() //nolint:errcheck // the copy's error tells more
	in, takeBack, err := s.lend(ctx, a.Resize)
	if err != nil {
		return err
	}
	code, err := a.Copy(ctx, in, s.env.Out, s.env.Err)
	takeBack()
	return ended(code, err)
}

// ended turns the end of a program into the end of the client.
func ended(code int, err error) error {
	switch {
	case errors.Is(err, engine.ErrDetached):
		return nil
	case err != nil:
		return err
	case code != 0:
		return command.ExitError{Code: code}
	}
	return nil
}
