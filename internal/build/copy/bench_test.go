package copy

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/build/plan"
	"berth/internal/build/source"
)

const (
	benchDirs  = 500
	benchFiles = 100 // in each
)

// benchTree makes 50,000 small files, old enough to be remembered.
func benchTree(b *testing.B) string {
	b.Helper()
	dir := b.TempDir()
	for d := range benchDirs {
		sub := filepath.Join(dir, fmt.Sprintf("pkg%03d", d))
		must(b, os.Mkdir(sub, 0o755))
		for f := range benchFiles {
			must(b, os.WriteFile(filepath.Join(sub, fmt.Sprintf("source_file_%03d.go", f)), []byte(fmt.Sprintf("package p%d // %d\n%1000d", d, f, f)), 0o644))
		}
	}
	return dir
}

// cpu is the processor time that this process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	must(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

var all = plan.Copy{Paths: []string{"/"}, Dest: "/"}

// BenchmarkDigest measures the digest of an unchanged context of 50,000 files:
// read in full, and remembered from the build before.
func BenchmarkDigest(b *testing.B) {
	dir, memory := benchTree(b), b.TempDir()
	time.Sleep(2100 * time.Millisecond) // what is younger is not remembered
	digest := func(b *testing.B, m *source.Memory) {
		tree := contextOf(b, dir)
		tree.Memory = m
		_, err := Digest(context.Background(), Sources{Main: tree}, &all, nil)
		must(b, err)
		if m != nil {
			must(b, m.Save())
		}
	}
	measure := func(b *testing.B, do func()) {
		b.ReportAllocs()
		start := cpu(b)
		for b.Loop() {
			do()
		}
		b.ReportMetric(float64((cpu(b)-start).Milliseconds())/float64(b.N), "cpu-ms/op")
	}
	b.Run("read", func(b *testing.B) { measure(b, func() { digest(b, nil) }) })
	b.Run("remembered", func(b *testing.B) {
		digest(b, source.NewMemory(memory, dir))
		measure(b, func() { digest(b, source.NewMemory(memory, dir)) })
	})
}

// BenchmarkInto copies 50,000 small files, beside what cp -a takes for them.
func BenchmarkInto(b *testing.B) {
	dir := benchTree(b)
	fresh := func(b *testing.B, do func(into string)) {
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			into, err := os.MkdirTemp(b.TempDir(), "")
			must(b, err)
			b.StartTimer()
			do(into)
			b.StopTimer()
			must(b, os.RemoveAll(into))
			b.StartTimer()
		}
	}
	b.Run("berth", func(b *testing.B) {
		tree := contextOf(b, dir)
		fresh(b, func(into string) {
			must(b, Into(context.Background(), Sources{Main: tree}, &all, open(b, into), Options{}))
		})
	})
	b.Run("cp", func(b *testing.B) {
		fresh(b, func(into string) { must(b, exec.Command("cp", "-a", dir+"/.", into).Run()) })
	})
}
