package logs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
)

var all = Selection{Tail: -1, Stdout: true, Stderr: true} //nolint:gochecknoglobals // a constant

var at = time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC) //nolint:gochecknoglobals // a constant

func open(t testing.TB, path string, o Options) *Writer {
	t.Helper()
	w, err := OpenWriter(path, o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// read returns the selected output of one stream and the other.
func read(t testing.TB, path string, s Selection) (stdout, stderr string) {
	t.Helper()
	var b [2]strings.Builder
	err := Read(context.Background(), path, s, func(l Line) error {
		i := 0
		if l.Stderr {
			i = 1
		}
		b[i].Write(l.Data)
		return nil
	})
	if err != nil {
		t.Errorf("Read: %v", err)
	}
	return b[0].String(), b[1].String()
}

func TestFormat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	w := open(t, path, Options{})
	for _, step := range []struct {
		stream byte
		text   string
	}{{Stdout, "hello\nwor"}, {Stderr, "<err>\n"}, {Stdout, "ld\n\n"}, {Stdout, "a\xffb"}, {Stderr, "prompt: "}} {
		if err := w.Write(step.stream, []byte(step.text), at); err != nil {
			t.Error(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	got, _ := os.ReadFile(path)
	want := `{"log":"hello\n","stream":"stdout","time":"2026-01-02T03:04:05.678901234Z"}
{"log":"\u003cerr\u003e\n","stream":"stderr","time":"2026-01-02T03:04:05.678901234Z"}
{"log":"world\n","stream":"stdout","time":"2026-01-02T03:04:05.678901234Z"}
{"log":"\n","stream":"stdout","time":"2026-01-02T03:04:05.678901234Z"}
{"log":"a\ufffdb","stream":"stdout","time":`
	if !strings.HasPrefix(string(got), want) || !strings.Contains(string(got), "\n{\"log\":\"prompt: \",\"stream\":\"stderr\"") {
		t.Errorf("the log is\n%s", got)
	}
	if err := w.Write(Stdout, []byte("late\n"), at); err != nil {
		t.Errorf("a write after Close: %v", err)
	}
}

func TestNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	w := open(t, path, Options{Driver: None})
	if err := errors.Join(w.Write(Stdout, []byte("x\n"), at), w.Close()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("driver none made a file")
	}
}

func TestParseOptions(t *testing.T) {
	o, err := ParseOptions("", map[string]string{"max-size": "10k", "max-file": "5"})
	if err != nil || o != (Options{JSONFile, 10 << 10, 5}) {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err := ParseOptions("json-file", map[string]string{"max-size": "-1"}); err != nil || o.MaxSize != -1 {
		t.Errorf("%+v, %v", o, err)
	}
	for driver, opts := range map[string]map[string]string{
		"syslog": nil, "none": {"max-size": "1m"}, "json-file": {"max-file": "0"}, "": {"max-size": "big"},
	} {
		if _, err := ParseOptions(driver, opts); !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("%s %v: %v", driver, opts, err)
		}
	}
	for _, opts := range []map[string]string{{"max-size": "0"}, {"max-file": "x"}, {"colour": "red"}} {
		if _, err := ParseOptions(JSONFile, opts); !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("%v: %v", opts, err)
		}
	}
}

// TestLongLines: parts of 16 KiB that a reader joins to the same text.
func TestLongLines(t *testing.T) {
	for name, text := range map[string]string{
		"exact":     strings.Repeat("x", partSize) + "\n",
		"one less":  strings.Repeat("x", partSize-1) + "\n",
		"long":      strings.Repeat("0123456789", 10_000) + "\nnext\n",
		"wide":      strings.Repeat("é😀€", 10_000) + "\n",
		"escapes":   strings.Repeat("\x01\"<", 20_000) + "\n",
		"unended":   strings.Repeat("y", 50_000),
		"many":      strings.Repeat("y\n", 50_000),
		"no chance": strings.Repeat("\x00", 3*partSize),
	} {
		for _, chunk := range []int{1, 1000, 4096, partSize, 1 << 20} {
			if chunk == 1 && len(text) > 60_000 {
				continue // slow, and nothing new
			}
			path := filepath.Join(t.TempDir(), "log")
			w := open(t, path, Options{MaxSize: -1})
			for rest := []byte(text); len(rest) > 0; rest = rest[min(chunk, len(rest)):] {
				if err := w.Write(Stderr, rest[:min(chunk, len(rest))], at); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if _, got := read(t, path, all); got != text {
				t.Errorf("%s in chunks of %d: %d bytes became %d", name, chunk, len(text), len(got))
			}
			raw, _ := os.ReadFile(path)
			for line := range bytes.Lines(raw) {
				if len(line) > outSize || !json.Valid(line) {
					t.Errorf("%s: a record of %d bytes", name, len(line))
				}
			}
		}
	}
}

func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	w := open(t, path, Options{MaxSize: 2000, Files: 3})
	for i := range 500 {
		if err := w.Write(Stdout, fmt.Appendf(nil, "line %d\nmore of %d\n", i, i), at); err != nil {
			t.Fatal(err)
		}
		if i == 250 { // a new monitor goes on
			w.Close()
			w = open(t, path, Options{MaxSize: 2000, Files: 3})
		}
	}
	w.Close()
	files, _ := filepath.Glob(path + "*")
	if len(files) != 3 {
		t.Errorf("files %v", files)
	}
	for _, f := range files {
		if fi, err := os.Stat(f); err != nil || fi.Size() > 2000 || fi.Size() < 1700 && f != path {
			t.Errorf("%s has %d bytes", f, fi.Size())
		}
	}
	got, _ := read(t, path, all)
	want := ""
	for i := range 500 {
		want += fmt.Sprintf("line %d\nmore of %d\n", i, i)
	}
	if !strings.HasSuffix(want, got) || len(got) < 500 {
		t.Errorf("the log holds %d bytes:\n%s", len(got), got)
	}
	if got, _ := read(t, path, Selection{Tail: 3, Stdout: true}); got != "more of 498\nline 499\nmore of 499\n" {
		t.Errorf("tail: %q", got)
	}
	w = open(t, path, Options{MaxSize: 2000, Files: 1})
	for range 100 {
		w.Write(Stdout, []byte("single\n"), at)
	}
	w.Close()
	if files, _ := filepath.Glob(path + "*"); len(files) != 1 {
		t.Errorf("max-file 1 leaves %v", files)
	}
}

// TestFlood: a small cap holds even if one chunk is larger.
func TestFlood(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	w := open(t, path, Options{MaxSize: 1000, Files: 2})
	if err := w.Write(Stdout, bytes.Repeat([]byte("y\n"), 8<<10), at); err != nil {
		t.Fatal(err)
	}
	w.Close()
	for _, f := range []string{path, path + ".1"} {
		if fi, err := os.Stat(f); err != nil || fi.Size() > 1000 {
			t.Errorf("%s: %v, %v", f, fi, err)
		}
	}
}

func TestSelection(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	w := open(t, path, Options{})
	for i := range 10 {
		w.Write(Stdout+byte(i%2), fmt.Appendf(nil, "%d\n", i), at.Add(time.Duration(i)*time.Second))
	}
	w.Close()
	for name, c := range map[string]struct {
		s        Selection
		out, err string
	}{
		"all":    {all, "0\n2\n4\n6\n8\n", "1\n3\n5\n7\n9\n"},
		"stdout": {Selection{Tail: -1, Stdout: true}, "0\n2\n4\n6\n8\n", ""},
		"stderr": {Selection{Tail: 3, Stderr: true}, "", "7\n9\n"},
		"since":  {Selection{Tail: -1, Stdout: true, Stderr: true, Since: at.Add(7 * time.Second)}, "8\n", "7\n9\n"},
		"until":  {Selection{Tail: -1, Stdout: true, Stderr: true, Until: at.Add(2 * time.Second)}, "0\n2\n", "1\n"},
		"none":   {Selection{Tail: 0, Stdout: true}, "", ""},
	} {
		if out, err := read(t, path, c.s); out != c.out || err != c.err {
			t.Errorf("%s: %q, %q", name, out, err)
		}
	}
}

// TestDamage: what a power cut, a killed monitor or a hand leaves in a log.
func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	good := `{"log":"good\n","stream":"stdout","time":"2026-01-02T03:04:05Z"}` + "\n"
	os.WriteFile(path, []byte(good+"{\"log\":\"tor\n\x00\x00\x00"+good+"[]\n{}\n\n"+
		`{"time":"2026-01-02T03:04:05Z","attrs":{"a":[1]},"log":"other order"}`+"\n"+`{"log":"unfin`), 0o600)
	if got, _ := read(t, path, all); got != "good\ngood\nother order" {
		t.Errorf("read %q", got)
	}
	w := open(t, path, Options{})
	w.Write(Stdout, []byte("after\n"), at)
	w.Close()
	if got, _ := read(t, path, all); got != "good\ngood\nother orderafter\n" {
		t.Errorf("after a restart: %q", got)
	}
}

// TestFullDisk: a log on a full disk loses lines, counts them, keeps its file
// whole and goes on when there is room.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	root := t.TempDir()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread's namespace is not the process's
		if err := errors.Join(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("tmpfs", root, "tmpfs", 0, "size=256k")); err != nil {
			t.Errorf("mount: %v", err)
			return
		}
		defer unix.Unmount(root, unix.MNT_DETACH)
		floodFullDisk(t, root)
	}()
	<-done
}

func floodFullDisk(t *testing.T, root string) {
	path := filepath.Join(root, "log")
	w, err := OpenWriter(path, Options{MaxSize: 64 << 10, Files: 2})
	if err != nil {
		t.Error(err)
		return
	}
	ballast, err := os.Create(filepath.Join(root, "ballast"))
	if err != nil {
		t.Error(err)
		return
	}
	defer ballast.Close()
	w.Write(Stdout, []byte("first\n"), at)
	io.Copy(ballast, neverEnding('x'))
	chunk := bytes.Repeat([]byte("a line for a full disk\n"), 500)
	failed := false
	for range 10 {
		if err := w.Write(Stdout, chunk, at); err != nil {
			failed = errors.Is(err, unix.ENOSPC)
		}
	}
	if !failed || w.Lost() == 0 {
		t.Errorf("no error, %d lost", w.Lost())
	}
	kept, _ := read(t, path, all)
	if strings.Count(kept, "\n")+int(w.Lost()) != 5001 {
		t.Errorf("%d lines kept, %d lost", strings.Count(kept, "\n"), w.Lost())
	}
	raw, _ := os.ReadFile(path)
	for line := range bytes.Lines(raw) {
		if !json.Valid(line) {
			t.Errorf("half a record: %q", line)
		}
	}
	ballast.Truncate(0)
	if err := w.Write(Stdout, []byte("last\n"), at); err != nil {
		t.Errorf("room again: %v", err)
	}
	w.Close()
	if kept, _ := read(t, path, all); !strings.HasSuffix(kept, "\nlast\n") {
		t.Error("the last line is lost")
	}
}

type neverEnding byte

func (b neverEnding) Read(p []byte) (int, error) {
	p[0] = byte(b)
	return min(len(p), 1), nil
}

// TestFollow reads what a writer writes through rotations until it ends.
func TestFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	w := open(t, path, Options{MaxSize: 4 << 10, Files: 10})
	ended := make(chan struct{})
	const total = 400
	go func() {
		defer close(ended)
		for i := range total {
			w.Write(Stdout, fmt.Appendf(nil, "%d\n", i), time.Now())
			if i%20 == 0 {
				time.Sleep(5 * time.Millisecond)
			}
		}
		w.Write(Stderr, []byte("last"), time.Now())
		w.Close()
	}()
	s := all
	s.Follow = true
	s.Ended = func() bool {
		select {
		case <-ended:
			return true
		default:
			return false
		}
	}
	next := 0
	err := Read(context.Background(), path, s, func(l Line) error {
		if want := fmt.Sprintf("%d\n", next); next < total && string(l.Data) != want {
			return fmt.Errorf("line %q, want %q", l.Data, want)
		}
		next++
		return nil
	})
	if err != nil || next != total+1 {
		t.Errorf("%d lines, %v", next, err)
	}
}

func TestFollowUntil(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	s := all
	s.Follow, s.Until = true, time.Now().Add(50*time.Millisecond)
	begin := time.Now()
	if err := Read(context.Background(), path, s, func(Line) error { return nil }); err != nil || time.Since(begin) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}

// TestNoAllocations holds the writer to its promise.
func TestNoAllocations(t *testing.T) {
	w := open(t, filepath.Join(t.TempDir(), "log"), Options{MaxSize: -1})
	defer w.Close()
	chunk := []byte("one line\nanother line, é\nthe beginning of")
	if n := testing.AllocsPerRun(200, func() {
		if err := w.Write(Stdout, chunk, at); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per chunk", n)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"log":"hello\n","stream":"stdout","time":"2026-01-02T03:04:05.678901234Z"}`))
	f.Add([]byte(`{"log":"\u00e9\ud83d","stream":"stderr","time":"2026-01-02T03:04:05+02:00","attrs":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var d decoder
		line, ok := d.decode(text)
		if !ok {
			return
		}
		var want struct {
			Log    string    `json:"log"`
			Stream string    `json:"stream"`
			Time   time.Time `json:"time"`
		}
		if err := json.Unmarshal(bytes.TrimLeft(text, "\x00"), &want); err != nil {
			t.Fatalf("accepted %q: %v", text, err)
		}
		if bytes.Count(text, []byte(`"`)) == 12 && utf8.Valid(text) && !bytes.Contains(bytes.ToLower(text), []byte("\\u")) && want.Log != "" && string(line.Data) != want.Log {
			t.Fatalf("%q: %q, want %q", text, line.Data, want.Log)
		}
	})
}

// FuzzWriter: whatever is written in whatever chunks is read again.
func FuzzWriter(f *testing.F) {
	f.Add([]byte("a\nb\xff\nc"), uint16(3))
	f.Add(bytes.Repeat([]byte("é"), 20_000), uint16(7))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte, chunk uint16) {
		if len(text) > 1<<17 {
			return
		}
		path := filepath.Join(dir, "log")
		os.Remove(path)
		w := open(t, path, Options{MaxSize: -1})
		for rest := text; len(rest) > 0; rest = rest[min(int(chunk)+1, len(rest)):] {
			if err := w.Write(Stdout, rest[:min(int(chunk)+1, len(rest))], at); err != nil {
				t.Fatal(err)
			}
		}
		w.Close()
		got, _ := read(t, path, all)
		if utf8.Valid(text) && got != string(text) || strings.Count(got, "\n") != bytes.Count(text, []byte("\n")) {
			t.Fatalf("%q became %q", text, got)
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	w := open(b, filepath.Join(b.TempDir(), "log"), Options{})
	chunk := bytes.Repeat([]byte("2026-01-02 03:04:05 INFO request served path=/index.html status=200\n"), 60)
	b.ReportAllocs()
	b.SetBytes(int64(len(chunk)))
	for b.Loop() {
		if err := w.Write(Stdout, chunk, at); err != nil {
			b.Fatal(err)
		}
	}
}
