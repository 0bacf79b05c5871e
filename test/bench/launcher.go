package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// launcher starts commands in one leaf of the account. On cgroup v1 it is a
// thread that has joined the leaf, so that a command is born there: to move it
// after its birth costs tens of milliseconds on a busy machine and would be
// measured as the command's. On v2 clone3(2) puts the command there.
type launcher struct {
	account *account
	leaf    string
	dir     *os.File
	work    chan func()
}

// newLauncher starts the thread. It ends with the process.
func newLauncher(a *account, leaf string) (*launcher, error) {
	dir, err := os.Open(filepath.Join(a.dir, leaf))
	if err != nil {
		return nil, err
	}
	l := &launcher{account: a, leaf: leaf, dir: dir, work: make(chan func())}
	joined := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread is in another cgroup now
		var err error
		if !a.unified {
			err = os.WriteFile(filepath.Join(dir.Name(), "tasks"), []byte("0"), 0)
		}
		joined <- err
		for f := range l.work {
			f()
		}
	}()
	return l, <-joined
}

// do runs f on the launcher's thread.
func (l *launcher) do(f func()) {
	done := make(chan struct{})
	l.work <- func() { f(); close(done) }
	<-done
}

// prepare makes a command that is born in the leaf. What it prints is lost but
// for its last words, which last returns: a pipe would have to be read, and
// would stay open as long as a monitor holds it.
func (l *launcher) prepare(c command) (cmd *exec.Cmd, last func() string, err error) {
	cmd = exec.Command(c.argv[0], c.argv[1:]...)
	cmd.Env = append(os.Environ(), c.env...)
	if l.account.unified {
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(l.dir.Fd())}
	}
	words, err := os.CreateTemp("", "bench-stderr-")
	if err != nil {
		return nil, nil, err
	}
	os.Remove(words.Name())
	cmd.Stderr = words
	return cmd, func() string {
		defer words.Close()
		buf := make([]byte, 4096)
		n, _ := words.ReadAt(buf, 0)
		return string(bytes.TrimSpace(buf[:n]))
	}, nil
}

// run runs a command to its end.
func (l *launcher) run(c command) (wall time.Duration, state *os.ProcessState, err error) {
	l.do(func() { wall, state, err = l.runHere(c) })
	return wall, state, err
}

func (l *launcher) runHere(c command) (time.Duration, *os.ProcessState, error) {
	cmd, last, err := l.prepare(c)
	if err != nil {
		return 0, nil, err
	}
	begin := time.Now()
	err = cmd.Run()
	wall := time.Since(begin)
	if words := last(); err != nil {
		return wall, cmd.ProcessState, fmt.Errorf("%s: %w: %s", c, err, words)
	}
	return wall, cmd.ProcessState, nil
}

// meter runs a command and adds up the CPU time of everything in the account
// until it stops growing.
func (l *launcher) meter(c command) (wall, cpu time.Duration, err error) {
	l.do(func() {
		before := l.reading()
		if wall, _, err = l.runHere(c); err != nil {
			return
		}
		cpu = l.settled() - before
	})
	return wall, cpu, err
}

// reading is the account's time less this thread's own, which is part of it on v1.
// The thread's clock is read first: that brings the account up to date too.
func (l *launcher) reading() time.Duration {
	var own unix.Timespec
	unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &own)
	used, err := l.account.usage()
	if err != nil {
		panic(err) // the account is ours and stays
	}
	if l.account.unified {
		return used
	}
	return used - time.Duration(own.Nano())
}

// How long the account must stand still to count as at rest. Daemons have
// timers, so "still" allows a little.
const (
	pause    = 8 * time.Millisecond
	still    = 60 * time.Microsecond
	restful  = 4
	patience = 5 * time.Second
)

// settled waits until nothing in the account works any more and returns its time.
func (l *launcher) settled() time.Duration {
	last, quiet := l.reading(), 0
	for end := time.Now().Add(patience); quiet < restful && time.Now().Before(end); {
		time.Sleep(pause)
		now := l.reading()
		if now-last < still {
			quiet++
		} else {
			quiet = 0
		}
		last = now
	}
	return last
}
