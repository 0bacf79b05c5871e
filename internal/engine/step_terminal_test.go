package engine

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// screen keeps what a terminal shows.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) await(b *stepBed, want string) {
	b.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		s.mu.Lock()
		text := s.text.String()
		s.mu.Unlock()
		if strings.Contains(text, want) {
			return
		}
		if time.Now().After(end) {
			b.Errorf("the screen does not show %q: %q", want, text)
			return
		}
	}
}

// A program with a terminal has job control, a size, and leaves nothing in the layer.
func testStepTerminal(b *stepBed) {
	typed, keys := io.Pipe()
	defer keys.Close()
	var s screen
	var resize func(rows, cols uint16) error
	stopped := false
	t := &StepTerminal{In: typed, Out: &s, Rows: 24, Cols: 80, Follow: func(f func(rows, cols uint16) error) func() {
		resize = f
		return func() { stopped = true }
	}}
	go func() {
		s.await(b, "# ")
		io.WriteString(keys, "busybox stty size; busybox tty; echo $((40+2))\n")
		s.await(b, "24 80\r\n/dev/pts/0\r\n42\r\n")
		resize(30, 90) //nolint:errcheck // the next line shows it
		io.WriteString(keys, "sh -c 'echo in=$((1+1)); exec sleep 1000'\n")
		s.await(b, "in=2")
		io.WriteString(keys, "\x03")
		io.WriteString(keys, "echo code=$?; busybox stty size; echo left > /left; exit 7\n")
	}()
	_, res, d := b.run(b.base, StepRequest{Args: []string{"/bin/sh"}, Terminal: t, Mounts: []StepMount{{Target: "/mem", Tmpfs: true}}})
	s.await(b, "code=130\r\n30 90\r\n")
	if res.ExitCode != 7 || !stopped {
		b.Errorf("%+v, stopped %v", res, stopped)
	}
	if _, names := b.commit(d); !strings.Contains(names, "/left") || strings.Contains(names, "console") || strings.Contains(names, "/mem") {
		b.Errorf("the layer holds %s", names)
	}
	// A program that does not start.
	r := StepRequest{Args: []string{"/no/such"}, Terminal: &StepTerminal{In: strings.NewReader(""), Out: &s}}
	r.complete()
	b.draft(b.base, &r)
	if _, err := b.e.Containers.RunStep(b.Context(), r); err == nil || errors.Is(err, os.ErrClosed) {
		b.Errorf("a program that is not there: %v", err)
	}
}
