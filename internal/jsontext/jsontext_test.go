package jsontext

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestWalk(t *testing.T) {
	d := NewDecoder([]byte(` { "a" : "x\"\u00e9\ud83d\ude00\ud800" , "n":-12,"u":18446744073709551615,"list":[ "1", "2" ],"none":[], "t":"2026-01-02T03:04:05.6Z","other":{"deep":[1,2.5e3,{"x":null}]},"yes":true,"no":false,"nil":null} `))
	var got []any
	for more := d.Open('{'); more; more = d.More('}') {
		switch key := string(d.Key()); key {
		case "a":
			got = append(got, d.Text())
		case "n":
			got = append(got, d.Int())
		case "u":
			got = append(got, d.Uint())
		case "list", "none":
			for more := d.Open('['); more; more = d.More(']') {
				got = append(got, d.Text())
			}
		case "t":
			got = append(got, d.Time())
		case "yes", "no", "nil":
			got = append(got, d.Bool())
		default:
			d.Skip()
		}
	}
	if err := d.Err(); err != nil || !d.End() {
		t.Fatalf("error %v, end %v", err, d.End())
	}
	want := []any{"x\"é😀\ufffd", int64(-12), uint64(1<<64 - 1), "1", "2", time.Date(2026, 1, 2, 3, 4, 5, 6e8, time.UTC), true, false, false}
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("value %d is %v, want %v", i, got[i], want[i])
		}
	}
}

func TestMistakesStick(t *testing.T) {
	for _, text := range []string{``, `{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a" 1}`, `{a:1}`, `{"a":tru}`, `{"a":"\x"}`, `{"a":"\u12"}`, "{\"a\":\"\n\"}", `{"a":01}`, `{"a":1.}`, `{"a":-}`, `{"a":1e}`, `[1]`, `{"a":[1}`, strings.Repeat(`{"a":`, 2000)} {
		d := NewDecoder([]byte(text))
		for more := d.Open('{'); more; more = d.More('}') {
			d.Key()
			d.Skip()
		}
		if d.Err() == nil {
			t.Errorf("%.40q was accepted", text)
		}
		if d.Text() != "" || d.Int() != 0 || d.Open('{') || d.Bool() || !d.Time().IsZero() {
			t.Errorf("%.40q: a value after the mistake", text)
		}
	}
}

// FuzzSkip accepts and refuses the same documents as encoding/json.
func FuzzSkip(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e-3,"x\u00e9",null,true]}`, `[]`, `"\ud800"`, `{"a":1,}`, ` null `, `-0`, `nul`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d := NewDecoder(text)
		d.Skip()
		ok := d.Err() == nil && d.End()
		if bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) < maxDepth && ok != json.Valid(text) {
			t.Errorf("%q: accepted %v, encoding/json %v", text, ok, !ok)
		}
	})
}

// FuzzString writes and reads strings as encoding/json does.
func FuzzString(f *testing.F) {
	for _, s := range []string{"", "a\"b\\c\n\t\x00\x7f", "<&>\u2028é😀", "\xff\xfe", "\xe2\x80", "\ufffd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range [][]byte{AppendString(nil, s), AppendString(nil, []byte(s))} {
			if !bytes.Equal(got, want) {
				t.Fatalf("wrote %s, want %s", got, want)
			}
			d := NewDecoder(got)
			if back := d.Text(); back != strings.ToValidUTF8(s, "\ufffd") && utf8.ValidString(s) || d.Err() != nil {
				t.Fatalf("read %q from %s", back, got)
			}
		}
	})
}

func BenchmarkAppendString(b *testing.B) {
	line := []byte("2026-01-02 03:04:05 INFO request served path=/index.html status=200 duration=1.2ms\n")
	buf := make([]byte, 0, 256)
	b.ReportAllocs()
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		buf = AppendString(buf[:0], line)
	}
}

func TestAppend(t *testing.T) {
	b := AppendInt(append(AppendBool(AppendBool(nil, true), false), ' '), -42)
	if b = AppendTime(append(b, ' '), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)); string(b) != `truefalse -42 "2026-01-02T03:04:05Z"` {
		t.Errorf("appended %s", b)
	}
}
