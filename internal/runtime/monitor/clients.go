package monitor

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// client is one attached connection.
type client struct {
	fd      int
	wants   byte
	in      []byte // an incomplete frame
	pending []byte // output it has not taken yet; while there is some, no more is read
	eof     bool   // it has sent its last stdin
	dead    bool
}

// maxClients bounds what a flood of connections can cost.
const maxClients = 64

func (m *loop) accept() {
	fd, _, err := unix.Accept4(m.listener, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	if err != nil {
		return
	}
	if len(m.clients) >= maxClients {
		unix.Close(fd)
		return
	}
	m.addClient(fd, 0)
}

func (m *loop) addClient(fd int, wants byte) {
	unix.SetNonblock(fd, true)
	m.clients = append(m.clients, &client{fd: fd, wants: wants})
	m.watch(fd, unix.EPOLLIN)
}

// serve handles what epoll says of a client.
func (m *loop) serve(c *client, what uint32) {
	if what&unix.EPOLLOUT != 0 {
		m.flush(c)
	}
	if what&^unix.EPOLLOUT != 0 {
		m.receive(c)
	}
	m.dropDead()
	m.balance()
}

func (m *loop) receive(c *client) {
	var b [4096]byte
	n, err := unix.Read(c.fd, b[:])
	if err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	if err != nil || n == 0 {
		c.dead = true
		return
	}
	c.in = append(c.in, b[:n]...)
	for len(c.in) >= frameHeader {
		size := int(binary.BigEndian.Uint32(c.in[4:]))
		if size > maxPayload {
			c.dead = true
			return
		}
		if len(c.in) < frameHeader+size {
			return
		}
		m.request(c, c.in[0], c.in[frameHeader:frameHeader+size])
		c.in = c.in[:copy(c.in, c.in[frameHeader+size:])]
	}
}

func (m *loop) clientEvents(c *client) (events uint32) {
	if !m.stuffed {
		events |= unix.EPOLLIN
	}
	if len(c.pending) > 0 {
		events |= unix.EPOLLOUT
	}
	return events
}

func (m *loop) request(c *client, kind byte, p []byte) {
	switch kind {
	case frameAttach:
		if len(p) == 5 {
			c.wants = p[0]
			m.resize(binary.BigEndian.Uint16(p[1:]), binary.BigEndian.Uint16(p[3:]))
		}
	case frameStdin:
		m.input(p)
	case frameResize:
		if len(p) == 4 {
			m.resize(binary.BigEndian.Uint16(p), binary.BigEndian.Uint16(p[2:]))
		}
	case frameEOF:
		c.eof = true
		if m.plan.StdinOnce && len(m.unsent) == 0 {
			m.closeStdin()
		}
	}
}

// send writes a frame, keeping what does not fit.
func (m *loop) send(c *client, b []byte) {
	if len(c.pending) > 0 {
		c.pending = append(c.pending, b...)
		return
	}
	n, err := unix.SendmsgN(c.fd, b, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
	switch {
	case err == unix.EAGAIN:
		n = 0
	case err != nil:
		c.dead = true
		return
	}
	if n < len(b) {
		c.pending = append(c.pending, b[n:]...)
		m.rewatch(c.fd, m.clientEvents(c))
	}
}

func (m *loop) flush(c *client) {
	n, err := unix.SendmsgN(c.fd, c.pending, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return
	case err != nil:
		c.dead = true
		return
	}
	if c.pending = c.pending[n:]; len(c.pending) == 0 {
		c.pending = nil
		m.rewatch(c.fd, m.clientEvents(c))
	}
}

// dropDead forgets clients whose connection ended. With StdinOnce the
// program's stdin ends with the client that fed it.
func (m *loop) dropDead() {
	kept := m.clients[:0]
	for _, c := range m.clients {
		if !c.dead {
			kept = append(kept, c)
			continue
		}
		unix.Close(c.fd)
		if m.plan.StdinOnce && c.wants&wantStdin != 0 && len(m.unsent) == 0 {
			m.closeStdin()
		}
	}
	clear(m.clients[len(kept):])
	m.clients = kept
}

// announce tells every client the exit code, behind the output it still has to take.
func (m *loop) announce(last []byte) {
	os.Remove(m.plan.Socket)
	for {
		// Connections made up to now are waiting for the end as well.
		fd, _, err := unix.Accept4(m.listener, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		if err != nil {
			break
		}
		m.addClient(fd, 0)
	}
	for _, c := range m.clients {
		m.send(c, last)
	}
	m.dropDead()
}

// linger waits until slow clients have taken their last output.
func (m *loop) linger() {
	for end := time.Now().Add(lingerLimit); time.Now().Before(end); {
		waiting := false
		for _, c := range m.clients {
			waiting = waiting || len(c.pending) > 0
		}
		if !waiting {
			break
		}
		var events [8]unix.EpollEvent
		n, _ := unix.EpollWait(m.epoll, events[:], 1000)
		for _, e := range events[:max(n, 0)] {
			for _, c := range m.clients {
				if c.fd == int(e.Fd) && len(c.pending) > 0 {
					m.flush(c)
				}
			}
		}
		m.dropDead()
	}
	for _, c := range m.clients {
		unix.Close(c.fd)
	}
	unix.Close(m.listener)
}

// lingerLimit bounds how long a client that does not read can keep a dead container's monitor.
const lingerLimit = 30 * time.Second

// withAddress calls f with an address for path that is short enough for the kernel.
func withAddress(path string, f func(unix.Sockaddr) error) error {
	if len(path) < 100 {
		return f(&unix.SockaddrUnix{Name: path})
	}
	dir, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	return f(&unix.SockaddrUnix{Name: "/proc/self/fd/" + strconv.Itoa(dir) + "/" + filepath.Base(path)})
}
