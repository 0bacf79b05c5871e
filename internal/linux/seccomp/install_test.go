package seccomp

import (
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"berth/internal/linux/capability"

	"golang.org/x/sys/unix"
)

// confined runs f on a thread under the default filter, which ends with it.
func confined(t *testing.T, f func()) {
	t.Helper()
	filter, err := Default(capability.DockerDefault())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: no other goroutine may run here again
		err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		if err == nil {
			err = Install(filter, 0)
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// The kernel takes the filter and does what the filter says.
func TestInstalled(t *testing.T) {
	socket := func(family int) error {
		fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}
	raw := func(nr, a uintptr) error {
		if _, _, e := unix.Syscall6(nr, a, 0, 0, 0, 0, 0); e != 0 {
			return e
		}
		return nil
	}
	dir := t.TempDir()
	confined(t, func() {
		for _, c := range []struct {
			name string
			got  error
			want error
		}{
			{"socket(AF_INET)", socket(unix.AF_INET), nil},
			{"socket(AF_UNIX)", socket(unix.AF_UNIX), nil},
			{"socket(AF_ALG)", socket(unix.AF_ALG), unix.EPERM},
			{"socket(AF_VSOCK)", socket(unix.AF_VSOCK), unix.EPERM},
			{"mkdir", unix.Mkdir(dir+"/new", 0o755), nil},
			{"getpid", raw(unix.SYS_GETPID, 0), nil},
			{"unshare", unix.Unshare(unix.CLONE_NEWNS), unix.EPERM},
			{"setns", unix.Setns(-1, 0), unix.EPERM},
			{"mount", unix.Mount("none", dir, "tmpfs", 0, ""), unix.EPERM},
			{"keyctl", raw(unix.SYS_KEYCTL, 0), unix.EPERM},
			{"bpf", raw(unix.SYS_BPF, 0), unix.EPERM},
			{"io_uring_setup", raw(unix.SYS_IO_URING_SETUP, 1), unix.EPERM},
			{"userfaultfd", raw(unix.SYS_USERFAULTFD, 0), unix.EPERM},
			{"open_by_handle_at", raw(unix.SYS_OPEN_BY_HANDLE_AT, 0), unix.EPERM},
			{"clone(CLONE_NEWUSER)", raw(unix.SYS_CLONE, unix.CLONE_NEWUSER), unix.EPERM},
			{"clone3", raw(unix.SYS_CLONE3, 0), unix.ENOSYS},
			{"a call of the future", raw(2000, 0), unix.ENOSYS},
			{"sethostname", unix.Sethostname([]byte("x")), unix.EPERM},
			{"personality", raw(unix.SYS_PERSONALITY, 0x40000), unix.EPERM},
		} {
			if !errors.Is(c.got, c.want) {
				t.Errorf("%s: %v, want %v", c.name, c.got, c.want)
			}
		}
	})
}

func TestInstallWithoutRight(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to give up its rights")
	}
	filter, err := Default(0)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread has lost its capabilities
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&hdr, &none[0]); err != nil {
			done <- err
			return
		}
		done <- Install(filter, 0)
	}()
	if err := <-done; !errors.Is(err, unix.EACCES) {
		t.Errorf("without no_new_privs and without capabilities: %v", err)
	}
}

func BenchmarkInstall(b *testing.B) {
	f, err := Default(capability.Default())
	if err != nil {
		b.Fatal(err)
	}
	var spent time.Duration
	for b.Loop() {
		done := make(chan error)
		go func() {
			runtime.LockOSThread() // never unlocked: the thread ends with its filter
			begin := time.Now()
			err := Install(f, 0)
			spent += time.Since(begin)
			done <- err
		}()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(spent.Microseconds())/float64(b.N), "us/install")
}
