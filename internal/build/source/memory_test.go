package source

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sum returns the sum of a file of the host by way of a memory.
func sum(t testing.TB, m *Memory, path string) Sum {
	t.Helper()
	tree := open(t, filepath.Dir(path))
	tree.Memory = m
	dir, err := unix.Open(filepath.Dir(path), unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(dir)
	var st unix.Stat_t
	must(t, tree.Stat(dir, filepath.Base(path), &st))
	s, err := tree.Sum(dir, filepath.Base(path), &st)
	must(t, err)
	return s
}

// TestMemory: what is remembered is not read again, and what changed is.
func TestMemory(t *testing.T) {
	dir, folder := t.TempDir(), t.TempDir()
	file := filepath.Join(dir, "f")
	write(t, file, "one")
	young := NewMemory(folder, dir)
	want := sum(t, young, file)
	must(t, young.Save())
	if names, _ := os.ReadDir(folder); len(names) != 0 {
		t.Error("a file that was just written is remembered: it may change without another time")
	}
	time.Sleep(settleTime + 100*time.Millisecond)
	m := NewMemory(folder, dir)
	if got := sum(t, m, file); got != want {
		t.Error("the sum changed")
	}
	must(t, m.Save())
	// A memory that is wrong shows that it is asked.
	again := NewMemory(folder, dir)
	if sum(t, again, file) != want || len(again.fresh) != 0 {
		t.Error("the file was read again")
	}
	b, err := os.ReadFile(again.path)
	must(t, err)
	b[len(magic)+len(key{})] ^= 1
	all := decodeRecords(b)
	if all != nil {
		t.Fatal("a flipped bit is not noticed")
	}
	b = encodeRecords([]record{{records(b[len(magic):]).key(0), Sum{1, 2, 3}}})
	must(t, os.WriteFile(again.path, b, 0o600))
	if got := sum(t, NewMemory(folder, dir), file); got != (Sum{1, 2, 3}) {
		t.Error("the memory is not asked")
	}
	// Same size and mtime, other content: ctime tells.
	var st unix.Stat_t
	must(t, unix.Stat(file, &st))
	must(t, os.WriteFile(file, []byte("two"), 0o644))
	must(t, unix.UtimesNanoAt(unix.AT_FDCWD, file, []unix.Timespec{st.Atim, st.Mtim}, 0))
	if got := sum(t, NewMemory(folder, dir), file); got == want || got == (Sum{1, 2, 3}) {
		t.Error("a change that hides its time is not noticed")
	}
	// So does another attribute.
	write(t, file, "one")
	must(t, unix.Setxattr(file, "security.capability", []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0))
	if got := sum(t, NewMemory(folder, dir), file); got == want {
		t.Error("an attribute is no part of the sum")
	}
}

func TestDamagedMemory(t *testing.T) {
	folder := t.TempDir()
	m := NewMemory(folder, "x")
	for i := range 100 {
		m.put(key{byte(i)}, Sum{byte(i)})
	}
	must(t, m.Save())
	whole, err := os.ReadFile(m.path)
	must(t, err)
	check := func(b []byte) {
		t.Helper()
		must(t, os.WriteFile(m.path, b, 0o600))
		if _, ok := NewMemory(folder, "x").get(key{7}); ok {
			t.Error("a damaged file counts")
		}
	}
	if s, ok := NewMemory(folder, "x").get(key{7}); !ok || s != (Sum{7}) {
		t.Fatal("nothing is remembered")
	}
	for _, n := range []int{0, 1, 8, 11, 12, len(whole) - 1} {
		check(whole[:n])
	}
	for i := 0; i < len(whole); i += 37 {
		b := bytes.Clone(whole)
		b[i] ^= 0x10
		check(b)
	}
	check(append(bytes.Clone(whole), 0))
	must(t, os.Remove(m.path))
	must(t, unix.Mkfifo(m.path, 0o600))
	if _, ok := NewMemory(folder, "x").get(key{7}); ok {
		t.Error("a FIFO counts")
	}
	must(t, os.Remove(m.path))
	must(t, os.Symlink("/dev/zero", m.path))
	if _, ok := NewMemory(folder, "x").get(key{7}); ok {
		t.Error("a link counts")
	}
}

// TestParallelMemories: builds of one context at the same time lose nothing of each other that was saved before.
func TestParallelMemories(t *testing.T) {
	folder := t.TempDir()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for round := range 20 {
				m := NewMemory(folder, "x")
				m.get(key{})
				m.put(key{byte(w), byte(round)}, Sum{byte(w)})
				if err := m.Save(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	m := NewMemory(folder, "x")
	for w := range 8 {
		if s, ok := m.get(key{byte(w), 19}); ok && s != (Sum{byte(w)}) {
			t.Error("a wrong sum")
		}
	}
	if n := m.old.len(); n < 20 {
		t.Errorf("%d sums are left of 160", n)
	}
	if names, _ := os.ReadDir(folder); len(names) != 1 {
		t.Errorf("left: %v", names)
	}
}

// TestMemoryIsBounded: what is not used any more goes.
func TestMemoryIsBounded(t *testing.T) {
	folder := t.TempDir()
	var before int
	for round := range 8 {
		m := NewMemory(folder, "x")
		m.get(key{})
		for i := range minSpare {
			var k key
			binary.BigEndian.PutUint32(k[:], rand.Uint32()) //nolint:gosec // no secret
			k[8], k[9], k[10] = byte(round), byte(i), byte(i>>8)
			m.put(k, Sum{})
		}
		must(t, m.Save())
		before = readRecords(m.path).len()
	}
	if before > 2*minSpare {
		t.Errorf("%d records are kept", before)
	}
}

// FuzzRecords: no file makes a look-up fail or find what is not there.
func FuzzRecords(f *testing.F) {
	f.Add([]byte{}, []byte{1})
	f.Add(encodeRecords([]record{{key{1}, Sum{1}}, {key{200}, Sum{2}}}), []byte{1})
	f.Add([]byte(magic+"0000"), []byte{})
	f.Fuzz(func(t *testing.T, file, wanted []byte) {
		var k key
		copy(k[:], wanted)
		if r := decodeRecords(file); r != nil {
			if i, ok := r.find(k); ok && r.key(i) != k {
				t.Error("another key was found")
			}
		}
		// The bytes as records, whatever they hold: unsorted, too.
		r := records(file[:len(file)/recordSize*recordSize])
		if i, ok := r.find(k); ok && r.key(i) != k {
			t.Error("another key was found")
		}
		var all []record
		for i := range r.len() {
			all = append(all, record{r.key(i), r.sum(i)})
		}
		back := decodeRecords(encodeRecords(slices.Clone(all)))
		for _, one := range all {
			if _, ok := back.find(one.key); !ok {
				t.Errorf("%x is lost", one.key)
			}
		}
	})
}

func BenchmarkFind(b *testing.B) {
	for _, n := range []int{1000, 50_000, 500_000} {
		all := make([]record, n)
		for i := range all {
			all[i].key = keyOf(&unix.Stat_t{Ino: uint64(i)})
		}
		r := decodeRecords(encodeRecords(all))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, ok := r.find(all[i%n].key); !ok {
					b.Fatal("lost")
				}
				i++
			}
		})
	}
}
