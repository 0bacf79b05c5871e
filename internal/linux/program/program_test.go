package program

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// run starts a program with descriptor 0 of its list the write end of a pipe,
// and returns what was written and the exit code.
func run(t *testing.T, build func(b *Builder)) (string, int, error) {
	t.Helper()
	b := NewBuilder()
	var none [8]byte
	b.Call("unblock signals", unix.SYS_RT_SIGPROCMASK, Int(unix.SIG_SETMASK), Bytes(none[:]), Int(0), Int(8))
	build(b)
	p, err := Unmarshal(b.Program().Marshal())
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s, err := p.Start(StartOptions{FDs: []int{int(w.Fd())}, Cgroup: -1})
	w.Close()
	if err != nil {
		return "", 0, err
	}
	defer unix.Close(s.PIDFD)
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	var ws unix.WaitStatus
	if _, err := unix.Wait4(s.PID, &ws, 0, nil); err != nil {
		t.Fatal(err)
	}
	return string(out), ws.ExitStatus(), nil
}

func TestStartExec(t *testing.T) {
	out, code, err := run(t, func(b *Builder) {
		dup := b.Call("dup", unix.SYS_DUP, FD(0)).Save()
		b.Call("stdout", unix.SYS_DUP3, Result(dup), Int(1), Int(0))
		b.Call("exec", unix.SYS_EXECVE, Str("/bin/sh"), At(b.Vector([]string{"sh", "-c", "echo $X; exit 7"})), At(b.Vector([]string{"X=hello"})))
	})
	if out != "hello\n" || code != 7 || err != nil {
		t.Errorf("got %q, %d, %v", out, code, err)
	}
}

func TestFailureNamesTheStep(t *testing.T) {
	_, _, err := run(t, func(b *Builder) {
		b.Call("ignored", unix.SYS_CHDIR, Str("/nonexistent")).Ignore()
		b.Call("tolerated", unix.SYS_CHDIR, Str("/nonexistent")).Tolerate(unix.EACCES, unix.ENOENT)
		b.Call("fails", unix.SYS_CHDIR, Str("/nonexistent")).Tolerate(unix.EACCES)
	})
	var f *Failure
	if !errors.As(err, &f) || f.Index != 3 || !errors.Is(err, unix.ENOENT) {
		t.Errorf("got %v", err)
	}
}

func TestJumpsAndSteps(t *testing.T) {
	_, _, err := run(t, func(b *Builder) {
		b.Call("jump over a failing call", unix.SYS_CHDIR, Str("/nonexistent")).OrSkip(1)
		b.Call("never", unix.SYS_CHDIR, Str("/also-nonexistent"))
		b.Call("skip on success", unix.SYS_CHDIR, Str("/")).ThenSkip(1)
		b.Call("never", unix.SYS_CHDIR, Str("/also-nonexistent"))
		b.Call("try 1", unix.SYS_EXECVE, Str("/nonexistent"), At(b.Vector([]string{})), At(b.Vector([]string{}))).OrNext()
		b.Call("try 2", unix.SYS_EXECVE, Str("/etc"), At(b.Vector([]string{})), At(b.Vector([]string{}))).OrNext()
		b.Call("try 3", unix.SYS_EXECVE, Str("/nonexistent"), At(b.Vector([]string{})), At(b.Vector([]string{}))).OrNext()
		b.Fail("exec", unix.ENOENT)
	})
	if !errors.Is(err, unix.EACCES) {
		t.Errorf("a directory among missing files must end as EACCES, got %v", err)
	}
}

func TestStoreAndExpect(t *testing.T) {
	_, _, err := run(t, func(b *Builder) {
		at := b.Place(make([]byte, 64))
		b.Call("chdir", unix.SYS_CHDIR, Str("/"))
		b.Call("getcwd", unix.SYS_GETCWD, At(at), Int(64))
		b.Expect("cwd inside", at, '/', unix.ENOTDIR)
		n := b.Call("dup", unix.SYS_DUP, FD(0)).Save()
		b.Store(at, n)
		b.Expect("not a slash any more", at, '/', unix.EXDEV)
	})
	if !errors.Is(err, unix.EXDEV) {
		t.Errorf("got %v", err)
	}
}

func TestEndWithoutExecFails(t *testing.T) {
	_, _, err := run(t, func(*Builder) {})
	if !errors.Is(err, unix.ENOEXEC) {
		t.Errorf("got %v", err)
	}
}

func TestManyStartsInParallel(t *testing.T) {
	t.Parallel()
	for range 8 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for range 25 {
				out, code, err := run(t, func(b *Builder) {
					b.Call("stdout", unix.SYS_DUP3, FD(0), Int(1), Int(0))
					b.Call("exec", unix.SYS_EXECVE, Str("/bin/echo"), At(b.Vector([]string{"echo", "x"})), At(b.Vector(nil)))
				})
				if out != "x\n" || code != 0 || err != nil {
					t.Fatalf("got %q, %d, %v", out, code, err)
				}
			}
		})
	}
}

func FuzzUnmarshal(f *testing.F) {
	b := NewBuilder()
	b.Call("exec", unix.SYS_EXECVE, Str("/bin/true"), At(b.Vector([]string{"true"})), At(b.Vector([]string{})))
	f.Add(b.Program().Marshal())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := Unmarshal(bytes.Clone(in))
		if err == nil && !bytes.Equal(p.Marshal(), in) {
			t.Error("round trip changed the program")
		}
	})
}

func BenchmarkStart(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		x := NewBuilder()
		x.Call("exec", unix.SYS_EXECVE, Str("/bin/true"), At(x.Vector([]string{"true"})), At(x.Vector(nil)))
		s, err := x.Program().Start(StartOptions{Cgroup: -1})
		if err != nil {
			b.Fatal(err)
		}
		unix.Close(s.PIDFD)
		reap(s.PID)
	}
}

// A second child is the starter's own, has the namespaces asked for, and shares
// registers and descriptors with the first.
func TestSecondChild(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("namespaces need root")
	}
	for _, ownMemory := range []bool{false, true} {
		b := NewBuilder()
		rest := b.Part()
		rest.Call("not this one", unix.SYS_CHDIR, Str("/nonexistent")).OrSkip(1)
		rest.Call("never", unix.SYS_CHDIR, Str("/nonexistent"))
		dup := b.Call("dup", unix.SYS_DUP, FD(0)).Save()
		rest.Call("stdout", unix.SYS_DUP3, Result(dup), Int(1), Int(0))
		rest.Call("exec", unix.SYS_EXECVE, Str("/bin/sh"), At(b.Vector([]string{"sh", "-c", "echo $$; exit 9"})), At(b.Vector([]string{})))
		b.Clone("second", unix.CLONE_NEWPID|unix.CLONE_NEWNS)
		b.Append(rest)
		p, err := Unmarshal(b.Program().Marshal())
		if err != nil {
			t.Fatal(err)
		}
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		s, err := p.Start(StartOptions{FDs: []int{int(w.Fd())}, Cgroup: -1, OwnMemory: ownMemory})
		w.Close()
		if err != nil {
			t.Fatal(err)
		}
		out, err := io.ReadAll(r)
		r.Close()
		if string(out) != "1\n" || err != nil {
			t.Errorf("PID in the new namespace: %q, %v", out, err)
		}
		fds := []unix.PollFd{{Fd: int32(s.PIDFD), Events: unix.POLLIN}}
		if n, err := unix.Poll(fds, 5000); n != 1 || err != nil {
			t.Errorf("the pidfd is not that of the second child: %v", err)
		}
		unix.Close(s.PIDFD)
		var ws unix.WaitStatus
		if got, err := unix.Wait4(s.PID, &ws, 0, nil); got != s.PID || err != nil || ws.ExitStatus() != 9 {
			t.Errorf("wait: %d %v, exit code %d", got, err, ws.ExitStatus())
		}
		noChildren(t)
	}
}

func noChildren(t *testing.T) {
	t.Helper()
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
		t.Errorf("a child is left: %d %v", pid, err)
	}
}

func TestSecondChildFails(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("namespaces need root")
	}
	for name, c := range map[string]struct {
		flags uint64
		index int
		errno unix.Errno
	}{
		"in its program": {unix.CLONE_NEWUTS, 3, unix.ENOENT},
		"to be made":     {unix.CLONE_NEWNS | unix.CLONE_FS, 2, unix.EINVAL}, // they contradict each other
	} {
		_, _, err := run(t, func(b *Builder) {
			b.Call("fine", unix.SYS_GETPID)
			b.Clone("second", c.flags)
			b.Call("fails", unix.SYS_CHDIR, Str("/nonexistent"))
		})
		var f *Failure
		if !errors.As(err, &f) || f.Index != c.index || f.Errno != c.errno {
			t.Errorf("%s: %v", name, err)
		}
		noChildren(t)
	}
	b := NewBuilder()
	b.Clone("second", 0)
	b.Clone("third", 0)
	if _, err := Unmarshal(b.Program().Marshal()); err == nil {
		t.Error("a third child has no stack, and was taken")
	}
}
