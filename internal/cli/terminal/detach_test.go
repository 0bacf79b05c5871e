package terminal

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"berth/internal/engine"
)

func TestParseDetachKeys(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "ctrl-p,ctrl-q": "\x10\x11", "a": "a", "ctrl-a,x": "\x01x", "ctrl-@": "\x00", "ctrl-[": "\x1b",
		"ctrl-_": "\x1f", "DEL": "\x7f", "CTRL-C": "\x03", `ctrl-\`: "\x1c",
	} {
		got, err := ParseDetachKeys(in)
		if err != nil || string(got) != want {
			t.Errorf("%q: got %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"ctrl-zz", "foo", "ctrl-", "ctrl-1", "a,,b", ","} {
		if got, err := ParseDetachKeys(in); err == nil {
			t.Errorf("%q: got %q, want an error", in, got)
		}
	}
}

func TestDetachReader(t *testing.T) {
	for _, c := range []struct {
		keys, in, want string
		detached       bool
	}{
		{"\x10\x11", "abc", "abc", false},
		{"\x10\x11", "ab\x10\x11cd", "ab", true},
		{"\x10\x11", "\x10x\x10\x10\x11", "\x10x\x10", true},
		{"\x10\x11", "ls\x10", "ls\x10", false}, // held back to the end of the input, then given
		{"aab", "aaab", "a", true},
		{"aab", "aacaab", "aac", true},
		{"abab", "abaabab", "aba", true},
		{"q", "q", "", true},
	} {
		for name, r := range map[string]io.Reader{
			"at once": strings.NewReader(c.in), "byte by byte": iotest.OneByteReader(strings.NewReader(c.in)),
			"with the end": iotest.DataErrReader(strings.NewReader(c.in)),
		} {
			got, err := io.ReadAll(DetachReader(r, []byte(c.keys)))
			if string(got) != c.want || errors.Is(err, engine.ErrDetached) != c.detached {
				t.Errorf("keys %q in %q %s: got %q, %v", c.keys, c.in, name, got, err)
			}
		}
	}
}

func TestNoKeysNoReader(t *testing.T) {
	r := strings.NewReader("x")
	if DetachReader(r, nil) != io.Reader(r) {
		t.Error("without keys the input is passed on as it is")
	}
}

// However the input is cut, what comes out is the input up to the keys.
func FuzzDetachReader(f *testing.F) {
	f.Add([]byte("ab"), []byte("aab"), uint8(1))
	f.Add([]byte("\x10\x11"), []byte("x\x10\x10\x11"), uint8(3))
	f.Fuzz(func(t *testing.T, keys, in []byte, size uint8) {
		if len(keys) == 0 {
			return
		}
		want, _, detached := bytes.Cut(in, keys)
		r := DetachReader(iotest.OneByteReader(bytes.NewReader(in)), keys)
		var got []byte
		buf := make([]byte, int(size)+1)
		for {
			n, err := r.Read(buf)
			got = append(got, buf[:n]...)
			if err != nil {
				if errors.Is(err, engine.ErrDetached) != detached {
					t.Fatalf("keys %q in %q: %v", keys, in, err)
				}
				break
			}
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("keys %q in %q: got %q, want %q", keys, in, got, want)
		}
	})
}

func FuzzParseDetachKeys(f *testing.F) {
	f.Add("ctrl-p,ctrl-q")
	f.Fuzz(func(t *testing.T, s string) {
		keys, err := ParseDetachKeys(s)
		if err == nil && s != "" && len(keys) != strings.Count(s, ",")+1 {
			t.Errorf("%q: %d keys", s, len(keys))
		}
	})
}
