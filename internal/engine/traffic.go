package engine

import (
	"strconv"
	"strings"
)

// traffic adds up the bytes of a network namespace's interfaces but the
// loopback, from /proc/<pid>/net/dev (proc_pid_net(5)):
//
//	Inter-|   Receive                                        |  Transmit
//	 face |bytes packets errs drop fifo frame compressed multicast|bytes ...
//	  eth0: 4242      12    0    0    0     0          0         0  1000 ...
func traffic(text string) (rx, tx uint64) {
	const received, sent = 0, 8 // columns
	for line := range strings.Lines(text) {
		name, numbers, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(name) == "lo" {
			continue
		}
		f := strings.Fields(numbers)
		if len(f) <= sent {
			continue
		}
		r, _ := strconv.ParseUint(f[received], 10, 64)
		t, _ := strconv.ParseUint(f[sent], 10, 64)
		rx, tx = rx+r, tx+t
	}
	return rx, tx
}
