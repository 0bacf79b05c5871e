package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// traced counts the system calls and disk syncs of a command, of all that it
// starts and, for an engine with daemons, of those and all that they start.
// The program in the container is counted too.
func traced(l *lab, c contender) (figures, error) {
	strace, ok := installed("strace")
	if !ok {
		return nil, fmt.Errorf("strace is not installed")
	}
	reports := []string{filepath.Join(l.dir, "strace.command")}
	var daemons *exec.Cmd
	if c.engine != nil && len(c.engine.servants) > 0 {
		reports = append(reports, filepath.Join(l.dir, "strace.daemons"))
		var err error
		if daemons, err = attach(strace, reports[1], c.engine.servants); err != nil {
			return nil, err
		}
	}
	c.command.argv = append([]string{strace, "-f", "-q", "-c", "-o", reports[0]}, c.command.argv...)
	_, _, err := l.cli.run(c.command)
	if daemons != nil {
		l.cli.do(func() { l.cli.settled() })
		daemons.Process.Signal(unix.SIGINT) // strace detaches and reports
		daemons.Wait()
	}
	if err != nil {
		return nil, err
	}
	sum := figures{}
	for _, path := range reports {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		f, err := parseCounts(string(data))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		sum[calls] += f[calls]
		sum[syncs] += f[syncs]
	}
	return sum, nil
}

// attach traces running processes and waits until all their threads are traced.
func attach(strace, report string, pids []int) (*exec.Cmd, error) {
	argv := []string{"-f", "-q", "-c", "-o", report}
	for _, pid := range pids {
		argv = append(argv, "-p", strconv.Itoa(pid))
	}
	cmd := exec.Command(strace, argv...)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if allTraced(pids) {
			return cmd, nil
		}
	}
	cmd.Process.Signal(unix.SIGINT)
	cmd.Wait()
	return nil, fmt.Errorf("strace does not attach to %v", pids)
}

func allTraced(pids []int) bool {
	for _, pid := range pids {
		states, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		for _, path := range states {
			data, err := os.ReadFile(path)
			if err == nil && strings.Contains(string(data), "TracerPid:\t0\n") {
				return false
			}
		}
	}
	return true
}

// parseCounts reads the table of strace -c: the calls are the fourth column,
// the name is the last (the fifth, errors, may be empty).
func parseCounts(table string) (figures, error) {
	f := figures{calls: 0, syncs: 0}
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		n, err := strconv.ParseFloat(fields[3], 64)
		if err != nil {
			continue // a heading
		}
		switch fields[len(fields)-1] {
		case "total":
		case "fsync", "fdatasync", "sync", "syncfs", "sync_file_range":
			f[syncs] += n
			f[calls] += n
		default:
			f[calls] += n
		}
	}
	if f[calls] == 0 {
		return nil, fmt.Errorf("no system call counted")
	}
	return f, nil
}
