package monitor

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// loop is the monitor at work: the container's descriptors, its clients, and
// one buffer for whatever is on its way. It is used by one goroutine.
type loop struct {
	plan  *Plan
	hooks Hooks
	log   Log

	epoll        int
	listener     int // of attaching clients
	execListener int
	pid          int
	pidfd        int
	master       int    // the terminal, or -1
	stdin        int    // writable end, -1 when closed
	out          [2]int // readable ends of stdout and stderr, -1 when closed
	paused       bool   // outputs are not read because a client is full
	stuffed      bool   // clients are not read because the program's stdin is full
	ended        bool   // PID 1 has been reaped
	code         int
	deadline     time.Time // when to give up on output that stays open

	clients []*client
	execs   []*execChild
	unsent  []byte // stdin that the program has not taken yet
	buf     [frameHeader + maxPayload]byte
}

// drainLimit is how long output may stay open after PID 1 has ended: only a
// process outside the container that inherited it can keep it so.
const drainLimit = 2 * time.Second

// run serves until PID 1 has ended and its output is drained.
func (m *loop) run() {
	for _, fd := range []int{m.pidfd, m.out[0], m.out[1]} {
		if fd >= 0 {
			m.watch(fd, unix.EPOLLIN)
		}
	}
	for _, fd := range []int{m.stdin, m.out[0], m.out[1]} {
		if fd >= 0 {
			unix.SetNonblock(fd, true)
		}
	}
	var events [16]unix.EpollEvent
	for !m.ended || m.out[0] >= 0 || m.out[1] >= 0 {
		timeout := -1
		if m.ended {
			if timeout = int(time.Until(m.deadline).Milliseconds()); timeout <= 0 {
				break
			}
			timeout = max(timeout, 100)
		}
		n, err := unix.EpollWait(m.epoll, events[:], timeout)
		if err != nil && err != unix.EINTR {
			break
		}
		for _, e := range events[:max(n, 0)] {
			m.event(int(e.Fd), e.Events)
		}
	}
	m.log.Close()
}

func (m *loop) event(fd int, what uint32) {
	switch fd {
	case m.pidfd:
		m.reap()
	case m.listener:
		m.accept()
	case m.execListener:
		m.serveExec()
	case m.out[0]:
		if m.master >= 0 && what&unix.EPOLLOUT != 0 {
			m.feed()
		}
		if what&^unix.EPOLLOUT != 0 {
			m.output(0)
		}
	case m.out[1]:
		m.output(1)
	case m.stdin:
		m.feed()
	default:
		if m.reapExec(fd) {
			return
		}
		for _, c := range m.clients {
			if c.fd == fd {
				m.serve(c, what)
				return
			}
		}
	}
}

func (m *loop) watch(fd int, events uint32) {
	unix.EpollCtl(m.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

func (m *loop) rewatch(fd int, events uint32) {
	unix.EpollCtl(m.epoll, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// reap takes the exit status. Descendants of PID 1 in its own pid namespace
// are dead by now; in a shared one they are killed.
func (m *loop) reap() {
	code, ended := reap(m.pid)
	if !ended {
		return
	}
	m.code, m.ended, m.deadline = code, true, time.Now().Add(drainLimit)
	unix.Close(m.pidfd) // leaves the epoll set with its last descriptor
	m.pidfd = -1
	if m.plan.SharesPIDNS {
		m.hooks.KillRest(m.plan)
	}
	m.balance()
}

// output moves one chunk from the program to the log and the clients.
func (m *loop) output(stream int) {
	fd := m.out[stream]
	n, err := unix.Read(fd, m.buf[frameHeader:])
	if err == unix.EINTR || err == unix.EAGAIN {
		return
	}
	if err != nil || n == 0 { // a terminal whose last slave is closed reads EIO
		unix.Close(fd)
		m.out[stream] = -1
		if fd == m.stdin {
			m.stdin = -1
		}
		return
	}
	kind := byte(frameStdout + stream)
	m.log.Write(kind, m.buf[frameHeader:frameHeader+n], time.Now())
	putHeader(m.buf[:], kind, n)
	for _, c := range m.clients {
		if c.wants&(wantStdout<<stream) != 0 {
			m.send(c, m.buf[:frameHeader+n])
		}
	}
	m.dropDead()
	m.balance()
}

// balance stops reading the program while a client has not taken the last
// chunk, and the clients while the program has not taken its input: who writes
// too fast waits, and nothing is lost or piled up.
func (m *loop) balance() {
	if stuffed := len(m.unsent) >= maxPayload; stuffed != m.stuffed {
		m.stuffed = stuffed
		for _, c := range m.clients {
			m.rewatch(c.fd, m.clientEvents(c))
		}
	}
	full := false
	for _, c := range m.clients {
		// After the end no more than two pipes' content can come: it is taken
		// in at once, so that a client that has stopped reading delays nothing.
		full = full || len(c.pending) > 0 && !m.ended
	}
	if full == m.paused {
		return
	}
	m.paused = full
	for _, fd := range m.out {
		if fd >= 0 {
			m.rewatch(fd, m.outputEvents())
		}
	}
}

func (m *loop) outputEvents() (events uint32) {
	if !m.paused {
		events |= unix.EPOLLIN
	}
	if m.master >= 0 && len(m.unsent) > 0 {
		events |= unix.EPOLLOUT
	}
	return events
}

// input takes bytes from a client for the program.
func (m *loop) input(p []byte) {
	if m.stdin < 0 {
		return
	}
	wasEmpty := len(m.unsent) == 0
	m.unsent = append(m.unsent, p...)
	m.feed()
	if wasEmpty && len(m.unsent) > 0 {
		if m.master >= 0 {
			m.rewatch(m.master, m.outputEvents())
		} else {
			m.watch(m.stdin, unix.EPOLLOUT)
		}
	}
}

// feed writes what the program takes of the waiting input.
func (m *loop) feed() {
	for len(m.unsent) > 0 && m.stdin >= 0 {
		n, err := unix.Write(m.stdin, m.unsent)
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			m.balance()
			return
		}
		if err != nil {
			m.closeStdin()
			return
		}
		m.unsent = m.unsent[:copy(m.unsent, m.unsent[n:])]
	}
	if m.master >= 0 {
		m.rewatch(m.master, m.outputEvents())
	} else if m.stdin >= 0 {
		unix.EpollCtl(m.epoll, unix.EPOLL_CTL_DEL, m.stdin, nil)
	}
	for _, c := range m.clients {
		if c.eof && m.plan.StdinOnce {
			m.closeStdin()
		}
	}
	m.balance()
}

func (m *loop) closeStdin() {
	m.unsent = nil
	if m.stdin < 0 || m.master >= 0 {
		return
	}
	unix.Close(m.stdin)
	m.stdin = -1
}

// listen makes the two sockets of a container.
func (m *loop) listen(path string) error {
	var err error
	if m.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if m.listener, err = m.listenAt(path); err != nil {
		return err
	}
	m.execListener, err = m.listenAt(ExecSocket(path))
	return err
}

// listenAt makes a socket that only its owner can connect to. A socket's
// address is limited to 107 bytes and state roots are not, so it is named
// through its directory's handle.
func (m *loop) listenAt(path string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	os.Remove(path)
	err = withAddress(path, func(a unix.Sockaddr) error {
		old := unix.Umask(0o177)
		defer unix.Umask(old)
		return unix.Bind(fd, a)
	})
	if err == nil {
		err = unix.Listen(fd, 64)
	}
	if err != nil {
		unix.Close(fd)
		return -1, &os.PathError{Op: "listen on", Path: path, Err: err}
	}
	m.watch(fd, unix.EPOLLIN)
	return fd, nil
}
