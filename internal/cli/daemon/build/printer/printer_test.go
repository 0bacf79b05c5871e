package printer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"berth/internal/build/progress"
	"berth/internal/errdefs"
	"berth/internal/oci"
)

// recording is a build as a list of events, each at a time in milliseconds.
type recording struct {
	events []progress.Event
	times  []time.Time
}

var origin = time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return origin.Add(time.Duration(ms) * time.Millisecond) }

func id(name string) oci.Digest { return oci.DigestOf([]byte(name)) }

func (r *recording) add(ms int, e progress.Event) {
	r.events, r.times = append(r.events, e), append(r.times, at(ms))
}

func (r *recording) start(ms int, v progress.Vertex) {
	v.ID = id(v.Name + v.Text)
	r.add(ms, &progress.Started{Vertex: v, Time: at(ms)})
}

func (r *recording) output(ms int, name string, s progress.Stream, text string) {
	r.add(ms, &progress.Output{ID: id(name), Stream: s, Data: []byte(text), Time: at(ms)})
}

func (r *recording) finish(ms int, name string, f progress.Finished) {
	f.ID, f.Time = id(name), at(ms)
	r.add(ms, &f)
}

// play shows the recording with a tick each tenth of a second of its own time.
func (r *recording) play(d display) {
	next := origin
	for i, e := range r.events {
		for ; next.Before(r.times[i]); next = next.Add(period) {
			d.tick(next)
		}
		d.event(e)
	}
	d.end(r.times[len(r.times)-1])
}

// seed is the article's build: a base and two copies, the second from the cache.
func seed() *recording {
	r := &recording{}
	r.start(0, progress.Vertex{Name: "[internal] load build definition from Dockerfile"})
	r.add(1, &progress.Transfer{ID: id("[internal] load build definition from Dockerfile"), Name: "transferring dockerfile:", Current: 45, Completed: at(1), Time: at(1)})
	r.finish(1, "[internal] load build definition from Dockerfile", progress.Finished{})
	for i, text := range []string{"FROM alpine", "COPY foo /foo", "COPY bar /bar"} {
		v := progress.Vertex{Name: fmt.Sprintf("[%d/3] ", i+1) + text, Text: text, Number: i + 1, Total: 3}
		r.start(10*i+10, v)
		r.finish(10*i+15, v.Name+text, progress.Finished{Cached: i == 1, State: id(text)})
	}
	return r
}

// sideBySide are two stages whose programs write at the same time.
func sideBySide(err error) *recording {
	r := &recording{}
	a := progress.Vertex{Name: "[a 2/2] RUN make", Text: "RUN make", Number: 1, Total: 3}
	b := progress.Vertex{Name: "[b 2/2] RUN go", Text: "RUN go", Number: 2, Total: 3}
	ka, kb := a.Name+a.Text, b.Name+b.Text
	r.start(0, a)
	r.start(1, b)
	r.add(2, &progress.Running{ID: id(ka), Container: strings.Repeat("a", 64), Time: at(2)})
	r.add(2, &progress.Running{ID: id(kb), Container: strings.Repeat("b", 64), Time: at(2)})
	r.output(20, ka, progress.Stdout, "one\ntw")
	r.output(30, kb, progress.Stdout, "10%\r50%\r100%\n")
	r.output(40, ka, progress.Stderr, "o\n\x1b[31mred\x1b[0m\n")
	r.start(50, progress.Vertex{Name: "ENV A=b", Text: "ENV A=b", Number: 3, Total: 3, ConfigOnly: true})
	r.finish(51, "ENV A=bENV A=b", progress.Finished{State: id("env")})
	r.output(250, kb, progress.Stdout, "no end of line")
	r.finish(300, kb, progress.Finished{State: id("b")})
	r.finish(1500, ka, progress.Finished{Err: err, State: id("a")})
	return r
}

func TestPlain(t *testing.T) {
	var out bytes.Buffer
	seed().play(newPlain(&out))
	want := `#1 [internal] load build definition from Dockerfile
#1 transferring dockerfile: 45B done
#1 DONE 0.0s

#2 [1/3] FROM alpine
#2 DONE 0.0s

#3 [2/3] COPY foo /foo
#3 CACHED

#4 [3/3] COPY bar /bar
#4 DONE 0.0s
`
	if out.String() != want {
		t.Errorf("got\n%s", &out)
	}
}

func TestPlainSideBySide(t *testing.T) {
	var out bytes.Buffer
	sideBySide(errors.New("process failed:\n  exit code: 2")).play(newPlain(&out))
	want := `#1 [a 2/2] RUN make
#1 0.020 one
#1 0.040 two
#1 0.040 ` + "\x1b[31mred\x1b[0m" + `
#1 ...

#2 [b 2/2] RUN go
#2 0.029 100%
#2 0.299 no end of line
#2 DONE 0.3s

#1 [a 2/2] RUN make
#1 ERROR: process failed: exit code: 2
`
	if out.String() != want {
		t.Errorf("got\n%s", &out)
	}
}

// What waits behind another step is shown after five seconds, and so is a line
// without an end after one.
func TestPlainPatience(t *testing.T) {
	var out bytes.Buffer
	p := newPlain(&out)
	r := &recording{}
	r.start(0, progress.Vertex{Name: "loud"})
	r.start(0, progress.Vertex{Name: "quiet"})
	r.output(100, "loud", progress.Stdout, "1\n")
	r.output(200, "quiet", progress.Stdout, "help?")
	for i := 1; i < 80; i++ {
		r.output(100+i*100, "loud", progress.Stdout, "x\n")
	}
	r.play(p)
	text := out.String()
	i := strings.Index(text, "#1 ...\n\n#2 quiet\n#2 0.200 help?\n")
	if i < 0 {
		t.Fatalf("never shown:\n%s", text)
	}
	if n := strings.Count(text[:i], "x\n"); n < 50 || n > 70 {
		t.Errorf("shown after %d lines", n)
	}
}

func TestPlainCancelled(t *testing.T) {
	var out bytes.Buffer
	r := &recording{}
	r.start(0, progress.Vertex{Name: "x"})
	r.finish(10, "x", progress.Finished{Err: errdefs.New(errdefs.Cancelled, "stopped")})
	r.start(20, progress.Vertex{Name: "open"})
	r.output(25, "open", progress.Stdout, "half")
	r.play(newPlain(&out))
	if want := "#1 x\n#1 CANCELED\n\n#2 open\n#2 0.005 half\n"; out.String() != want {
		t.Errorf("got\n%s", &out)
	}
}

func TestPlainTransfer(t *testing.T) {
	var out bytes.Buffer
	r := &recording{}
	r.start(0, progress.Vertex{Name: "x"})
	for i := range 101 {
		r.add(i, &progress.Transfer{ID: id("x"), Name: "sha256:a", Current: int64(i) * 1000, Total: 100000, Started: at(0), Time: at(i)})
	}
	r.add(2000, &progress.Transfer{ID: id("x"), Name: "sha256:a", Current: 100000, Total: 100000, Started: at(0), Completed: at(2000), Time: at(2000)})
	r.play(newPlain(&out))
	if n := strings.Count(out.String(), "\n"); n != 1+21+1 {
		t.Errorf("%d lines:\n%s", n, &out)
	}
	if !strings.HasSuffix(out.String(), "#1 sha256:a 100kB / 100kB 2.0s done\n") {
		t.Errorf("got\n%s", &out)
	}
}

// A piece of work is told at its end, and at its beginning only if it takes a while.
func TestPlainSilentTransfer(t *testing.T) {
	var out bytes.Buffer
	r := &recording{}
	r.start(0, progress.Vertex{Name: "x"})
	for i, name := range []string{"short", "long"} {
		from, to := i*100, i*100+10+i*1500
		r.add(from, &progress.Transfer{ID: id("x"), Name: name, Started: at(from), Time: at(from)})
		r.add(to, &progress.Transfer{ID: id("x"), Name: name, Started: at(from), Completed: at(to), Time: at(to)})
	}
	r.play(newPlain(&out))
	if want := "#1 x\n#1 short done\n#1 long\n#1 long 1.5s done\n"; out.String() != want {
		t.Errorf("got\n%s", &out)
	}
}

func TestClassic(t *testing.T) {
	var out bytes.Buffer
	seed().play(newClassic(&out, false))
	s := func(text string) string { return id(text).Hex()[:12] }
	want := "Step 1/3 : FROM alpine\n ---> " + s("FROM alpine") + "\nStep 2/3 : COPY foo /foo\n ---> Using cache\n ---> " + s("COPY foo /foo") +
		"\nStep 3/3 : COPY bar /bar\n ---> " + s("COPY bar /bar") + "\n"
	if out.String() != want {
		t.Errorf("got\n%s", &out)
	}
}

// Steps appear in the order of the file, whichever ends first; the one that
// fails has no id.
func TestClassicSideBySide(t *testing.T) {
	var out bytes.Buffer
	sideBySide(nil).play(newClassic(&out, true))
	s := func(text string) string { return id(text).Hex()[:12] }
	want := "Step 1/3 : RUN make\n ---> Running in aaaaaaaaaaaa\none\ntw\x1b[91mo\n\x1b[31mred\x1b[0m\n\x1b[0mRemoving intermediate container aaaaaaaaaaaa\n ---> " + s("a") +
		"\nStep 2/3 : RUN go\n ---> Running in bbbbbbbbbbbb\n10%\r50%\r100%\nno end of lineRemoving intermediate container bbbbbbbbbbbb\n ---> " + s("b") +
		"\nStep 3/3 : ENV A=b\n ---> " + s("env") + "\n"
	if out.String() != want {
		t.Errorf("got\n%q\nwant\n%q", out.String(), want)
	}
	out.Reset()
	sideBySide(errors.New("no")).play(newClassic(&out, false))
	if text := out.String(); strings.Contains(text, s("a")) || !strings.Contains(text, "red\x1b[0m\nStep 2/3 : RUN go\n") {
		t.Errorf("got\n%q", text)
	}
}

func TestRawJSON(t *testing.T) {
	var out bytes.Buffer
	sideBySide(errors.New("no")).play(newRawJSON(&out))
	var logs string
	ended, failed := 0, 0
	for line := range strings.Lines(out.String()) {
		var s jsonStatus
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		for _, l := range s.Logs {
			logs += fmt.Sprint(l.Stream) + string(l.Data)
		}
		for _, v := range s.Vertexes {
			if v.Name == "" || v.Started == nil {
				t.Errorf("a vertex that is not whole: %s", line)
			}
			if v.Completed != nil {
				ended++
			}
			if v.Error == "no" {
				failed++
			}
		}
	}
	if ended != 2 || failed != 1 || !strings.HasPrefix(logs, "1one\ntw110%\r") {
		t.Errorf("%d ended, %d failed, logs %q", ended, failed, logs)
	}
}

func TestPrinter(t *testing.T) {
	for mode, want := range map[Mode]string{Auto: "#1 [a 2/2]", Plain: "#1 [a 2/2]", RawJSON: `{"vertexes"`, Classic: "Step 1/3", Quiet: ""} {
		var out bytes.Buffer
		p, err := Start(Options{Mode: mode, Out: &out, Err: &out})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range sideBySide(errors.New("no")).events {
			p.Event(e)
		}
		p.Close()
		p.Close()
		if !strings.HasPrefix(out.String(), want) || want == "" && out.Len() > 0 {
			t.Errorf("%s: %q", mode, out.String())
		}
		out.Reset()
		f := p.Failure()
		if f == nil {
			t.Fatalf("%s: no failure", mode)
		}
		f.Print(&out)
		if want := "------\n > [a 2/2] RUN make:\n0.020 one\n0.040 two\n0.040 \x1b[31mred\x1b[0m\n------\n"; out.String() != want {
			t.Errorf("%s: %q", mode, out.String())
		}
	}
	if _, err := Start(Options{Mode: TTY, Err: io.Discard}); err == nil {
		t.Error("tty without a terminal must be an error")
	}
}

func TestParseMode(t *testing.T) {
	for in, want := range map[string]Mode{"": Auto, "plain": Plain, "none": Quiet, "rawjson": RawJSON} {
		if got, err := ParseMode(in); got != want || err != nil {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
	if _, err := ParseMode("fancy"); err == nil || errdefs.HintOf(err) == "" {
		t.Errorf("fancy: %v", err)
	}
}

func TestLineBufferBounds(t *testing.T) {
	var b lineBuffer
	var got []int
	b.add(bytes.Repeat([]byte{'x'}, 3*maxLine+5), at(0), func(l []byte) { got = append(got, len(l)) })
	b.rest(func(l []byte) { got = append(got, len(l)) })
	if fmt.Sprint(got) != fmt.Sprint([]int{maxLine, maxLine, maxLine, 5}) {
		t.Errorf("lines of %v", got)
	}
}
