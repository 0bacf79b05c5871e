package dockercompat

import (
	"math/rand/v2"
	"testing"
	"time"

	docker "github.com/docker/go-units"

	"berth/internal/units"
)

func TestSizes(t *testing.T) {
	for _, s := range []string{"0", "32", "32b", "32B", "32k", "32KiB", "32kib", "64kb", "512m", "1.5g", "10MB", "3t", "1p", "0.3 K", "32 mb", "1e3", "", "m", "-1", "32x", "32bb", "32kbib", "32 m b", "9e30"} {
		want, werr := docker.RAMInBytes(s)
		got, err := units.ParseBytes(s)
		if (err == nil) != (werr == nil) && s != "9e30" || err == nil && got != want {
			t.Errorf("%q: %d, %v; Docker %d, %v", s, got, err, want, werr)
		}
	}
	for range 20_000 {
		n := rand.Float64() * float64(uint64(1)<<rand.IntN(63))
		if got, want := units.FormatBytes1000(n), docker.HumanSizeWithPrecision(n, 3); got != want {
			t.Fatalf("%v: %s, Docker %s", n, got, want)
		}
		if got, want := units.HumanSize(n), docker.HumanSize(n); got != want {
			t.Fatalf("%v: %s, Docker %s", n, got, want)
		}
		if got, want := units.FormatBytes1024(n), docker.BytesSize(n); got != want {
			t.Fatalf("%v: %s, Docker %s", n, got, want)
		}
	}
}

func TestDurations(t *testing.T) {
	for range 50_000 {
		d := time.Duration(rand.Uint64N(1 << rand.UintN(60)))
		if got, want := units.HumanDuration(d), docker.HumanDuration(d); got != want {
			t.Fatalf("%v: %q, Docker %q", d, got, want)
		}
	}
}
