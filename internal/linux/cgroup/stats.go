package cgroup

import (
	"bytes"
	"errors"
	"io/fs"
	"math"
	"strconv"

	"berth/internal/errdefs"
)

// Stats is what the processes of a group have used, and use now.
type Stats struct {
	CPUUsage         uint64 // nanoseconds on all CPUs together
	Periods          uint64 // periods of bandwidth control in which the group ran
	ThrottledPeriods uint64 // those in which it had to wait
	ThrottledTime    uint64 // nanoseconds

	MemoryUsage  uint64 // bytes, with the page cache
	InactiveFile uint64 // bytes of page cache that can be given back at once
	MemoryLimit  uint64 // bytes; math.MaxUint64 without limit

	PIDs uint64 // processes and threads

	BlockRead  uint64 // bytes
	BlockWrite uint64
}

// MemoryInUse returns the memory without the cache that can be given back, the
// figure that "stats" shows.
func (s *Stats) MemoryInUse() uint64 {
	if s.InactiveFile < s.MemoryUsage {
		return s.MemoryUsage - s.InactiveFile
	}
	return s.MemoryUsage
}

// scratch holds one control file after the other.
type scratch struct{ buf []byte }

// number reads a file with one number: 0 without such a file, math.MaxUint64 for "max".
func (s *scratch) number(path string) (uint64, error) {
	b, err := s.read(path)
	b = bytes.TrimSpace(b)
	if string(b) == "max" {
		return math.MaxUint64, err
	}
	n, _ := parseUint(b)
	return n, err
}

// read reads a whole file, valid until the next. A file that does not exist is
// empty: the controller is off, or the kernel older.
func (s *scratch) read(path string) ([]byte, error) {
	var err error
	s.buf, err = read(path, s.buf[:0])
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return s.buf, err
}

// Stats reads the figures. They are not of one instant.
func (g *Group) Stats() (Stats, error) {
	if !g.Exists() {
		return Stats{}, errdefs.New(errdefs.NotFound, "cannot read cgroup %s: it does not exist", g.Name)
	}
	s := scratch{make([]byte, 0, 8192)}
	st := Stats{MemoryLimit: math.MaxUint64}
	var err error
	if g.host.Version == V2 {
		err = g.statsV2(&s, &st)
	} else {
		err = g.statsV1(&s, &st)
	}
	return st, errdefs.Wrap(err, "read", "cgroup "+g.Name)
}

// CPUUsage returns Stats.CPUUsage alone, at the price of one file.
func (g *Group) CPUUsage() (uint64, error) {
	var buf [1024]byte
	if g.host.Version == V2 {
		b, err := read(g.Path("")+"/cpu.stat", buf[:0])
		return find(b, "usage_usec") * 1000, err
	}
	b, err := read(g.Path("cpuacct")+"/cpuacct.usage", buf[:0])
	n, _ := parseUint(bytes.TrimSpace(b))
	return n, err
}

func (g *Group) statsV1(s *scratch, st *Stats) error {
	var errs [5]error
	if dir := g.Path("cpuacct"); dir != "" {
		st.CPUUsage, errs[0] = s.number(dir + "/cpuacct.usage")
	}
	if dir := g.Path("cpu"); dir != "" {
		var b []byte
		b, errs[1] = s.read(dir + "/cpu.stat")
		st.Periods, st.ThrottledPeriods, st.ThrottledTime = find(b, "nr_periods"), find(b, "nr_throttled"), find(b, "throttled_time")
	}
	if dir := g.Path("memory"); dir != "" {
		st.MemoryUsage, errs[2] = s.number(dir + "/memory.usage_in_bytes")
		b, err := s.read(dir + "/memory.stat")
		errs[3] = err
		st.InactiveFile = find(b, "total_inactive_file")
		// The lowest limit from here to the root. Without one it is the
		// greatest number of whole pages in an int64.
		if limit := find(b, "hierarchical_memory_limit"); limit > 0 && limit < math.MaxInt64&^0xffff {
			st.MemoryLimit = limit
		}
	}
	if dir := g.Path("pids"); dir != "" {
		st.PIDs, errs[4] = s.number(dir + "/pids.current")
	}
	return errors.Join(errors.Join(errs[:]...), g.blkioV1(s, st))
}

// blkioV1 takes the figures of the i/o scheduler, or else of the throttling
// layer. The recursive file is since Linux 4.20 (throttle) and counts groups
// below. Since Linux 6.10 the throttling layer counts only where somebody has
// set a limit; then the processes themselves are asked.
func (g *Group) blkioV1(s *scratch, st *Stats) error {
	if dir := g.Path("blkio"); dir != "" {
		for _, file := range [...]string{"/blkio.bfq.io_service_bytes_recursive", "/blkio.throttle.io_service_bytes_recursive", "/blkio.throttle.io_service_bytes"} {
			b, err := s.read(dir + file)
			if err != nil {
				return err
			}
			st.BlockRead, st.BlockWrite = sumBlkio(b)
			if st.BlockRead+st.BlockWrite > 0 {
				return nil
			}
		}
	}
	pids, err := g.PIDs()
	for _, pid := range pids {
		// It holds what ended and waited-for children did, too (proc_pid_io(5)).
		b, err := s.read("/proc/" + strconv.Itoa(pid) + "/io")
		if err != nil {
			continue // it ended, or it is not ours to ask
		}
		st.BlockRead += find(b, "read_bytes:")
		if written, cancelled := find(b, "write_bytes:"), find(b, "cancelled_write_bytes:"); written > cancelled {
			st.BlockWrite += written - cancelled
		}
	}
	return err
}

func (g *Group) statsV2(s *scratch, st *Stats) error {
	dir := g.Path("")
	var errs [6]error
	var b []byte
	b, errs[0] = s.read(dir + "/cpu.stat")
	st.CPUUsage, st.ThrottledTime = find(b, "usage_usec")*1000, find(b, "throttled_usec")*1000
	st.Periods, st.ThrottledPeriods = find(b, "nr_periods"), find(b, "nr_throttled")
	st.MemoryUsage, errs[1] = s.number(dir + "/memory.current")
	if st.MemoryLimit, errs[2] = s.number(dir + "/memory.max"); st.MemoryLimit == 0 {
		st.MemoryLimit = math.MaxUint64 // the root group, or the controller is off
	}
	b, errs[3] = s.read(dir + "/memory.stat")
	st.InactiveFile = find(b, "inactive_file")
	st.PIDs, errs[4] = s.number(dir + "/pids.current")
	b, errs[5] = s.read(dir + "/io.stat")
	st.BlockRead, st.BlockWrite = sumIO(b)
	return errors.Join(errs[:]...)
}

// OOMKills returns how many processes of the group the kernel has killed for
// want of memory; 0 where it does not count them (v1 before Linux 4.13).
func (g *Group) OOMKills() (int64, error) {
	dir, file := g.Path("memory"), "/memory.oom_control"
	if g.host.Version == V2 {
		file = "/memory.events"
	}
	if dir == "" {
		return 0, nil
	}
	var buf [512]byte
	b, err := read(dir+file, buf[:0])
	return int64(find(b, "oom_kill")), err
}

// find returns the number after key in a file of lines "key number", or 0.
func find(b []byte, key string) uint64 {
	for len(b) > 0 {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte{'\n'})
		if len(line) > len(key) && line[len(key)] == ' ' && string(line[:len(key)]) == key {
			n, _ := parseUint(line[len(key)+1:])
			return n
		}
	}
	return 0
}

// sumBlkio adds up lines "8:0 Read 4096"; the line "Total ..." has no device.
func sumBlkio(b []byte) (read, write uint64) {
	for len(b) > 0 {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte{'\n'})
		_, rest, _ := bytes.Cut(line, []byte{' '})
		op, number, _ := bytes.Cut(rest, []byte{' '})
		n, _ := parseUint(number)
		switch string(op) {
		case "Read":
			read += n
		case "Write":
			write += n
		}
	}
	return read, write
}

// sumIO adds up lines "8:0 rbytes=4096 wbytes=0 rios=1 ...".
func sumIO(b []byte) (read, write uint64) {
	for len(b) > 0 {
		var field []byte
		i := bytes.IndexAny(b, " \n")
		if i < 0 {
			field, b = b, nil
		} else {
			field, b = b[:i], b[i+1:]
		}
		if value, ok := bytes.CutPrefix(field, []byte("rbytes=")); ok {
			n, _ := parseUint(value)
			read += n
		} else if value, ok := bytes.CutPrefix(field, []byte("wbytes=")); ok {
			n, _ := parseUint(value)
			write += n
		}
	}
	return read, write
}

// parseUint reads a decimal number without the allocation of strconv's errors.
func parseUint(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		if c < '0' || c > '9' || n > (math.MaxUint64-uint64(c-'0'))/10 {
			return 0, false
		}
		n = 10*n + uint64(c-'0')
	}
	return n, true
}
