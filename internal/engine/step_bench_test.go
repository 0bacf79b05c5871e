package engine

import (
	"os"
	"syscall"
	"testing"
)

// BenchmarkStep is a whole RUN: a draft, its mount, the program, the layer. The
// nursery's and the program's share is told apart, as they are processes of their own.
func BenchmarkStep(b *testing.B) {
	needRoot(b)
	bed := newStepBed(b)
	bed.run(bed.base, StepRequest{Args: []string{"true"}})
	cpu := func(who int) float64 {
		var u syscall.Rusage
		must(b, syscall.Getrusage(who, &u))
		return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e6
	}
	own, children := cpu(syscall.RUSAGE_SELF), cpu(syscall.RUSAGE_CHILDREN)
	for b.Loop() {
		_, _, d := bed.run(bed.base, StepRequest{Args: []string{"true"}, NetworkMode: os.Getenv("BERTH_BENCH_NETWORK")})
		bed.commit(d)
	}
	b.StopTimer()
	bed.e.nursery.end() // reaped, it counts among the children
	b.ReportMetric((cpu(syscall.RUSAGE_SELF)-own)/float64(b.N), "own-cpu-ms/op")
	b.ReportMetric((cpu(syscall.RUSAGE_CHILDREN)-children)/float64(b.N), "children-cpu-ms/op")
}
