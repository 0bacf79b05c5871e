package systemd

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"berth/internal/errdefs"

	"golang.org/x/sys/unix"
)

// Where systemd listens. Its own socket needs no bus daemon and is root's
// alone; the bus is what is documented, and there where the first is not.
const (
	privateSocket = "/run/systemd/private"
	busSocket     = "/run/dbus/system_bus_socket"

	managerName  = "org.freedesktop.systemd1"
	managerPath  = "/org/freedesktop/systemd1"
	managerIface = "org.freedesktop.systemd1.Manager"
	busName      = "org.freedesktop.DBus"
	busPath      = "/org/freedesktop/DBus"
)

// answerLimit bounds the wait for systemd where the caller's context does not.
const answerLimit = 30 * time.Second

// conn is a connection to the manager.
type conn struct {
	fd      int
	in      []byte // received and not yet read
	serial  uint32
	removed []jobResult // jobs that ended while something else was awaited
}

// jobResult is what a JobRemoved signal says.
type jobResult struct{ job, result string }

// dial connects to the first socket that there is.
func dial(ctx context.Context) (*conn, error) {
	c, err := open(ctx, privateSocket)
	if err == nil {
		return c, nil
	}
	c, busErr := open(ctx, busSocket)
	if busErr != nil {
		return nil, (&errdefs.Error{Kind: errdefs.Unavailable, Op: "reach", Subject: "systemd", Err: errors.Join(err, busErr)}).
			WithHint("without systemd, name a --cgroup-parent that does not end in .slice")
	}
	if err := c.enterBus(ctx); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// open connects to a socket and says who we are; the kernel vouches for it (SO_PEERCRED).
func open(ctx context.Context, path string) (*conn, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	c := &conn{fd: fd}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		c.close()
		return nil, &fs.PathError{Op: "connect", Path: path, Err: err}
	}
	if err := c.authenticate(ctx); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *conn) close() { unix.Close(c.fd) }

// authenticate runs the SASL exchange. Nothing but "OK" lets us go on, so the
// line after it is sent without waiting.
func (c *conn) authenticate(ctx context.Context) error {
	uid := hex.EncodeToString([]byte(strconv.Itoa(os.Geteuid())))
	if err := c.send([]byte("\x00AUTH EXTERNAL " + uid + "\r\nBEGIN\r\n")); err != nil {
		return err
	}
	for {
		if line, rest, ok := bytes.Cut(c.in, []byte("\r\n")); ok {
			if !bytes.HasPrefix(line, []byte("OK ")) {
				return errdefs.New(errdefs.Forbidden, "systemd does not let us in: %q", line)
			}
			c.in = rest
			return nil
		}
		if len(c.in) > 4096 {
			return errdefs.New(errdefs.Unavailable, "systemd does not speak D-Bus")
		}
		if err := c.receive(ctx); err != nil {
			return err
		}
	}
}

// enterBus does what a bus wants first: a name, and which signals we want to see.
func (c *conn) enterBus(ctx context.Context) error {
	if _, err := c.call(ctx, &call{destination: busName, path: busPath, iface: busName, member: "Hello"}); err != nil {
		return err
	}
	var match encoder
	match.str("type='signal',sender='" + managerName + "',interface='" + managerIface + "',member='JobRemoved'")
	if _, err := c.call(ctx, &call{destination: busName, path: busPath, iface: busName, member: "AddMatch", signature: "s", body: match.b}); err != nil {
		return err
	}
	_, err := c.call(ctx, &call{destination: managerName, path: managerPath, iface: managerIface, member: "Subscribe"})
	return err
}

// send writes all of b.
func (c *conn) send(b []byte) error {
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

// receive adds to c.in what comes next, or gives up when ctx is done.
func (c *conn) receive(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return errdefs.New(errdefs.Unavailable, "systemd does not answer: %w", context.Cause(ctx))
		}
		poll := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(poll, 50); err != nil && err != unix.EINTR {
			return os.NewSyscallError("poll", err)
		} else if n <= 0 {
			continue // look at ctx again
		}
		var buf [4096]byte
		n, err := unix.Read(c.fd, buf[:])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return os.NewSyscallError("read", err)
		case n == 0:
			return &errdefs.Error{Kind: errdefs.Unavailable, Op: "read", Subject: "from systemd", Err: io.ErrUnexpectedEOF}
		default:
			c.in = append(c.in, buf[:n]...)
			return nil
		}
	}
}

// next returns the next message.
func (c *conn) next(ctx context.Context) (*message, error) {
	for {
		if len(c.in) >= fixedHeader {
			head, body, err := messageSize(c.in)
			if err != nil {
				return nil, err
			}
			if size := head + body; len(c.in) >= size {
				m, err := unmarshal(c.in[:size:size])
				c.in = c.in[size:]
				return m, err
			}
		}
		if err := c.receive(ctx); err != nil {
			return nil, err
		}
	}
}

// call sends a method call and returns the body of its reply.
func (c *conn) call(ctx context.Context, m *call) (*decoder, error) {
	c.serial++
	serial := c.serial
	if err := c.send(m.marshal(serial)); err != nil {
		return nil, err
	}
	for {
		r, err := c.next(ctx)
		if err != nil {
			return nil, err
		}
		switch {
		case r.kind == signal:
			c.note(r)
		case r.replySerial != serial:
		case r.kind == methodReturn:
			return &r.body, nil
		case r.kind == errorReply:
			return nil, replyError(m.member, r)
		}
	}
}

// note keeps the result of a job.
func (c *conn) note(m *message) {
	if m.member != "JobRemoved" {
		return
	}
	d := &m.body // uoss: id, job, unit, result
	d.u32()
	job := d.str()
	d.str()
	if result := d.str(); !d.bad {
		c.removed = append(c.removed, jobResult{job, result})
	}
}

// wait returns the result of a job when it has ended.
func (c *conn) wait(ctx context.Context, job string) (string, error) {
	for {
		for _, r := range c.removed {
			if r.job == job {
				return r.result, nil
			}
		}
		c.removed = c.removed[:0]
		m, err := c.next(ctx)
		if err != nil {
			return "", err
		}
		if m.kind == signal {
			c.note(m)
		}
	}
}

// replyError translates an error reply.
func replyError(member string, m *message) error {
	text := m.body.str()
	kind := errdefs.Internal
	switch name := m.errorName[strings.LastIndexByte(m.errorName, '.')+1:]; name {
	case "UnitExists":
		kind = errdefs.AlreadyExists
	case "NoSuchUnit":
		kind = errdefs.NotFound
	case "InvalidArgs", "PropertyReadOnly", "UnknownProperty":
		kind = errdefs.InvalidArgument
	case "AccessDenied", "InteractiveAuthorizationRequired":
		kind = errdefs.Forbidden
	}
	return &errdefs.Error{Kind: kind, Op: "ask systemd to do", Subject: member, Err: errors.New(m.errorName + ": " + text)}
}
