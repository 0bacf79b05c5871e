package solve

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"berth/internal/build/cache"
)

// The cache stays within its limit, however many builds fill it at once.
func TestLimitHolds(t *testing.T) {
	w := newWorld(t)
	const limit = 100 << 10
	body := strings.Repeat("x", 9<<10)
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			for j := range 5 {
				p := planOf(w.from("0", sh("write", fmt.Sprintf("/a%d-%d", i, j), body), sh("write", "/b", body+fmt.Sprint(i, j)), sh("true")))
				r, err := Solve(t.Context(), p, w.o)
				if err != nil {
					t.Error(err)
					return
				}
				w.wantFile(r, "b="+body+fmt.Sprint(i, j))
				if err := r.Finish(t.Context(), w.root, limit); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	items, err := cache.Open(w.root).Usage(t.Context())
	must(t, err)
	var sum int64
	for _, i := range items {
		sum += i.Size
	}
	if sum > limit || sum < limit/2 {
		t.Errorf("%d bytes are cached, the limit is %d", sum, limit)
	}
	if n := w.layersOnDisk(); n > 1+len(items) {
		t.Errorf("%d layers for %d items", n, len(items))
	}
	w.empty()
}
