package ps

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"berth/internal/errdefs"

	"golang.org/x/sys/unix"
)

// hertz is the unit of times in /proc, the same on every machine Go runs on (time(7)).
const hertz = 100

// mostArgs bounds what is read of a command line, which may be megabytes.
const mostArgs = 64 << 10

// ids are the real and the effective id of a user or group.
type ids struct{ real, effective uint32 }

// proc is one process as /proc has it (proc_pid_stat(5), proc_pid_status(5)).
type proc struct {
	pid                                        int
	comm                                       string
	state                                      byte
	ppid, pgrp, session, tty, tpgid            int64
	flags, ticks, start                        uint64 // ticks: user and system time together
	priority, nice, threads, processor, rtPrio int64
	uid, gid                                   ids
	vsize, rss, locked                         uint64 // KiB
	args                                       string
}

// snapshot is what the columns are computed from beside the process itself.
type snapshot struct {
	now      time.Time
	sinceUp  time.Duration
	memTotal uint64 // KiB
	users    names
	groups   names
	scratch  []byte
}

// newSnapshot reads what is common to all processes.
func newSnapshot() (*snapshot, error) {
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return nil, os.NewSyscallError("clock_gettime", err)
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return nil, os.NewSyscallError("sysinfo", err)
	}
	return &snapshot{now: time.Now(), sinceUp: time.Duration(up.Nano()), memTotal: uint64(info.Totalram) * uint64(info.Unit) / 1024,
		users: names{file: "/etc/passwd"}, groups: names{file: "/etc/group"}}, nil
}

// read reads a process. The error's kind is NotFound when it has ended.
func (s *snapshot) read(pid int, withArgs bool) (*proc, error) {
	p := &proc{pid: pid}
	dir := "/proc/" + strconv.Itoa(pid)
	text, err := s.file(dir+"/stat", 4096)
	if err != nil {
		return nil, gone(pid, err)
	}
	if !p.parseStat(text) {
		return nil, errdefs.New(errdefs.Internal, "malformed %s/stat", dir)
	}
	if text, err = s.file(dir+"/status", 16<<10); err != nil {
		return nil, gone(pid, err)
	}
	p.parseStatus(text)
	if withArgs {
		if text, err = s.file(dir+"/cmdline", mostArgs); err != nil {
			return nil, gone(pid, err)
		}
		p.args = clean(bytes.ReplaceAll(bytes.TrimRight(text, "\x00"), []byte{0}, []byte{' '}))
	}
	return p, nil
}

func gone(pid int, err error) error {
	return &errdefs.Error{Kind: errdefs.NotFound, Op: "read", Subject: "process " + strconv.Itoa(pid), Err: err}
}

// file reads at most limit bytes; the result is valid until the next call.
func (s *snapshot) file(path string, limit int) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	s.scratch = s.scratch[:0]
	for len(s.scratch) < limit {
		if cap(s.scratch)-len(s.scratch) < 1024 {
			s.scratch = append(s.scratch, make([]byte, 4096)...)[:len(s.scratch)]
		}
		n, err := unix.Read(fd, s.scratch[len(s.scratch):cap(s.scratch)])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return s.scratch, nil
		default:
			s.scratch = s.scratch[:len(s.scratch)+n]
		}
	}
	return s.scratch[:limit], nil
}

// parseStat reads "pid (name) state ppid ...". The name may hold blanks and
// brackets, so fields are counted from its last bracket.
func (p *proc) parseStat(text []byte) bool {
	first, last := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if first < 0 || last < first {
		return false
	}
	p.comm = clean(text[first+1 : last])
	f := strings.Fields(string(text[last+1:]))
	if len(f) < 38 { // up to field 40 of the manual page, which is 37 here
		return false
	}
	p.state = f[0][0]
	number := func(i int) int64 { n, _ := strconv.ParseInt(f[i], 10, 64); return n }
	p.ppid, p.pgrp, p.session, p.tty, p.tpgid = number(1), number(2), number(3), number(4), number(5)
	p.flags = uint64(number(6))
	p.ticks = uint64(number(11) + number(12))
	p.priority, p.nice, p.threads = number(15), number(16), number(17)
	p.start = uint64(number(19))
	p.processor, p.rtPrio = number(36), number(37)
	return true
}

// parseStatus reads the lines "Key:\tvalue" that stat lacks.
func (p *proc) parseStatus(text []byte) {
	for line := range bytes.Lines(text) {
		key, value, _ := bytes.Cut(line, []byte{':'})
		switch string(key) {
		case "Uid":
			p.uid = parseIDs(value)
		case "Gid":
			p.gid = parseIDs(value)
		case "VmSize":
			p.vsize = kib(value)
		case "VmRSS":
			p.rss = kib(value)
		case "VmLck":
			p.locked = kib(value)
		}
	}
}

func parseIDs(value []byte) ids {
	f := strings.Fields(string(value))
	if len(f) < 2 {
		return ids{}
	}
	r, _ := strconv.ParseUint(f[0], 10, 32)
	e, _ := strconv.ParseUint(f[1], 10, 32)
	return ids{uint32(r), uint32(e)}
}

func kib(value []byte) uint64 {
	n, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(string(value)), " kB"), 10, 64)
	return n
}

// clean replaces what a terminal might obey, or cannot show.
func clean(b []byte) string {
	plain := true
	for _, c := range b {
		if c < ' ' || c > '~' {
			plain = false
			break
		}
	}
	if plain {
		return string(b)
	}
	var out strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n <= 1 || !unicode.IsPrint(r) {
			r = '?'
		}
		out.WriteRune(r)
		b = b[n:]
	}
	return out.String()
}
