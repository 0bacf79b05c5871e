package systemd

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// The call that opens every bus connection, written out by the rules of the
// D-Bus specification.
const hello = "l\x01\x00\x01" + "\x00\x00\x00\x00" + "\x01\x00\x00\x00" + "\x6d\x00\x00\x00" +
	"\x01\x01o\x00" + "\x15\x00\x00\x00" + "/org/freedesktop/DBus\x00" + "\x00\x00" +
	"\x02\x01s\x00" + "\x14\x00\x00\x00" + "org.freedesktop.DBus\x00" + "\x00\x00\x00" +
	"\x03\x01s\x00" + "\x05\x00\x00\x00" + "Hello\x00" + "\x00\x00" +
	"\x06\x01s\x00" + "\x14\x00\x00\x00" + "org.freedesktop.DBus\x00" + "\x00\x00\x00"

func TestMarshalCall(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the sample is little-endian")
	}
	c := call{destination: busName, path: busPath, iface: busName, member: "Hello"}
	if got := c.marshal(1); string(got) != hello {
		t.Errorf("got\n%q, want\n%q", got, hello)
	}
	m, err := unmarshal([]byte(hello))
	if err != nil || m.kind != methodCall || m.member != "Hello" || len(m.body.b) != 0 {
		t.Errorf("read back: %+v, %v", m, err)
	}
}

func TestUnmarshalBigEndian(t *testing.T) {
	// An error reply to call 7, with the text "no".
	const reply = "B\x03\x01\x01" + "\x00\x00\x00\x07" + "\x00\x00\x00\x09" + "\x00\x00\x00\x1f" +
		"\x05\x01u\x00" + "\x00\x00\x00\x07" +
		"\x04\x01s\x00" + "\x00\x00\x00\x05" + "a.b.c\x00" + "\x00\x00" +
		"\x08\x01g\x00" + "\x01s\x00" + "\x00" +
		"\x00\x00\x00\x02no\x00"
	m, err := unmarshal([]byte(reply))
	if err != nil {
		t.Fatal(err)
	}
	if m.kind != errorReply || m.replySerial != 7 || m.errorName != "a.b.c" || m.body.str() != "no" {
		t.Errorf("got %+v", m)
	}
}

func TestVariant(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the samples are little-endian")
	}
	for _, c := range []struct {
		value any
		want  string
	}{
		{"ab", "\x01s\x00\x00" + "\x02\x00\x00\x00ab\x00"},
		{true, "\x01b\x00\x00" + "\x01\x00\x00\x00"},
		{false, "\x01b\x00\x00" + "\x00\x00\x00\x00"},
		{uint64(5), "\x01t\x00\x00\x00\x00\x00\x00" + "\x05\x00\x00\x00\x00\x00\x00\x00"},
		{[]uint32{7, 8}, "\x02au\x00" + "\x08\x00\x00\x00" + "\x07\x00\x00\x00\x08\x00\x00\x00"},
		{[]byte{3}, "\x02ay\x00" + "\x01\x00\x00\x00" + "\x03"},
	} {
		var e encoder
		e.variant(c.value)
		if string(e.b) != c.want {
			t.Errorf("%v: got %q, want %q", c.value, e.b, c.want)
		}
	}
}

func TestEmptyArrayIsPadded(t *testing.T) {
	var e encoder
	e.array(8, func() {})
	e.array(8, func() { e.u64(1) })
	if want := "\x00\x00\x00\x00\x00\x00\x00\x00" + "\x08\x00\x00\x00\x00\x00\x00\x00" + "\x01\x00\x00\x00\x00\x00\x00\x00"; !bytes.Equal(e.b, []byte(want)) {
		t.Errorf("got %q, want %q", e.b, want)
	}
}

func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(hello))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := unmarshal(b)
		if err != nil {
			return
		}
		if len(m.body.b) > len(b) || len(m.member) > len(b) {
			t.Errorf("more came out than went in: %+v", m)
		}
		c := conn{}
		c.note(m)
		_ = replyError("x", m)
	})
}
