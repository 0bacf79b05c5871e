package systemd

import (
	"encoding/binary"

	"berth/internal/errdefs"
)

// The wire format of the D-Bus specification. Values are aligned to their size,
// counted from the start of the message; the body starts at a multiple of eight.

// Message types and header fields.
const (
	methodCall   = 1
	methodReturn = 2
	errorReply   = 3
	signal       = 4

	fieldPath        = 1
	fieldInterface   = 2
	fieldMember      = 3
	fieldErrorName   = 4
	fieldReplySerial = 5
	fieldDestination = 6
	fieldSignature   = 8

	fixedHeader = 16
	maxMessage  = 16 << 20 // the specification allows 128 MiB; systemd has no reason to
)

// encoder writes values in this machine's byte order.
type encoder struct{ b []byte }

func (e *encoder) align(n int) {
	for len(e.b)%n != 0 {
		e.b = append(e.b, 0)
	}
}

func (e *encoder) u32(v uint32) {
	e.align(4)
	e.b = binary.NativeEndian.AppendUint32(e.b, v)
}

func (e *encoder) u64(v uint64) {
	e.align(8)
	e.b = binary.NativeEndian.AppendUint64(e.b, v)
}

func (e *encoder) str(s string) {
	e.u32(uint32(len(s)))
	e.b = append(append(e.b, s...), 0)
}

func (e *encoder) signature(s string) {
	e.b = append(append(append(e.b, byte(len(s))), s...), 0)
}

// array writes the elements between its two calls, preceded by their length in bytes.
func (e *encoder) array(elementAlign int, elements func()) {
	e.u32(0)
	at := len(e.b) - 4
	e.align(elementAlign) // this padding is not part of the length
	start := len(e.b)
	elements()
	binary.NativeEndian.PutUint32(e.b[at:], uint32(len(e.b)-start))
}

// variant writes a value with its type before it.
func (e *encoder) variant(value any) {
	switch v := value.(type) {
	case string:
		e.signature("s")
		e.str(v)
	case bool:
		e.signature("b")
		if v {
			e.u32(1)
		} else {
			e.u32(0)
		}
	case uint64:
		e.signature("t")
		e.u64(v)
	case []uint32:
		e.signature("au")
		e.array(4, func() {
			for _, n := range v {
				e.u32(n)
			}
		})
	case []byte:
		e.signature("ay")
		e.array(1, func() { e.b = append(e.b, v...) })
	default:
		panic("systemd: a property of a type that variant does not know")
	}
}

// call is a method call to be sent.
type call struct {
	destination, path, iface, member string
	signature                        string
	body                             []byte
}

// marshal returns the whole message.
func (c *call) marshal(serial uint32) []byte {
	order := byte('l')
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		order = 'B'
	}
	e := encoder{b: append(make([]byte, 0, 256+len(c.body)), order, methodCall, 0, 1)}
	e.u32(uint32(len(c.body)))
	e.u32(serial)
	e.array(8, func() {
		field := func(code byte, kind, value string) {
			e.align(8)
			e.b = append(e.b, code)
			e.signature(kind)
			e.str(value)
		}
		field(fieldPath, "o", c.path)
		field(fieldInterface, "s", c.iface)
		field(fieldMember, "s", c.member)
		field(fieldDestination, "s", c.destination)
		if c.signature != "" {
			e.align(8)
			e.b = append(e.b, fieldSignature)
			e.signature("g")
			e.signature(c.signature)
		}
	})
	e.align(8)
	return append(e.b, c.body...)
}

// message is a received message, as far as it matters here.
type message struct {
	kind        byte
	replySerial uint32
	member      string
	errorName   string
	body        decoder
}

// decoder reads values; after the first that does not fit, bad is set and all are zero.
type decoder struct {
	b     []byte
	at    int
	order binary.ByteOrder
	bad   bool
}

// take returns the next n bytes at a multiple of align.
func (d *decoder) take(n, align int) []byte {
	start := (d.at + align - 1) / align * align
	if d.bad || n < 0 || start > len(d.b) || n > len(d.b)-start {
		d.bad = true
		return nil
	}
	d.at = start + n
	return d.b[start:d.at]
}

func (d *decoder) byte() byte {
	if b := d.take(1, 1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if b := d.take(4, 4); b != nil {
		return d.order.Uint32(b)
	}
	return 0
}

func (d *decoder) str() string {
	n := d.u32()
	if n > maxMessage {
		d.bad = true
	}
	s := string(d.take(int(n), 1))
	d.byte()
	return s
}

func (d *decoder) signature() string {
	s := string(d.take(int(d.byte()), 1))
	d.byte()
	return s
}

// messageSize returns the length of the message that starts with this fixed
// header: that of the header and its fields, and that of the body.
func messageSize(b []byte) (head, body int, err error) {
	order, err := byteOrder(b[0])
	if err != nil {
		return 0, 0, err
	}
	fields, size := order.Uint32(b[12:]), order.Uint32(b[4:])
	if b[3] != 1 || fields > maxMessage || size > maxMessage {
		return 0, 0, errdefs.New(errdefs.Unavailable, "malformed D-Bus message")
	}
	return (fixedHeader + int(fields) + 7) / 8 * 8, int(size), nil
}

func byteOrder(mark byte) (binary.ByteOrder, error) {
	switch mark {
	case 'l':
		return binary.LittleEndian, nil
	case 'B':
		return binary.BigEndian, nil
	}
	return nil, errdefs.New(errdefs.Unavailable, "malformed D-Bus message")
}

// unmarshal reads a whole message.
func unmarshal(b []byte) (*message, error) {
	if len(b) < fixedHeader {
		return nil, errdefs.New(errdefs.Unavailable, "malformed D-Bus message")
	}
	head, size, err := messageSize(b)
	if err != nil || head+size != len(b) {
		return nil, errdefs.New(errdefs.Unavailable, "malformed D-Bus message")
	}
	order, _ := byteOrder(b[0])
	m := &message{kind: b[1], body: decoder{b: b[head:], order: order}}
	end := fixedHeader + int(order.Uint32(b[12:]))
	d := decoder{b: b[:end], at: fixedHeader, order: order}
	for !d.bad && d.at < end {
		d.take(0, 8)
		code, text, number := d.byte(), "", uint32(0)
		switch d.signature() {
		case "s", "o":
			text = d.str()
		case "g":
			text = d.signature()
		case "u":
			number = d.u32()
		default:
			d.bad = true
		}
		switch code {
		case fieldMember:
			m.member = text
		case fieldErrorName:
			m.errorName = text
		case fieldReplySerial:
			m.replySerial = number
		}
	}
	if d.bad {
		return nil, errdefs.New(errdefs.Unavailable, "malformed D-Bus message")
	}
	return m, nil
}
