package network

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"berth/internal/ident"
)

// Attach and Detach of one container after another. The end of each namespace
// is the kernel's own work in the background, and slows the next ones.
func BenchmarkAttach(b *testing.B) {
	if os.Getuid() != 0 {
		b.Skip("needs root")
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		b.Fatal(err)
	}
	s := Open(b.TempDir(), b.TempDir())
	b.ReportAllocs()
	var used int64 // processor time, which other work on the machine does not stretch
	for b.Loop() {
		id := ident.New()
		before := threadTime(b)
		a, err := s.Attach(b.Context(), Request{ContainerID: id})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		used += threadTime(b) - before
		a.NetNS.Close()
		if err := s.Detach(b.Context(), id); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(used)/1000/float64(b.N), "cpu-us/op")
}

// threadTime is the processor time that the calling thread has used, in nanoseconds.
func threadTime(b *testing.B) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
