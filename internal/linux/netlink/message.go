// Package netlink provides the kernel's configuration protocol for networks:
// netlink(7) and rtnetlink(7), as far as a bridge and its cables need it.
//
// A request is a message: a header, a fixed structure that depends on the
// message's type, and attributes (type, length, value; they may be nested).
// Several messages travel in one write and are answered one by one. The socket
// belongs to the network namespace in which its thread was when it was opened.
package netlink

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Message is a request under construction.
type Message struct {
	b       []byte
	marker  bool // begins or ends a batch: never acknowledged
	tooLong bool
}

// NewMessage begins a message of a type with flags (NLM_F_*; those for
// request and acknowledgement are added) and its fixed structure.
func NewMessage(kind uint16, flags int, fixed []byte) *Message {
	m := &Message{b: make([]byte, unix.SizeofNlMsghdr, 256)}
	binary.NativeEndian.PutUint16(m.b[4:], kind)
	binary.NativeEndian.PutUint16(m.b[6:], uint16(unix.NLM_F_REQUEST|flags))
	m.b = append(m.b, fixed...)
	m.pad()
	return m
}

// NoAck says that the message marks the beginning or end of a batch, which the
// kernel does not acknowledge.
func (m *Message) NoAck() *Message {
	m.marker = true
	return m
}

func (m *Message) pad() {
	for len(m.b)%4 != 0 {
		m.b = append(m.b, 0)
	}
}

// Attr adds an attribute with these bytes.
func (m *Message) Attr(kind uint16, value []byte) *Message {
	if 4+len(value) > maxAttr {
		m.tooLong = true
		return m
	}
	m.b = binary.NativeEndian.AppendUint16(m.b, uint16(4+len(value)))
	m.b = binary.NativeEndian.AppendUint16(m.b, kind)
	m.b = append(m.b, value...)
	m.pad()
	return m
}

// Text adds a NUL-terminated string.
func (m *Message) Text(kind uint16, s string) *Message { return m.Attr(kind, append([]byte(s), 0)) }

// U32 adds a number in the machine's byte order, as rtnetlink wants it.
func (m *Message) U32(kind uint16, v uint32) *Message {
	return m.Attr(kind, binary.NativeEndian.AppendUint32(nil, v))
}

// Big32 adds a number in network byte order, as netfilter wants it.
func (m *Message) Big32(kind uint16, v uint32) *Message {
	return m.Attr(kind, binary.BigEndian.AppendUint32(nil, v))
}

// Nest adds an attribute whose value is the attributes that fill adds.
func (m *Message) Nest(kind uint16, fill func()) *Message {
	at := len(m.b)
	m.b = append(m.b, 0, 0, 0, 0)
	binary.NativeEndian.PutUint16(m.b[at+2:], kind|unix.NLA_F_NESTED)
	fill()
	m.tooLong = m.tooLong || len(m.b)-at > maxAttr
	binary.NativeEndian.PutUint16(m.b[at:], uint16(len(m.b)-at))
	return m
}

// Raw adds bytes without a header, for structures inside nests.
func (m *Message) Raw(p []byte) *Message {
	m.b = append(m.b, p...)
	m.pad()
	return m
}

// maxAttr is what fits the 16-bit length of an attribute. A longer one would
// wrap around and its tail be read as attributes (CVE-2021-43784).
const maxAttr = 1<<16 - 1

// typeMask takes the flags (nested, byte order) off an attribute type.
const typeMask = 0x3fff

// Attrs returns the attributes in b by type; a type that repeats keeps its
// last value. What is malformed ends the list.
func Attrs(b []byte) map[uint16][]byte {
	m := map[uint16][]byte{}
	for len(b) >= 4 {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			break
		}
		m[binary.NativeEndian.Uint16(b[2:])&typeMask] = b[4:n]
		if n = (n + 3) &^ 3; n > len(b) {
			break
		}
		b = b[n:]
	}
	return m
}
