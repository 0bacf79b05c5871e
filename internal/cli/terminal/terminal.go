// Package terminal provides what a client needs to lend its terminal to a
// container: raw mode, the window size and its changes, and the key sequence
// that takes the terminal back.
//
// A terminal normally edits lines and turns Ctrl-C into a signal by itself
// (termios(3), "cooked" mode). While it is lent, both must happen inside the
// container, on the pseudo terminal there; so here it only passes bytes on
// ("raw" mode). Whoever sets raw mode must restore it on every way out.
package terminal

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/term"
)

// Raw puts f in raw mode and returns the function that restores it, which may
// be called twice. A signal that ends this process restores it first: a shell
// on a raw terminal is of no use.
func Raw(f *os.File) (restore func(), err error) {
	fd := int(f.Fd())
	old, err := term.MakeRaw(fd)
	if err != nil {
		return nil, &os.PathError{Op: "set raw mode", Path: f.Name(), Err: err}
	}
	var once sync.Once
	restoreOnce := func() {
		once.Do(func() { _ = term.Restore(fd, old) }) // the terminal may be gone: nothing is left to restore then
	}
	deadly := make(chan os.Signal, 1)
	signal.Notify(deadly, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	over := make(chan struct{})
	go func() {
		select {
		case <-over:
		case sig := <-deadly:
			restoreOnce()
			signal.Reset(sig)
			number, _ := sig.(syscall.Signal) // os/signal on Linux sends nothing else
			_ = syscall.Kill(os.Getpid(), number)
		}
	}()
	var end sync.Once
	return func() {
		end.Do(func() { signal.Stop(deadly); close(over) })
		restoreOnce()
	}, nil
}

// Size returns the rows and columns of f, 0 and 0 if it is no terminal.
func Size(f *os.File) (rows, cols uint16) {
	if f == nil {
		return 0, 0
	}
	w, h, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0, 0
	}
	return uint16(h), uint16(w)
}

// Follow calls resize with the size of f each time the window changes, until
// the returned stop function is called. Errors of resize are ignored: the
// program may have ended in between.
func Follow(ctx context.Context, f *os.File, resize func(rows, cols uint16) error) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, syscall.SIGWINCH)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-changes:
				if rows, cols := Size(f); rows != 0 {
					_ = resize(rows, cols)
				}
			}
		}
	}()
	return func() {
		signal.Stop(changes)
		cancel()
		<-done
	}
}
