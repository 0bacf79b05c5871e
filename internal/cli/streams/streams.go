// Package streams provides the three streams of a command.
//
// Commands never touch os.Stdin, os.Stdout or os.Stderr: they get Streams, so a
// test can run them on buffers. Whether a stream is a terminal decides between
// prose that is redrawn and plain lines that another program reads; that is
// asked here and nowhere else.
package streams

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Streams are where a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Std returns the streams of this process.
func Std() *Streams { return &Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr} }

// Terminal returns the file behind s (a stream of Streams) if it is a terminal, else nil.
func Terminal(s any) *os.File {
	if f, ok := s.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

// Width returns the columns of the terminal behind s, or 0 if there is none.
func Width(s any) int {
	f := Terminal(s)
	if f == nil {
		return 0
	}
	w, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return w
}
