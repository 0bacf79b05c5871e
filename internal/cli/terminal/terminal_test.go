package terminal

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openPTY returns both ends of a pseudo terminal (pty(7)).
func openPTY(t *testing.T) (master, slave *os.File) {
	t.Helper()
	m, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo terminals here: %v", err)
	}
	t.Cleanup(func() { m.Close() })
	if err := unix.IoctlSetPointerInt(int(m.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(m.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	s, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("the pseudo terminal's file is not here: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return m, s
}

func TestRawAndBack(t *testing.T) {
	_, s := openPTY(t)
	before, err := unix.IoctlGetTermios(int(s.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	restore, err := Raw(s)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := unix.IoctlGetTermios(int(s.Fd()), unix.TCGETS)
	if raw.Lflag&(unix.ECHO|unix.ICANON|unix.ISIG) != 0 {
		t.Errorf("local flags %#x still echo, edit lines or make signals", raw.Lflag)
	}
	restore()
	restore()
	after, _ := unix.IoctlGetTermios(int(s.Fd()), unix.TCGETS)
	if *after != *before {
		t.Errorf("not restored: %+v, was %+v", after, before)
	}
}

func TestFollowSize(t *testing.T) {
	_, s := openPTY(t)
	set := func(rows, cols uint16) {
		if err := unix.IoctlSetWinsize(int(s.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}); err != nil {
			t.Fatal(err)
		}
	}
	set(24, 80)
	if rows, cols := Size(s); rows != 24 || cols != 80 {
		t.Fatalf("size %d x %d", rows, cols)
	}
	got := make(chan [2]uint16, 1)
	stop := Follow(context.Background(), s, func(rows, cols uint16) error { got <- [2]uint16{rows, cols}; return nil })
	defer stop()
	set(50, 132)
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil { // the test has another controlling terminal, or none
		t.Fatal(err)
	}
	select {
	case size := <-got:
		if size != [2]uint16{50, 132} {
			t.Errorf("told %v", size)
		}
	case <-time.After(10 * time.Second):
		t.Error("the change was not told")
	}
}

func TestSizeOfNothing(t *testing.T) {
	if rows, cols := Size(nil); rows != 0 || cols != 0 {
		t.Errorf("no terminal: %d x %d", rows, cols)
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if rows, cols := Size(f); rows != 0 || cols != 0 {
		t.Errorf("a file that is no terminal: %d x %d", rows, cols)
	}
	if _, err := Raw(f); err == nil {
		t.Error("raw mode of a file that is no terminal")
	}
}
