package linefile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// put writes files of numbered lines, the oldest first, and returns the path of the newest.
func put(t *testing.T, files ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	for i, text := range files {
		if err := os.WriteFile(numbered(path, len(files)-1-i), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func lines(t *testing.T, path string, o Options) string {
	t.Helper()
	var got []string
	err := Read(context.Background(), path, o, func(line []byte) error {
		got = append(got, string(line))
		return nil
	})
	if err != nil {
		t.Errorf("Read: %v", err)
	}
	return strings.Join(got, " ")
}

func TestRead(t *testing.T) {
	path := put(t, "1\n2\n", "3\n4\n5\n", "6\n7\nhalf")
	for tail, want := range map[int]string{
		-1: "1 2 3 4 5 6 7", 0: "", 1: "7", 2: "6 7", 3: "5 6 7", 5: "3 4 5 6 7", 6: "2 3 4 5 6 7", 7: "1 2 3 4 5 6 7", 8: "1 2 3 4 5 6 7", 1000: "1 2 3 4 5 6 7",
	} {
		if got := lines(t, path, Options{Tail: tail}); got != want {
			t.Errorf("tail %d: %q, want %q", tail, got, want)
		}
	}
	if got := lines(t, filepath.Join(t.TempDir(), "none"), Options{Tail: -1}); got != "" {
		t.Errorf("no file: %q", got)
	}
	if got := lines(t, put(t, "", "half"), Options{Tail: 3}); got != "" {
		t.Errorf("half a line: %q", got)
	}
	old := time.Now().Add(-time.Hour)
	os.Chtimes(numbered(path, 2), old, old)
	if got := lines(t, path, Options{Tail: -1, Since: old.Add(time.Minute)}); got != "3 4 5 6 7" {
		t.Errorf("since: %q", got)
	}
	os.Rename(numbered(path, 1), numbered(path, 3)) // in the middle of a rotation
	if got := lines(t, path, Options{Tail: -1}); got != "3 4 5 1 2 6 7" {
		t.Errorf("a missing number: %q", got)
	}
}

func TestReadStops(t *testing.T) {
	path := put(t, "1\n2\n3\n")
	n := 0
	if err := Read(context.Background(), path, Options{Tail: -1}, func([]byte) error { n++; return ErrStop }); err != nil || n != 1 {
		t.Errorf("ErrStop: %d lines, %v", n, err)
	}
	mine := errors.New("mine")
	if err := Read(context.Background(), path, Options{Tail: -1}, func([]byte) error { return mine }); !errors.Is(err, mine) {
		t.Errorf("yield's error: %v", err)
	}
}

// TestLongLines: lines over buffer and block borders, and one without end.
func TestLongLines(t *testing.T) {
	long := strings.Repeat("x", 100<<10)
	path := put(t, "a\n"+long+"\nb\n"+strings.Repeat("y", maxLine+5)+"\nc\n")
	var got []int
	err := Read(context.Background(), path, Options{Tail: -1}, func(line []byte) error { got = append(got, len(line)); return nil })
	if err != nil || len(got) < 4 || got[0] != 1 || got[1] != len(long) || got[2] != 1 || got[len(got)-1] != 1 {
		t.Errorf("lengths %v, %v", got, err)
	}
	if got := lines(t, put(t, long+"\n"+long+"1\n"+long+"2\n"), Options{Tail: 2}); got != long+"1 "+long+"2" {
		t.Errorf("tail of long lines: %d bytes", len(got))
	}
}

// TestBack compares with the plain way at all sizes of block.
func TestBack(t *testing.T) {
	text := []byte("a\n\nbb\nccc\n\n\ndddd\nunfinished")
	r := bytes.NewReader(text)
	whole := bytes.Split(text[:bytes.LastIndexByte(text, '\n')], []byte("\n"))
	for block := 1; block < 40; block++ {
		for need := 1; need < 12; need++ {
			at, found, err := back(r, int64(len(text)), need, make([]byte, block))
			want := min(need, len(whole))
			rest := bytes.Count(text[at:], []byte("\n"))
			if err != nil || found != want || rest != want || at > 0 && text[at-1] != '\n' {
				t.Fatalf("block %d, need %d: at %d, found %d, %v", block, need, at, found, err)
			}
		}
		if at, _, _ := back(r, int64(len(text)), 0, make([]byte, block)); string(text[at:]) != "unfinished" {
			t.Fatalf("block %d: the last line ends at %d", block, at)
		}
	}
}

// rotate as a writer does: the name is never without a file.
func rotate(t *testing.T, path string, keep int) {
	t.Helper()
	for n := keep - 1; n > 1; n-- {
		os.Rename(numbered(path, n-1), numbered(path, n))
	}
	if keep > 1 {
		os.Remove(numbered(path, 1))
		if err := os.Link(path, numbered(path, 1)); err != nil {
			t.Error(err)
		}
	}
	if err := os.WriteFile(path+".new", nil, 0o600); err != nil {
		t.Error(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Error(err)
	}
}

// TestFollow writes through many rotations, and reads every line once.
func TestFollow(t *testing.T) {
	path := put(t, "0\n1\n")
	const total = 3000
	var ended atomic.Bool
	var seen atomic.Int64
	seen.Store(-1)
	go func() {
		defer ended.Store(true)
		for i := 2; i < total; i++ {
			if i%50 == 0 {
				for seen.Load() < int64(i-100) { // no faster than two files ahead: that would lose lines by design
					time.Sleep(100 * time.Microsecond)
				}
				rotate(t, path, 4)
			}
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Error(err)
				return
			}
			text := strconv.Itoa(i) + "\n"
			f.WriteString(text[:1])
			f.WriteString(text[1:])
			f.Close()
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := Read(ctx, path, Options{Tail: -1, Follow: true, Ended: ended.Load}, func(line []byte) error {
		n, err := strconv.ParseInt(string(line), 10, 64)
		if err != nil || n != seen.Load()+1 {
			return fmt.Errorf("line %q after %d", line, seen.Load())
		}
		seen.Store(n)
		return nil
	})
	if err != nil || seen.Load() != total-1 {
		t.Errorf("read up to %d: %v", seen.Load(), err)
	}
}

// TestFollowTooSlow: a reader whose file is gone goes on with the oldest.
func TestFollowTooSlow(t *testing.T) {
	path := put(t, "1\n")
	var got []string
	ended := false
	err := Read(context.Background(), path, Options{Tail: -1, Follow: true, Ended: func() bool { return ended }}, func(line []byte) error {
		if got = append(got, string(line)); len(got) == 1 {
			for i := range 5 {
				rotate(t, path, 3)
				os.WriteFile(path, []byte(fmt.Sprintf("%d\n", i+10)), 0o600)
			}
			ended = true
		}
		return nil
	})
	if s := strings.Join(got, " "); err != nil || s != "1 12 13 14" {
		t.Errorf("%q, %v", s, err)
	}
}

func TestFollowEmptied(t *testing.T) {
	path := put(t, "1\n2\n")
	var got []string
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := Read(ctx, path, Options{Tail: 1, Follow: true}, func(line []byte) error {
		if got = append(got, string(line)); string(line) == "2" {
			time.AfterFunc(50*time.Millisecond, func() {
				os.Truncate(path, 0)
				time.Sleep(100 * time.Millisecond)
				os.WriteFile(path, []byte("3\n"), 0o600)
			})
		} else {
			return ErrStop
		}
		return nil
	})
	if s := strings.Join(got, " "); err != nil || s != "2 3" {
		t.Errorf("%q, %v", s, err)
	}
}

func TestFollowCancelled(t *testing.T) {
	path := put(t, "1\n")
	reason := errors.New("reason")
	fastest := time.Hour
	for range 5 { // any may be slow on a busy machine; one that is not woken always is
		ctx, cancel := context.WithCancelCause(context.Background())
		time.AfterFunc(20*time.Millisecond, func() { cancel(reason) })
		begin := time.Now()
		if err := Read(ctx, path, Options{Follow: true}, func([]byte) error { return nil }); !errors.Is(err, reason) {
			t.Error(err)
		}
		fastest = min(fastest, time.Since(begin))
	}
	if fastest > 400*time.Millisecond {
		t.Errorf("ended after %v", fastest)
	}
}

// BenchmarkTail reads the last lines of a large file.
func BenchmarkTail(b *testing.B) {
	path := filepath.Join(b.TempDir(), "log")
	os.WriteFile(path, bytes.Repeat([]byte("a line of an ordinary length, with some words in it\n"), 200_000), 0o600)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		if err := Read(context.Background(), path, Options{Tail: 100}, func([]byte) error { n++; return nil }); err != nil || n != 100 {
			b.Fatal(n, err)
		}
	}
}
