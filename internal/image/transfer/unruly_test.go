package transfer

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/image/imagetest"
	"berth/internal/image/registry"
	"berth/internal/image/registry/hosts"
	"berth/internal/oci"
)

// unruly is a registry that misbehaves with one blob and keeps accounts of it.
type unruly struct {
	*httptest.Server
	built *imagetest.Built
	big   oci.Descriptor // the blob

	mu       sync.Mutex
	sent     int64      // of the blob, in all
	asked    [][2]int64 // ranges [from, to) that were asked for
	requests map[string]int
	// spoil may answer a request for the blob itself: it then returns true. n
	// counts those requests from 1 on.
	spoil func(n int, w http.ResponseWriter, r *http.Request) bool
	// budget is how many bytes of the blob are sent before end is called; less
	// than 0: no limit.
	budget int64
	end    func(r *http.Request)
}

// large is an image with one layer of about size bytes that cannot be packed smaller.
func large(size int) *imagetest.Built {
	random := make([]byte, size)
	x := rand.New(rand.NewPCG(1, 2))
	for i := range random {
		random[i] = byte(x.Uint32())
	}
	img := three()
	img.Layers[2] = imagetest.Layer{{Name: "random", Body: string(random)}}
	return img.Build()
}

const largeSize, testRange = 3 << 20, 256 << 10

func startUnruly(t *testing.T) *unruly {
	t.Helper()
	b := large(largeSize)
	u := &unruly{built: b, big: b.Manifest.Layers[2], budget: -1, requests: map[string]int{}}
	inner := imagetest.NewRegistry()
	inner.Push("1", b)
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		u.requests[r.Method+" "+r.URL.Path]++
		n := u.requests["GET "+r.URL.Path]
		u.mu.Unlock()
		if !strings.HasSuffix(r.URL.Path, string(u.big.Digest)) {
			inner.ServeHTTP(w, r)
			return
		}
		from, to := int64(0), u.big.Size
		if ask := r.Header.Get("Range"); ask != "" {
			if _, err := fmt.Sscanf(ask, "bytes=%d-%d", &from, &to); err != nil {
				t.Errorf("asked for %q", ask)
			}
			to++
		}
		u.mu.Lock()
		u.asked = append(u.asked, [2]int64{from, to})
		spoil := u.spoil
		u.mu.Unlock()
		if spoil == nil || !spoil(n, w, r) {
			inner.ServeHTTP(&metered{ResponseWriter: w, u: u, r: r}, r)
		}
	}))
	t.Cleanup(u.Close)
	return u
}

// limit sets how much of the blob is sent from now on, and what happens then.
func (u *unruly) limit(n int64, end func(*http.Request)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.budget, u.end = n, end
}

// forget begins the accounts anew.
func (u *unruly) forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.sent, u.asked, u.requests = 0, nil, map[string]int{}
}

// metered counts what is sent of the blob, and stops at the budget.
type metered struct {
	http.ResponseWriter
	u *unruly
	r *http.Request
}

func (m *metered) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		piece := int64(min(len(p), 4096))
		m.u.mu.Lock()
		if m.u.budget >= 0 {
			piece = min(piece, m.u.budget)
			m.u.budget -= piece
		}
		m.u.sent += piece
		end := m.u.end
		m.u.mu.Unlock()
		if piece == 0 {
			end(m.r)
			continue
		}
		k, err := m.ResponseWriter.Write(p[:piece])
		m.ResponseWriter.(http.Flusher).Flush()
		n, p = n+k, p[piece:]
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// ranged is a Store that divides blobs of this size.
func ranged(root string) *Store {
	s := New(root, 0)
	s.rangesFrom, s.rangeSize = 1<<20, testRange
	return s
}

func rootOf(s *Store) string { return filepath.Dir(filepath.Dir(s.images.Dir())) }

func (u *unruly) pull(t *testing.T, s *Store, o registry.Options) error {
	t.Helper()
	_, err := pullFrom(t.Context(), s, u.URL, o)
	return err
}

// mirrorsOf is the setting that puts hosts before another.
func mirrorsOf(of string, urls ...string) hosts.Config {
	return hosts.Config{Mirrors: of + " = " + strings.Join(urls, " "), Source: "test"}
}

func addr(url string) string { return strings.TrimPrefix(url, "http://") }

const quick = 300 * time.Millisecond
