package terminal

import (
	"io"
	"strings"

	"berth/internal/engine"
	"berth/internal/errdefs"
)

// DefaultDetachKeys is the sequence that gives the terminal back.
const DefaultDetachKeys = "ctrl-p,ctrl-q"

// ParseDetachKeys turns "ctrl-p,ctrl-q" into the bytes a terminal sends for it.
// A key is one character, "ctrl-" and one of a-z @ [ \ ] ^ _, or "DEL". The
// empty string gives no keys: then nothing detaches.
func ParseDetachKeys(s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	var keys []byte
	for _, key := range strings.Split(s, ",") {
		b, ok := keyByte(key)
		if !ok {
			return nil, errdefs.New(errdefs.InvalidArgument, "invalid detach keys (%s): unknown key %q", s, key).
				WithHint(`keys are single characters or "ctrl-" and one of a-z @ [ \ ] ^ _, joined by commas`)
		}
		keys = append(keys, b)
	}
	return keys, nil
}

func keyByte(key string) (byte, bool) {
	switch {
	case len(key) == 1:
		return key[0], true
	case key == "DEL":
		return 127, true
	}
	name, found := strings.CutPrefix(strings.ToLower(key), "ctrl-")
	if !found || len(name) != 1 {
		return 0, false
	}
	c := name[0]
	// A control character is its letter with the two high bits of the column cleared (ascii(7)).
	if c >= 'a' && c <= 'z' || c == '@' || c >= '[' && c <= '_' {
		return c & 0x1f, true
	}
	return 0, false
}

// detachReader passes bytes on until it has seen keys.
type detachReader struct {
	r    io.Reader
	keys []byte
	seen int    // how many of keys have matched and are held back
	out  []byte // bytes that are ready for the caller
	err  error
	buf  [4096]byte
}

// DetachReader returns a reader of r that returns engine.ErrDetached when keys
// have been typed. The keys themselves are not passed on; the beginning of the
// sequence is held back until the next byte shows whether it goes on.
func DetachReader(r io.Reader, keys []byte) io.Reader {
	if len(keys) == 0 {
		return r
	}
	return &detachReader{r: r, keys: keys}
}

// Read implements io.Reader.
func (d *detachReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(d.out) == 0 {
		if d.err != nil {
			return 0, d.err
		}
		n, err := d.r.Read(d.buf[:])
		d.scan(d.buf[:n])
		if err != nil && d.err == nil {
			d.out = append(d.out, d.keys[:d.seen]...)
			d.seen, d.err = 0, err
		}
	}
	n := copy(p, d.out)
	d.out = d.out[n:]
	return n, nil
}

// scan moves in to out, holding back what may be the keys.
func (d *detachReader) scan(in []byte) {
	d.out = d.out[:0]
	for _, b := range in {
		for d.seen > 0 && b != d.keys[d.seen] {
			d.release()
		}
		if b != d.keys[d.seen] {
			d.out = append(d.out, b)
			continue
		}
		if d.seen++; d.seen == len(d.keys) {
			d.err = engine.ErrDetached
			return
		}
	}
}

// release gives up the longest held-back part that cannot begin the keys: for
// keys "a,a,b" and input "aaab" the first "a" goes and the other two stay.
func (d *detachReader) release() {
	for n := 1; n <= d.seen; n++ {
		if string(d.keys[n:d.seen]) == string(d.keys[:d.seen-n]) {
			d.out = append(d.out, d.keys[:n]...)
			d.seen -= n
			return
		}
	}
}
