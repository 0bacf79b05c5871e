package transfer

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/image/registry"
	"berth/internal/oci"
	"berth/internal/reference"
)

func pullFrom(ctx context.Context, s *Store, url string, o registry.Options) (Pulled, error) {
	ref, err := reference.Parse(addr(url) + "/team/app:1")
	if err != nil {
		return Pulled{}, err
	}
	src, err := registry.OpenSource(ref, o)
	if err != nil {
		return Pulled{}, err
	}
	return s.Pull(ctx, src, ref, PullOptions{})
}

// checkPulled looks at the image, and that nothing else is left.
func (u *unruly) checkPulled(t *testing.T, s *Store) {
	t.Helper()
	checkImage(t, s, addr(u.URL)+"/team/app:1", u.built)
	for _, dir := range []string{s.images.PartialDir(), s.images.TransferLockDir()} {
		if names, err := os.ReadDir(dir); err == nil && len(names) > 0 {
			t.Errorf("left in %s: %v", dir, names)
		}
	}
}

// TestRangesAtOnce checks that several ranges are under way at the same time,
// and that all together are the blob.
func TestRangesAtOnce(t *testing.T) {
	u, s := startUnruly(t), store(t)
	s = ranged(rootOf(s))
	var mu sync.Mutex
	busy, most := 0, 0
	u.spoil = func(_ int, _ http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		busy++
		most = max(most, busy)
		mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		mu.Lock()
		busy--
		mu.Unlock()
		return false
	}
	if err := u.pull(t, s, registry.Options{}); err != nil {
		t.Fatal(err)
	}
	u.checkPulled(t, s)
	if u.sent != u.big.Size || most < 2 || most > DefaultRanges {
		t.Errorf("sent %d of %d bytes, %d ranges at once", u.sent, u.big.Size, most)
	}
	slices.SortFunc(u.asked, func(a, b [2]int64) int { return int(a[0] - b[0]) })
	at := int64(0)
	for _, r := range u.asked {
		if r[0] != at || r[1]-r[0] > testRange {
			t.Errorf("asked for [%d, %d) after %d", r[0], r[1], at)
		}
		at = r[1]
	}
}

// TestCutConnections cuts all connections after a part of the blob. The same
// pull goes on, and no byte is sent twice.
func TestCutConnections(t *testing.T) {
	for _, percent := range []int64{1, 10, 50, 90, 99} {
		for name, divided := range map[string]bool{"one range": false, "ranges": true} {
			t.Run(fmt.Sprintf("%d%% %s", percent, name), func(t *testing.T) {
				u, s := startUnruly(t), store(t)
				if divided {
					s = ranged(rootOf(s))
				}
				u.limit(u.big.Size*percent/100, func(*http.Request) {
					u.limit(-1, nil)
					panic(http.ErrAbortHandler)
				})
				if err := u.pull(t, s, registry.Options{}); err != nil {
					t.Fatal(err)
				}
				u.checkPulled(t, s)
				if u.sent != u.big.Size {
					t.Errorf("sent %d bytes of %d", u.sent, u.big.Size)
				}
			})
		}
	}
}

// TestKilledAtPercent kills the pulling process when it has a part of the blob.
// The next pull asks for exactly the rest.
func TestKilledAtPercent(t *testing.T) {
	if at := os.Getenv("BERTH_TEST_PULL_FROM"); at != "" {
		if _, err := pullFrom(context.Background(), ranged(os.Getenv("BERTH_TEST_ROOT")), at, registry.Options{}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	for _, percent := range []int64{1, 10, 50, 90, 99} {
		t.Run(fmt.Sprint(percent, "%"), func(t *testing.T) {
			u, s := startUnruly(t), store(t)
			s = ranged(rootOf(s))
			part := u.big.Size * percent / 100
			u.limit(part, func(r *http.Request) {
				<-r.Context().Done()
				panic(http.ErrAbortHandler)
			})
			cmd := exec.Command(os.Args[0], "-test.run", "^TestKilledAtPercent$")
			cmd.Env = append(os.Environ(), "BERTH_TEST_PULL_FROM="+u.URL, "BERTH_TEST_ROOT="+rootOf(s))
			cmd.Stderr = os.Stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			have := u.await(t, s, part)
			cmd.Process.Kill() //nolint:errcheck // it waits for bytes that never come
			cmd.Wait()         //nolint:errcheck // as above

			u.forget()
			u.limit(-1, nil)
			if err := u.pull(t, s, registry.Options{}); err != nil {
				t.Fatal(err)
			}
			u.checkPulled(t, s)
			if u.sent != u.big.Size-part {
				t.Errorf("sent %d bytes, %d were missing", u.sent, u.big.Size-part)
			}
			for _, r := range u.asked {
				for i, n := range have {
					if start := int64(i) * testRange; r[0] < start+n && r[1] > start {
						t.Errorf("asked for [%d, %d), of range %d there were %d bytes", r[0], r[1], i, n)
					}
				}
			}
			collect(t, s)
			checkEmptyDrafts(t, s)
		})
	}
}

// await waits until a partial file has n bytes, and returns what each range has.
func (u *unruly) await(t *testing.T, s *Store, n int64) []int64 {
	t.Helper()
	path := filepath.Join(s.images.PartialDir(), u.big.Digest.Hex())
	got := int64(-1)
	for begin := time.Now(); time.Since(begin) < 30*time.Second; time.Sleep(10 * time.Millisecond) {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		r := divide(u.big.Size, s.rangesFrom, s.rangeSize)
		info, err := f.Stat()
		if err == nil && info.Size() > u.big.Size {
			err = r.load(f, info.Size())
		}
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got = r.got(); got == n {
			return r.have
		}
	}
	t.Fatalf("the partial file has %d bytes, not %d", got, n)
	return nil
}

func checkEmptyDrafts(t *testing.T, s *Store) {
	t.Helper()
	hidden, err := filepath.Glob(filepath.Join(s.layers.Dir(), ".*"))
	if err != nil {
		t.Error(err)
	}
	for _, path := range hidden {
		if !strings.HasSuffix(path, ".lock") {
			t.Errorf("left: %s", path)
		}
	}
}

// TestUnrulyAnswers pulls from registries that answer ranges in ways of their own.
func TestUnrulyAnswers(t *testing.T) {
	const size = testRange
	for _, c := range []struct {
		name  string
		spoil func(u *unruly) func(n int, w http.ResponseWriter, r *http.Request) bool
		// whole is set if the blob comes in one piece.
		whole   bool
		wantErr string
	}{
		{name: "200 instead of 206", whole: true, spoil: func(u *unruly) func(int, http.ResponseWriter, *http.Request) bool {
			return func(_ int, _ http.ResponseWriter, r *http.Request) bool { r.Header.Del("Range"); return false }
		}},
		{name: "another Content-Range", whole: true, spoil: func(u *unruly) func(int, http.ResponseWriter, *http.Request) bool {
			return func(_ int, w http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Range") == "" {
					return false
				}
				w.Header().Set("Content-Range", fmt.Sprintf("bytes 1-%d/%d", size, u.big.Size))
				w.WriteHeader(http.StatusPartialContent)
				io.WriteString(w, strings.Repeat("x", size))
				return true
			}
		}},
		{name: "a Content-Range of another blob", whole: true, spoil: func(u *unruly) func(int, http.ResponseWriter, *http.Request) bool {
			return func(_ int, w http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Range") == "" {
					return false
				}
				w.Header().Set("Content-Range", strings.TrimPrefix(r.Header.Get("Range"), "bytes=")+"/17")
				w.WriteHeader(http.StatusPartialContent)
				io.WriteString(w, strings.Repeat("x", size))
				return true
			}
		}},
		{name: "416", whole: true, spoil: func(u *unruly) func(int, http.ResponseWriter, *http.Request) bool {
			return func(_ int, w http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Range") == "" {
					return false
				}
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return true
			}
		}},
		{name: "one connection at a time", spoil: func(u *unruly) func(int, http.ResponseWriter, *http.Request) bool {
			busy := make(chan struct{}, 1)
			return func(_ int, w http.ResponseWriter, r *http.Request) bool {
				select {
				case busy <- struct{}{}:
					go func() { <-r.Context().Done(); <-busy }()
					time.Sleep(30 * time.Millisecond)
					return false
				default:
					w.WriteHeader(http.StatusTooManyRequests)
					return true
				}
			}
		}},
		{name: "wrong bytes", spoil: func(u *unruly) func(int, http.ResponseWriter, *http.Request) bool {
			return func(_ int, w http.ResponseWriter, r *http.Request) bool {
				var from, to int64
				fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to)
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, u.big.Size))
				w.WriteHeader(http.StatusPartialContent)
				io.CopyN(w, zeros{}, to-from+1)
				return true
			}
		}, wantErr: "-"},
		{name: "endless", spoil: func(u *unruly) func(int, http.ResponseWriter, *http.Request) bool {
			return func(_ int, w http.ResponseWriter, r *http.Request) bool {
				for r.Context().Err() == nil {
					if _, err := w.Write(make([]byte, 64<<10)); err != nil {
						return true
					}
				}
				return true
			}
		}, wantErr: "longer than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			u, s := startUnruly(t), store(t)
			s = ranged(rootOf(s))
			u.spoil = c.spoil(u)
			err := u.pull(t, s, registry.Options{Stall: quick})
			if c.wantErr != "" {
				if err == nil || c.wantErr != "-" && !strings.Contains(err.Error(), c.wantErr) {
					t.Fatal(err)
				}
				checkEmpty(t, s)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			u.checkPulled(t, s)
			if u.sent != u.big.Size {
				t.Errorf("sent %d bytes of %d", u.sent, u.big.Size)
			}
			if pieces := len(u.asked); c.whole != (pieces <= 2) {
				t.Errorf("%d requests", pieces)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestPullsTogetherAreOne starts many processes with the same pull.
func TestPullsTogetherAreOne(t *testing.T) {
	if at := os.Getenv("BERTH_TEST_TOGETHER"); at != "" {
		pullTogether(at)
		return
	}
	const many = 32
	u, s := startUnruly(t), store(t)
	s = ranged(rootOf(s))
	gate := make(chan struct{})
	u.spoil = func(int, http.ResponseWriter, *http.Request) bool { <-gate; return false }
	open := sync.OnceFunc(func() { close(gate) })
	defer open()
	waiting := make(chan struct{}, many)
	var wg sync.WaitGroup
	for range many {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestPullsTogetherAreOne$")
		cmd.Env = append(os.Environ(), "BERTH_TEST_TOGETHER="+u.URL, "BERTH_TEST_ROOT="+rootOf(s), "GOMAXPROCS=1")
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			lines := bufio.NewScanner(out)
			for lines.Scan() {
				if lines.Text() == string(WaitingFor)+" image" {
					waiting <- struct{}{}
				}
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
	for n := range many - 1 {
		select {
		case <-waiting:
		case <-time.After(60 * time.Second):
			t.Fatalf("%d of %d say that they wait", n, many-1)
		}
	}
	open()
	wg.Wait()
	u.checkPulled(t, s)
	if u.sent != u.big.Size {
		t.Errorf("sent %d bytes of %d", u.sent, u.big.Size)
	}
	for _, d := range append(u.built.Manifest.Layers, u.built.Manifest.Config) {
		if n := u.requests["GET /v2/team/app/blobs/"+string(d.Digest)]; n != 1 && d.Digest != u.big.Digest {
			t.Errorf("blob %s was asked for %d times", d.Digest, n)
		}
	}
	if n := u.requests["GET /v2/team/app/manifests/"+string(oci.DigestOf(u.built.ManifestDoc))]; n != 1 {
		t.Errorf("the manifest was fetched %d times", n)
	}
}

// pullTogether is one of the many.
func pullTogether(url string) {
	ref, err := reference.Parse(addr(url) + "/team/app:1")
	if err == nil {
		var src *registry.Source
		if src, err = registry.OpenSource(ref, registry.Options{}); err == nil {
			_, err = ranged(os.Getenv("BERTH_TEST_ROOT")).Pull(context.Background(), src, ref, PullOptions{Report: func(e Event) {
				if e.Status == WaitingFor {
					fmt.Println(string(e.Status), e.Detail)
				}
			}})
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// TestMirrorLies takes from the registry what a mirror has wrong: a layer or
// the config. That the mirror says what a tag is, is its right.
func TestMirrorLies(t *testing.T) {
	for _, what := range []string{"layer", "config"} {
		t.Run(what, func(t *testing.T) {
			u, mirror, s := startUnruly(t), startUnruly(t), store(t)
			s = ranged(rootOf(s))
			wrong := u.big
			if what == "config" {
				wrong = u.built.Manifest.Config
			}
			honest := mirror.Config.Handler
			mirror.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, string(wrong.Digest)) {
					http.ServeContent(w, r, "", time.Time{}, strings.NewReader(strings.Repeat("x", int(wrong.Size))))
					return
				}
				honest.ServeHTTP(w, r)
			})
			if err := u.pull(t, s, registry.Options{Hosts: mirrorsOf(addr(u.URL), mirror.URL)}); err != nil {
				t.Fatal(err)
			}
			u.checkPulled(t, s)
			if n := u.requests["GET /v2/team/app/blobs/"+string(wrong.Digest)]; n == 0 {
				t.Error("the registry was not asked")
			}
			for _, d := range u.built.Manifest.Layers {
				if n := u.requests["GET /v2/team/app/blobs/"+string(d.Digest)]; n > 0 && d.Digest != wrong.Digest {
					t.Errorf("the registry was asked for %s, which the mirror had", d.Digest)
				}
			}
		})
	}
}

// TestDamagedRanges finds zeros in the ranges of an earlier pull, as a power cut
// leaves them. The unpacker stumbles over them long before the digest is known.
func TestDamagedRanges(t *testing.T) {
	u, s := startUnruly(t), store(t)
	s = ranged(rootOf(s))
	if err := os.MkdirAll(s.images.PartialDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(s.images.PartialDir(), u.big.Digest.Hex()))
	if err != nil {
		t.Fatal(err)
	}
	r := divide(u.big.Size, s.rangesFrom, s.rangeSize)
	r.add(0, 2*testRange)
	if err := r.create(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := u.pull(t, s, registry.Options{}); err != nil {
		t.Fatal(err)
	}
	u.checkPulled(t, s)
}
