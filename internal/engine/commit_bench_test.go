package engine

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"berth/internal/container"
)

// BenchmarkCommit shows how a commit of 200 MB compares with `tar -c` of them,
// right after they were written and when they have long been on the disk.
func BenchmarkCommit(b *testing.B) {
	e := testEngine(b)
	testImage{layers: "base", tags: "base"}.add(b, e)
	id := testContainer(b, e, "base", "web", container.Exited)
	upper := e.snapshots.Diff(id)
	random := rand.NewChaCha8([32]byte{})
	block := make([]byte, 50<<20)
	write := func() {
		for i := range 4 {
			random.Read(block)
			must(b, os.WriteFile(fmt.Sprint(upper, "/", i), block, 0o644))
		}
	}
	for _, dirty := range []bool{true, false} {
		suffix := map[bool]string{true: " just written", false: " on disk"}[dirty]
		prepare := func() {
			write()
			if !dirty {
				must(b, exec.Command("sync", "-f", upper).Run())
			}
		}
		b.Run("tar"+suffix, func(b *testing.B) {
			out := b.TempDir() + "/x.tar"
			for b.Loop() {
				b.StopTimer()
				os.Remove(out)
				prepare()
				b.StartTimer()
				must(b, exec.Command("tar", "-cf", out, "-C", upper, ".").Run())
			}
		})
		b.Run("commit"+suffix, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				prepare()
				b.StartTimer()
				_, err := e.Containers.Commit(b.Context(), "web", CommitRequest{})
				must(b, err)
				b.StopTimer()
				_, _, err = e.Images.Prune(b.Context(), false, nil)
				must(b, err)
				b.StartTimer()
			}
		})
	}
}
