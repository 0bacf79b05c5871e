package idpool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/linux/userns"
)

// pool returns an empty pool on a host with the given /etc/subuid and /etc/subgid; "" is no file.
func pool(t *testing.T, subuid, subgid string) *Pool {
	t.Helper()
	p := Open(t.TempDir())
	p.etc = t.TempDir()
	for name, text := range map[string]string{"subuid": subuid, "subgid": subgid} {
		if text != "" {
			if err := os.WriteFile(filepath.Join(p.etc, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return p
}

func never(string) bool { return false }

func reserve(t *testing.T, p *Pool, want *userns.Range) (string, userns.Range) {
	t.Helper()
	id := ident.New()
	r, err := p.Reserve(id, want, false, never)
	if err != nil {
		t.Fatal(err)
	}
	return id, r
}

func TestReserve(t *testing.T) {
	p := pool(t, "", "")
	a, first := reserve(t, p, nil)
	_, second := reserve(t, p, nil)
	if want := (userns.Range{UID: 1879048192, GID: 1879048192, Count: 65536}); first != want {
		t.Errorf("first %v, want %v", first, want)
	}
	if want := (userns.Range{UID: 1879048192 + 65536, GID: 1879048192 + 65536, Count: 65536}); second != want {
		t.Errorf("second %v, want %v", second, want)
	}
	if _, err := p.Reserve(a, nil, true, never); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second range for one container: %v", err)
	}
	for range 2 { // the second time there is nothing to give back
		if err := p.Release(a); err != nil {
			t.Error(err)
		}
	}
	if _, third := reserve(t, p, nil); third != first {
		t.Errorf("what was given back is not given again: %v", third)
	}
	if list, err := p.List(); len(list) != 2 || err != nil {
		t.Errorf("list: %v %v", list, err)
	}
}

// A range that the user chose keeps the pool from giving any of it to others,
// and may be chosen twice.
func TestReserveChosen(t *testing.T) {
	p := pool(t, "", "")
	want := userns.Range{UID: 1879048192 + 70000, GID: 5, Count: 10}
	for range 2 {
		if _, got := reserve(t, p, &want); got != want {
			t.Errorf("got %v", got)
		}
	}
	_, first := reserve(t, p, nil)
	_, second := reserve(t, p, nil)
	if first.UID != 1879048192 || second.UID != 1879048192+2*65536 || second.GID != 1879048192+65536 {
		t.Errorf("around the chosen one: %v, %v", first, second)
	}
}

func TestSubIDs(t *testing.T) {
	p := pool(t, "alice:100000:65536\ncontainers:500000:131072\ncontainers:900000:65536\n", "# groups\ncontainers:7000:200000\n")
	want := []string{"500000:7000:65536", "565536:72536:65536", "900000:138072:65536"}
	for _, w := range want {
		if _, r := reserve(t, p, nil); r.String() != w {
			t.Errorf("got %v, want %s", r, w)
		}
	}
	_, err := p.Reserve(ident.New(), nil, false, never)
	if !errors.Is(err, errdefs.Exhausted) || errdefs.HintOf(err) == "" {
		t.Errorf("exhausted: %v", err)
	}
	ids, taken, err := p.Describe()
	if ids != "500000-631071, 900000-965535 (of containers in /etc/subuid)" || taken != 3 || err != nil {
		t.Errorf("describe: %q %d %v", ids, taken, err)
	}
}

// What useradd gave to somebody within the default ids is passed over.
func TestOthersIDsAreBarred(t *testing.T) {
	p := pool(t, "bob:1879048200:1\n", "carol:1879113728:65536\n")
	if _, r := reserve(t, p, nil); r.UID != 1879048192+2*65536 || r.GID != r.UID {
		t.Errorf("got %v", r)
	}
}

func TestBadFiles(t *testing.T) {
	for name, c := range map[string][2]string{
		"subuid only": {"containers:1:65536\n", "x:1:1\n"}, "subgid only": {"", "containers:1:65536\n"},
		"short": {"containers:1:65535\n", "containers:1:65536\n"}, "malformed": {"containers:1\n", ""},
		"root": {"containers:0:65536\n", "containers:1:65536\n"}, "beyond the end": {"containers:4294967295:65536\n", ""},
	} {
		p := pool(t, c[0], c[1])
		if r, err := p.Reserve(ident.New(), nil, false, never); !errors.Is(err, errdefs.InvalidArgument) || errdefs.HintOf(err) == "" {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
}

func TestStaleReservations(t *testing.T) {
	one := "containers:100000:65536\n"
	p := pool(t, one, one)
	dead, r := reserve(t, p, nil)
	if _, err := p.Reserve(ident.New(), nil, false, never); !errors.Is(err, errdefs.Exhausted) {
		t.Errorf("the range of a container that is there was given away: %v", err)
	}
	got, err := p.Reserve(ident.New(), nil, false, func(id string) bool { return id == dead })
	if err != nil || got != r {
		t.Errorf("the range of a container that is gone: %v, %v", got, err)
	}
}

func TestParallel(t *testing.T) {
	p := pool(t, "", "")
	const n = 40
	var wg sync.WaitGroup
	got := make([]userns.Range, n)
	for i := range n {
		wg.Go(func() {
			r, err := Open(filepath.Dir(p.dir)).Reserve(ident.New(), nil, false, never)
			if err != nil {
				t.Error(err)
			}
			got[i] = r
		})
	}
	wg.Wait()
	seen := map[userns.Range]bool{}
	for _, r := range got {
		if seen[r] {
			t.Errorf("%v was given twice", r)
		}
		seen[r] = true
	}
}

func FuzzParseEntries(f *testing.F) {
	for _, s := range []string{"containers:100000:65536\n", "a:b:c\n\n#x\n:1:1\n", "containers:4294967295:1", "::\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parseEntries(text, account)
		if err != nil {
			if list != nil || errdefs.HintOf(err) == "" {
				t.Errorf("%q: %v, %v", text, list, err)
			}
			return
		}
		var again strings.Builder
		var mine []stretch
		for _, e := range list {
			if e.IDs.First == 0 || e.IDs.Count == 0 || e.IDs.end() > 1<<32-1 {
				t.Errorf("%q: %v", text, e)
			}
			if e.Owner == account {
				mine = append(mine, e.IDs)
			}
			fmt.Fprintf(&again, "%s:%d:%d\n", e.Owner, e.IDs.First, e.IDs.Count)
		}
		if more, err := parseEntries(again.String(), account); err != nil || len(more) > len(list) {
			t.Errorf("%q written as %q: %v, %v", text, again.String(), more, err)
		}
		taken := map[string]userns.Range{}
		for i := range 5 {
			r, ok := available{users: mine, groups: mine}.free(taken)
			if !ok {
				break
			}
			for _, o := range taken {
				if uint64(r.UID) < uint64(o.UID)+uint64(o.Count) && uint64(o.UID) < uint64(r.UID)+uint64(r.Count) {
					t.Errorf("%q: %v overlaps %v", text, r, o)
				}
			}
			taken[fmt.Sprint(i)] = r
		}
	})
}

func BenchmarkReserve(b *testing.B) {
	p := Open(b.TempDir())
	p.etc = b.TempDir()
	for range 800 {
		if _, err := p.Reserve(ident.New(), nil, false, never); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		id := ident.New()
		if _, err := p.Reserve(id, nil, false, never); err != nil {
			b.Fatal(err)
		}
		if err := p.Release(id); err != nil {
			b.Fatal(err)
		}
	}
}
