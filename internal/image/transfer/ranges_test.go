package transfer

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestRanges(t *testing.T) {
	r := divide(25, 20, 10)
	if len(r.have) != 3 || r.length(0) != 10 || r.length(2) != 5 || !r.tabled() {
		t.Fatalf("%+v", r)
	}
	if one := divide(19, 20, 10); len(one.have) != 1 || one.length(0) != 19 || one.tabled() {
		t.Errorf("a small blob: %+v", one)
	}
	if none := divide(0, 20, 10); none.front() != 0 || none.got() != 0 || len(none.have) != 0 {
		t.Errorf("an empty blob: %+v", none)
	}
	r.add(10, 10) // the second range first
	if r.front() != 0 || r.got() != 10 {
		t.Errorf("front %d, got %d", r.front(), r.got())
	}
	r.add(0, 4)
	r.add(7, 2) // joins on to nothing: it must not count
	if r.front() != 4 || r.got() != 14 {
		t.Errorf("front %d, got %d", r.front(), r.got())
	}
	if p, ok := r.claim(); !ok || p != (part{0, 4, 10}) {
		t.Errorf("claimed %v, %v", p, ok)
	}
	if p, ok := r.claim(); !ok || p != (part{2, 20, 25}) {
		t.Errorf("claimed %v, %v", p, ok)
	}
	if p, ok := r.claim(); ok {
		t.Errorf("claimed %v twice", p)
	}
	r.add(4, 21) // over all
	if r.front() != 25 || r.got() != 25 {
		t.Errorf("front %d, got %d", r.front(), r.got())
	}
}

// TestRangesOfAnySize: a size is the word of whoever made the image.
func TestRangesOfAnySize(t *testing.T) {
	for _, size := range []int64{1, rangesFrom - 1, rangesFrom, rangesFrom + 1, 10 << 30, 1 << 40, math.MaxInt64} {
		r := divide(size, rangesFrom, rangeSize)
		n := len(r.have)
		if n > maxRanges || (n > 1) != (size >= rangesFrom) || r.length(n-1) <= 0 || int64(n-1)*r.each+r.length(n-1) != size {
			t.Errorf("%d bytes: %d ranges of %d, the last of %d", size, n, r.each, r.length(n-1))
		}
		for {
			p, ok := r.claim()
			if !ok {
				break
			}
			r.add(p.from, p.to-p.from)
		}
		if r.front() != size || r.got() != size {
			t.Errorf("%d bytes: front %d, got %d", size, r.front(), r.got())
		}
	}
}

// TestRangesTable writes a table and reads it as the next process does.
func TestRangesTable(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "blob"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := divide(25, 20, 10)
	if err := r.create(f); err != nil {
		t.Fatal(err)
	}
	first, last := r.add(10, 8)
	if err := r.update(f, first, last); err != nil {
		t.Fatal(err)
	}
	read := func(from, each int64) *ranges {
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		next := divide(25, from, each)
		if err := next.load(f, info.Size()); err != nil {
			t.Fatal(err)
		}
		return next
	}
	if next := read(20, 10); !slices.Equal(next.have, []int64{0, 8, 0}) {
		t.Errorf("read %v", next.have)
	}
	if next := read(20, 5); next.got() != 0 {
		t.Errorf("ranges of another size: %v", next.have)
	}
	if err := f.Truncate(13); err != nil { // what a version without tables left
		t.Fatal(err)
	}
	if next := read(20, 10); !slices.Equal(next.have, []int64{10, 3, 0}) {
		t.Errorf("a beginning: %v", next.have)
	}
}

// FuzzRangesTable reads any file of the right length: it must not claim more
// than there can be.
func FuzzRangesTable(f *testing.F) {
	f.Add([]byte("berthrng\x0a\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("berthrng\x0a\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, table []byte) {
		file, err := os.Create(filepath.Join(t.TempDir(), "blob"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := file.WriteAt(table, 25); err != nil {
			t.Fatal(err)
		}
		r := divide(25, 20, 10)
		if err := r.load(file, 25+int64(len(table))); err != nil {
			t.Fatal(err)
		}
		for i, h := range r.have {
			if h < 0 || h > r.length(i) {
				t.Errorf("range %d of %d bytes has %d", i, r.length(i), h)
			}
		}
		if front := r.front(); front < 0 || front > 25 {
			t.Errorf("front %d", front)
		}
	})
}
