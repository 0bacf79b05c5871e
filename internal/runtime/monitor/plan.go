package monitor

import (
	"encoding/binary"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/jsontext/fields"
	"berth/internal/linux/program"
)

// Plan is what the monitor is told of its container. Descriptors are indexes
// into the list sent along; -1: none.
type Plan struct {
	ID        string
	DataRoot  string
	StateRoot string
	Socket    string // path of the socket for attaching clients

	ExecOnly   bool // one additional process and nothing else, see serveOne
	CloneFlags uint64
	OwnMemory  bool // see program.StartOptions
	ProgramFDs int  // the first so many descriptors are the program's
	PIDNS      int  // a pid namespace to be born in
	Cgroup     int  // a v2 cgroup directory to be born in
	StdinW     int
	StdoutR    int
	StderrR    int
	TermSocket int // receives the terminal's master
	Rows, Cols uint16
	Attach     byte // streams of the launching client (want* flags)
	StdinOnce  bool // close stdin when the client that feeds it goes

	Lease int // a locked file, held until the container is taken down

	LogDriver  string
	LogPath    string
	LogOptions map[string]string

	AutoRemove   bool
	SharesPIDNS  bool // PID 1's children survive it and must be killed
	CgroupParent string
	RestartName  string
	RestartMax   int
	Network      container.Network // what the start made, for the record
	Published    []container.Port
	Restarts     int // how often the policy has started it since the last start by hand
}

const (
	maxLaunch = 1 << 20
	maxFDs    = 128
)

// Send hands a container to a spawned monitor over its control socket.
//
//	total u32 | plan bytes u32 | plan (JSON), padded to 8 bytes | program
func Send(sock int, plan *Plan, p *program.Program, fds []int) error {
	text := fields.Encode(func(c *fields.Codec) { planFields(c, plan) })
	for len(text)%8 != 0 {
		text = append(text, ' ')
	}
	code := p.Marshal()
	msg := make([]byte, 8, 8+len(text)+len(code))
	binary.BigEndian.PutUint32(msg, uint32(4+len(text)+len(code)))
	binary.BigEndian.PutUint32(msg[4:], uint32(len(text)))
	msg = append(append(msg, text...), code...)
	if len(msg) > maxLaunch || len(fds) > maxFDs {
		return errdefs.New(errdefs.Exhausted, "the container's start program is too large (%d bytes, %d descriptors)", len(msg), len(fds)).
			WithHint("shorten its environment or its list of mounts")
	}
	n, err := unix.SendmsgN(sock, msg, unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL)
	for err == nil && n < len(msg) {
		msg = msg[n:]
		n, err = unix.SendmsgN(sock, msg, nil, nil, unix.MSG_NOSIGNAL)
	}
	return os.NewSyscallError("sendmsg", err)
}

// request is what Send sent. Its memory is outside the heap, and given back
// when the program runs: it is most of what a monitor ever needs.
type request struct {
	plan *Plan
	prog *program.Program
	fds  []int
	mem  []byte
}

func (r *request) release() { unix.Munmap(r.mem) }

// receive is the other end of Send. errGone means that the launcher gave up.
func receive(sock int) (_ *request, err error) {
	mem, err := unix.Mmap(-1, 0, maxLaunch, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	r := &request{mem: mem}
	defer func() {
		if err != nil {
			r.closeFDs()
			r.release()
		}
	}()
	var oob [512 + 64]byte // room for maxFDs descriptors
	n, oobn, flags, _, err := recvmsg(sock, mem, oob[:])
	if err != nil {
		return nil, err
	}
	if n < 8 {
		return nil, errGone
	}
	if r.fds, err = rights(oob[:oobn]); err != nil {
		return nil, err
	}
	if flags&unix.MSG_CTRUNC != 0 {
		return nil, errdefs.New(errdefs.Exhausted, "descriptors were lost on the way to the monitor").WithHint("raise the limit of open files")
	}
	total, planLen := int(binary.BigEndian.Uint32(mem))+4, int(binary.BigEndian.Uint32(mem[4:]))
	if total > maxLaunch || planLen > total-8 {
		return nil, errdefs.New(errdefs.Internal, "malformed launch message")
	}
	for n < total {
		m, err := unix.Read(sock, mem[n:total])
		if err == unix.EINTR {
			continue
		}
		if err != nil || m == 0 {
			return nil, errGone
		}
		n += m
	}
	r.plan = &Plan{}
	if !fields.Decode(mem[8:8+planLen], func(c *fields.Codec) { planFields(c, r.plan) }) {
		return nil, errdefs.New(errdefs.Internal, "malformed plan in the launch message")
	}
	if r.prog, err = program.Unmarshal(mem[8+planLen : total]); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *request) closeFDs() {
	for _, fd := range r.fds {
		unix.Close(fd)
	}
}

var errGone = errors.New("the launcher went away")

func recvmsg(sock int, buf, oob []byte) (n, oobn, flags int, from unix.Sockaddr, err error) {
	for {
		n, oobn, flags, from, err = unix.Recvmsg(sock, buf, oob, unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			return n, oobn, flags, from, err
		}
	}
}

// rights returns the descriptors of a control message.
func rights(oob []byte) ([]int, error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var fds []int
	for i := range msgs {
		got, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			return nil, err
		}
		fds = append(fds, got...)
	}
	return fds, nil
}
