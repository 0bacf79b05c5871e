package netlink

import (
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
)

// Conn is a netlink socket. It is not safe for concurrent use.
type Conn struct {
	fd  int
	seq uint32
	buf []byte
}

// answerLen holds any answer: the kernel fits the pieces of a dump to the
// reader's buffer, and the first one, made before it has seen that, to a page.
const answerLen = 8 << 10

// Dial opens a socket of a netlink family (NETLINK_ROUTE, NETLINK_NETFILTER)
// in the calling thread's network namespace.
func Dial(family int) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, family)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	return &Conn{fd: fd}, nil
}

// Close closes the socket.
func (c *Conn) Close() error { return unix.Close(c.fd) }

// Error is the kernel's refusal of one message.
type Error struct {
	Index int // which message of the batch
	Errno unix.Errno
	Text  string // the kernel's explanation, often empty
}

// Error returns the errno with the kernel's explanation.
func (e *Error) Error() string {
	if e.Text != "" {
		return e.Errno.Error() + " (" + e.Text + ")"
	}
	return e.Errno.Error()
}

// Unwrap returns the errno.
func (e *Error) Unwrap() error { return e.Errno }

// Do sends messages in one write. The kernel works on them in order, goes on
// after one that it refuses, and Do returns the first refusal.
func (c *Conn) Do(batch ...*Message) error {
	_, err := c.exchange(batch, nil)
	return err
}

// Get sends one message and calls each for every message of the answer,
// without its header. A dump that the kernel could not make in one piece
// (NLM_F_DUMP_INTR: something changed meanwhile) is asked for again.
func (c *Conn) Get(m *Message, each func(kind uint16, body []byte)) error {
	const attempts = 20
	for range attempts {
		var kinds []uint16
		var bodies [][]byte
		interrupted, err := c.exchange([]*Message{m}, func(kind uint16, body []byte) {
			kinds, bodies = append(kinds, kind), append(bodies, append([]byte(nil), body...))
		})
		if err != nil {
			return err
		}
		if interrupted {
			continue
		}
		for i := range kinds {
			each(kinds[i], bodies[i])
		}
		return nil
	}
	return errdefs.New(errdefs.Unavailable, "the network changes too fast to be listed").WithHint("try again")
}

func (c *Conn) exchange(batch []*Message, each func(uint16, []byte)) (interrupted bool, err error) {
	first := c.seq + 1
	acked, err := c.send(batch)
	if err != nil {
		return false, err
	}
	var refusal error
	for {
		b, err := c.receive()
		if err != nil {
			return false, err
		}
		for len(b) > 0 {
			var h header
			if h, b, err = nextMessage(b); err != nil {
				return false, err
			}
			index := h.seq - first
			if index >= uint32(len(batch)) {
				continue // an answer to an older request
			}
			interrupted = interrupted || h.flags&unix.NLM_F_DUMP_INTR != 0
			switch h.kind {
			case unix.NLMSG_ERROR:
				e := parseError(h.body, int(index), h.flags)
				if e != nil && refusal == nil {
					refusal = e
				}
				// The refusal of a batch's opening marker is that of the batch,
				// and may be all that is said about it.
				if index >= acked || e != nil && batch[index].marker {
					return interrupted, refusal
				}
			case unix.NLMSG_DONE:
				return interrupted, refusal
			default:
				if each != nil {
					each(h.kind, h.body)
				}
			}
		}
	}
}

// send numbers the messages and writes them. Only the last one that wants an
// acknowledgement gets it, at index acked: refusals of the others are told
// anyway, and every answer costs a system call.
func (c *Conn) send(batch []*Message) (acked uint32, err error) {
	size := 0
	for i, m := range batch {
		if m.tooLong {
			return 0, errdefs.New(errdefs.InvalidArgument, "a value is too long for a netlink message")
		}
		if !m.marker {
			acked = uint32(i)
		}
		size += len(m.b)
	}
	out := make([]byte, 0, size)
	for i, m := range batch {
		c.seq++
		binary.NativeEndian.PutUint32(m.b, uint32(len(m.b)))
		binary.NativeEndian.PutUint32(m.b[8:], c.seq)
		if uint32(i) == acked {
			binary.NativeEndian.PutUint16(m.b[6:], binary.NativeEndian.Uint16(m.b[6:])|unix.NLM_F_ACK)
		}
		out = append(out, m.b...)
	}
	for {
		err = unix.Sendto(c.fd, out, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if err != unix.EINTR {
			return acked, os.NewSyscallError("sendto", err)
		}
	}
}

// header is struct nlmsghdr with what follows it.
type header struct {
	kind, flags uint16
	seq         uint32
	body        []byte
}

// nextMessage takes the first message off b.
func nextMessage(b []byte) (h header, rest []byte, err error) {
	if len(b) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(b))
		if size >= unix.SizeofNlMsghdr && size <= len(b) {
			h = header{binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:]), binary.NativeEndian.Uint32(b[8:]), b[unix.SizeofNlMsghdr:size]}
			return h, b[min((size+3)&^3, len(b)):], nil
		}
	}
	return h, nil, errdefs.New(errdefs.Internal, "malformed netlink answer")
}

// receive returns what is there. The kernel works inside sendto(2): when that
// has returned, its answer is there, or there is none.
func (c *Conn) receive() ([]byte, error) {
	if c.buf == nil {
		c.buf = make([]byte, answerLen)
	}
	for {
		n, _, err := unix.Recvfrom(c.fd, c.buf, unix.MSG_TRUNC|unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return nil, errdefs.New(errdefs.Unavailable, "the kernel did not answer a netlink request")
		case err != nil:
			return nil, os.NewSyscallError("recvfrom", err)
		case n > len(c.buf):
			return nil, errdefs.New(errdefs.Internal, "netlink answer of %d bytes is too long", n)
		default:
			return c.buf[:n], nil
		}
	}
}

// parseError reads struct nlmsgerr; errno 0 is an acknowledgement.
func parseError(body []byte, index int, flags uint16) error {
	if len(body) < 4 {
		return errdefs.New(errdefs.Internal, "malformed netlink error")
	}
	errno := unix.Errno(-int32(binary.NativeEndian.Uint32(body)))
	if errno == 0 {
		return nil
	}
	e := &Error{Index: index, Errno: errno}
	const nlmFCapped, nlmFAckTLVs = 0x100, 0x200
	if flags&nlmFAckTLVs != 0 && len(body) >= 4+unix.SizeofNlMsghdr {
		skip := 4 + unix.SizeofNlMsghdr
		if flags&nlmFCapped == 0 {
			skip = 4 + (int(binary.NativeEndian.Uint32(body[4:]))+3)&^3
		}
		if skip <= len(body) {
			const attrMsg = 1
			if text := Attrs(body[skip:])[attrMsg]; len(text) > 0 {
				e.Text = unix.ByteSliceToString(text)
			}
		}
	}
	return e
}
