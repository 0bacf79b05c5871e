package monitor

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/program"
)

// Connection is a client's end of a monitor's socket.
type Connection struct {
	fd      int
	mu      sync.Mutex // orders frames that several goroutines send
	header  [frameHeader]byte
	payload []byte
}

// Streams choose what a connection carries.
type Streams struct {
	Stdin, Stdout, Stderr bool
	Rows, Cols            uint16 // of the client's terminal, 0: none
}

func (s Streams) flags() (f byte) {
	for i, want := range []bool{s.Stdin, s.Stdout, s.Stderr} {
		if want {
			f |= 1 << i
		}
	}
	return f
}

// Flags returns the streams in the form that Plan.Attach takes.
func (s Streams) Flags() byte { return s.flags() }

// NewConnection wraps the launcher's control socket, a blocking one.
func NewConnection(fd int) *Connection { return &Connection{fd: fd} }

// Connect attaches to the running container whose monitor listens at path.
func Connect(path string, s Streams) (*Connection, error) {
	c, err := dial(path)
	if err != nil {
		return nil, err
	}
	p := binary.BigEndian.AppendUint16([]byte{s.flags()}, s.Rows)
	return c, c.write(frameAttach, binary.BigEndian.AppendUint16(p, s.Cols))
}

// ConnectExec connects for one additional process in the container whose attach
// socket is at path. Send and AwaitStart follow, then Copy, which carries no
// streams here but returns the exit code.
func ConnectExec(path string) (*Connection, error) { return dial(ExecSocket(path)) }

func dial(path string) (*Connection, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := withAddress(path, func(a unix.Sockaddr) error { return unix.Connect(fd, a) }); err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "connect", Path: path, Err: err}
	}
	return NewConnection(fd), nil
}

// FD returns the socket's descriptor, for Send.
func (c *Connection) FD() int { return c.fd }

// Close ends the connection; the container goes on.
func (c *Connection) Close() error { return unix.Close(c.fd) }

// AwaitStart waits for the answer to Send: the pid of PID 1, or a
// *program.Failure, or the monitor's own error.
func (c *Connection) AwaitStart() (pid int, err error) {
	kind, p, err := c.read()
	switch {
	case errors.Is(err, io.EOF):
		return 0, errdefs.New(errdefs.Internal, "the monitor ended before the container started")
	case err != nil:
		return 0, err
	case kind == frameStarted && len(p) == 4:
		return int(binary.BigEndian.Uint32(p)), nil
	case kind == frameFailed && len(p) >= 8:
		step, errno := int32(binary.BigEndian.Uint32(p)), binary.BigEndian.Uint32(p[4:])
		if step < 0 {
			return 0, errdefs.New(errdefs.Internal, "%s", p[8:])
		}
		return 0, &program.Failure{Index: int(step), Errno: unix.Errno(errno)}
	}
	return 0, errdefs.New(errdefs.Internal, "unexpected answer from the monitor")
}

// Resize tells the container's terminal its new size.
func (c *Connection) Resize(rows, cols uint16) error {
	return c.write(frameResize, binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, rows), cols))
}

// Copy moves bytes between the streams and the container until it ends, and
// returns its exit code. in may be nil; an error of in other than io.EOF ends
// Copy at once and is returned, with the container still running.
func (c *Connection) Copy(in io.Reader, out, errw io.Writer) (code int, err error) {
	stopped := make(chan error, 1)
	if in != nil {
		go func() {
			if err := c.feed(in); err != nil {
				stopped <- err
				unix.Shutdown(c.fd, unix.SHUT_RDWR) // wakes the reading side
			}
		}()
	}
	for {
		kind, p, err := c.read()
		if err != nil {
			select {
			case err := <-stopped:
				return 0, err
			default:
			}
			return 0, errdefs.New(errdefs.Internal, "the connection to the container's monitor was lost").
				WithHint("berth ps -a shows what became of the container")
		}
		switch kind {
		case frameStdout:
			_, err = out.Write(p)
		case frameStderr:
			_, err = errw.Write(p)
		case frameExited:
			return int(binary.BigEndian.Uint32(p)), nil
		}
		if err != nil {
			return 0, err
		}
	}
}

func (c *Connection) feed(in io.Reader) error {
	buf := make([]byte, maxPayload)
	for {
		n, err := in.Read(buf)
		if n > 0 {
			if werr := c.write(frameStdin, buf[:n]); werr != nil {
				return nil // the container is over; the reading side says so
			}
		}
		if errors.Is(err, io.EOF) {
			c.write(frameEOF, nil)
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (c *Connection) write(kind byte, p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := make([]byte, frameHeader, frameHeader+len(p))
	putHeader(b, kind, len(p))
	b = append(b, p...)
	for len(b) > 0 {
		n, err := unix.SendmsgN(c.fd, b, nil, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("sendmsg", err)
		}
		b = b[n:]
	}
	return nil
}

// read returns the next frame; p is valid until the next call.
func (c *Connection) read() (kind byte, p []byte, err error) {
	if _, err := io.ReadFull(socket(c.fd), c.header[:]); err != nil {
		return 0, nil, err
	}
	n := int(binary.BigEndian.Uint32(c.header[4:]))
	if n > 4*maxPayload {
		return 0, nil, errdefs.New(errdefs.Internal, "malformed frame from the monitor")
	}
	if cap(c.payload) < n {
		c.payload = make([]byte, max(n, maxPayload))
	}
	p = c.payload[:n]
	_, err = io.ReadFull(socket(c.fd), p)
	return c.header[0], p, err
}

// socket reads a blocking descriptor.
type socket int

func (s socket) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(s), p)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		}
		return n, nil
	}
}
