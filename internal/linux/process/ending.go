package process

import (
	"bytes"
	"errors"
	"strconv"

	"golang.org/x/sys/unix"
)

// Ending reports whether no process with this pid runs, or the one that does was
// killed: kill(2) returns when the signal is sent, but what the process holds
// (locks, sockets, ports) is free only when the kernel has taken it apart, thread
// by thread, which on a busy machine takes milliseconds.
func Ending(pid int) bool {
	var buf [4096]byte
	n, err := readSmall("/proc/"+strconv.Itoa(pid)+"/status", buf[:])
	if err != nil {
		return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) // ESRCH: since it was opened
	}
	return ending(buf[:n])
}

// ending judges the text of /proc/PID/status. A signal for the whole process
// stays in ShdPnd when it has begun to act; one for a thread (SigPnd) does not.
func ending(status []byte) bool {
	if state := statusField(status, "State:"); len(state) > 0 && (state[0] == 'Z' || state[0] == 'X') {
		return true
	}
	for _, name := range [...]string{"SigPnd:", "ShdPnd:"} {
		mask, err := strconv.ParseUint(string(statusField(status, name)), 16, 64)
		if err == nil && mask&(1<<(unix.SIGKILL-1)) != 0 {
			return true
		}
	}
	return false
}

// statusField returns the value of a line of /proc/PID/status. No other line can
// pass for it: newlines in the name of a process are escaped there.
func statusField(status []byte, name string) []byte {
	_, rest, _ := bytes.Cut(status, []byte("\n"+name))
	value, _, _ := bytes.Cut(rest, []byte("\n"))
	return bytes.TrimSpace(value)
}
