package cache

import (
	"encoding/binary"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/oci"
)

// Whatever a record's file holds, reading it gives an error or a record that
// can be written and read again.
func FuzzRecord(f *testing.F) {
	key := NewKey("fuzz").Sum()
	id := strings.Repeat("a", 64)
	for _, r := range []Record{
		{Key: key, Type: Regular, Layer: id, Below: id, Created: time.Unix(1, 2).UTC(), Text: "RUN x"},
		{Key: key, Type: Local, Layer: id, Size: 7, DiffID: key, Created: time.Unix(1, 2).UTC(), Boot: "b"},
	} {
		b, err := r.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"key":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRecord(key, b)
		if err != nil {
			return
		}
		if r.Key != key || strings.ContainsAny(r.Layer+r.Below, "./") {
			t.Fatalf("accepted %+v", r)
		}
		again, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Text) > maxText {
			return
		}
		if back, err := parseRecord(key, again); err != nil || !back.Created.Equal(r.Created) || back.Layer != r.Layer || back.Text != strings.ToValidUTF8(r.Text, "\ufffd") {
			t.Fatalf("%+v became %+v, %v", r, back, err)
		}
	})
}

// read takes a key's text apart again: that it can be done without knowing what
// was put in shows that no two sequences of fields have the same text.
func (k *Key) read(t *testing.T) (fields [][]string) {
	rest := k.text
	number := func() uint64 {
		n, size := binary.Uvarint(rest)
		if size <= 0 {
			t.Fatal("no number")
		}
		rest = rest[size:]
		return n
	}
	word := func() string {
		n := number()
		w := string(rest[:n])
		rest = rest[n:]
		return w
	}
	for len(rest) > 0 {
		field := []string{word()}
		for range number() {
			field = append(field, word())
		}
		fields = append(fields, field)
	}
	return fields
}

func FuzzKey(f *testing.F) {
	f.Add("run\x00a\x00b", "env\x00\x00c")
	f.Add("", "\x00")
	f.Fuzz(func(t *testing.T, one, two string) {
		fields := [][]string{strings.Split(one, "\x00"), strings.Split(two, "\x00")}
		k := &Key{}
		for _, fd := range fields {
			k.Add(fd[0], fd[1:]...)
		}
		if got := k.read(t); !reflect.DeepEqual(got, fields) {
			t.Fatalf("%q became %q", fields, got)
		}
	})
}

func TestKeysDiffer(t *testing.T) {
	sums := []oci.Digest{
		NewKey("run").Sum(), NewKey("copy").Sum(), NewKey("run").Add("a").Sum(), NewKey("run").Add("a", "").Sum(), NewKey("run").Add("a", "b").Sum(),
		NewKey("run").Add("a", "b", "c").Sum(), NewKey("run").Add("a", "b").Add("c").Sum(), NewKey("run").Add("ab").Sum(), NewKey("run").Add("a", "bc").Sum(),
	}
	n := len(sums)
	slices.Sort(sums)
	if len(slices.Compact(sums)) != n {
		t.Error("two keys are equal")
	}
}
