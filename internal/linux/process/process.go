// Package process provides facts about processes from /proc (proc(5)): whether
// the one with a given pid is still the same, which signals it handles, whether
// it was killed.
//
// Pids are reused. What identifies a process on one boot is its pid together
// with its start time (field 22 of /proc/PID/stat, in clock ticks since boot).
package process

import (
	"bytes"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
)

// StartTime returns when the process started, in clock ticks since boot.
func StartTime(pid int) (uint64, error) {
	var buf [1024]byte
	n, err := readSmall("/proc/"+strconv.Itoa(pid)+"/stat", buf[:])
	if err != nil {
		return 0, err
	}
	start, state, _ := parseStat(buf[:n])
	if state == 0 {
		return 0, errdefs.New(errdefs.Internal, "malformed /proc/%d/stat", pid)
	}
	return start, nil
}

// Alive reports whether the process that had this pid and start time still
// runs; a zombie does not. But what /proc shows as a process is its first
// thread: that one may end before the others, and does whenever another calls
// execve(2). As long as there are others, the process is alive.
func Alive(pid int, start uint64) bool {
	if pid <= 0 {
		return false
	}
	var buf [1024]byte
	n, err := readSmall("/proc/"+strconv.Itoa(pid)+"/stat", buf[:])
	if err != nil {
		return false
	}
	got, state, threads := parseStat(buf[:n])
	if got != start {
		return false
	}
	return state != 0 && state != 'Z' && state != 'X' || state == 'Z' && threads > 1
}

// parseStat returns fields 22, 3 and 20.
func parseStat(text []byte) (start uint64, state byte, threads int) {
	fields := statFields(text)
	if len(fields) < 20 {
		return 0, 0, 0
	}
	start, err := strconv.ParseUint(string(fields[19]), 10, 64)
	threads, terr := strconv.Atoi(string(fields[17]))
	if err != nil || terr != nil {
		return 0, 0, 0
	}
	return start, fields[0][0], threads
}

// statFields are the fields from the third on. The name in field 2 may hold
// anything, blanks and parentheses too: what follows its last parenthesis counts.
func statFields(text []byte) [][]byte {
	i := bytes.LastIndexByte(text, ')')
	if i < 0 {
		return nil
	}
	return bytes.Fields(text[i+1:])
}

// BootID identifies this boot of the machine.
func BootID() string {
	var buf [64]byte
	n, err := readSmall("/proc/sys/kernel/random/boot_id", buf[:])
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(buf[:n]))
}

// DefaultAction reports whether the process leaves a signal to its default
// action: it neither has a handler nor has chosen to ignore it. On PID 1 of a pid
// namespace the default action of a signal from inside, or of one that would end
// it, is nothing at all (pid_namespaces(7)).
func DefaultAction(pid int, sig unix.Signal) (bool, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return false, err
	}
	for _, name := range [...]string{"SigCgt:", "SigIgn:"} {
		mask, err := strconv.ParseUint(string(statusField(text, name)), 16, 64)
		if err != nil {
			return false, errdefs.New(errdefs.Internal, "no %s in /proc/%d/status", name, pid)
		}
		if mask&(1<<(sig-1)) != 0 {
			return false, nil
		}
	}
	return true, nil
}

// readSmall reads a small file of /proc in one call, without os.File's overhead.
func readSmall(path string, buf []byte) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, &os.PathError{Op: "read", Path: path, Err: err}
		}
		return n, nil
	}
}
