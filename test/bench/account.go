package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// groupName is the cgroup below which everything measured runs, in every hierarchy.
const groupName = "berth-bench"

// The leaves of the group.
const (
	clients    = "cli"
	daemons    = "daemons"
	containers = "containers"
)

// account is the cgroup that adds up CPU time: of the cpuacct controller on
// cgroup v1, of the one hierarchy on v2.
type account struct {
	dir     string
	unified bool
}

// openAccount makes the group and its leaves.
func openAccount() (*account, error) {
	a := &account{}
	var fs unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &fs); err != nil {
		return nil, &os.PathError{Op: "statfs", Path: "/sys/fs/cgroup", Err: err}
	}
	if fs.Type == unix.CGROUP2_SUPER_MAGIC {
		a.dir, a.unified = filepath.Join("/sys/fs/cgroup", groupName), true
	} else {
		hierarchies, _ := filepath.Glob("/sys/fs/cgroup/*/cpuacct.usage")
		if len(hierarchies) == 0 {
			return nil, fmt.Errorf("no cpuacct hierarchy below /sys/fs/cgroup")
		}
		a.dir = filepath.Join(filepath.Dir(hierarchies[0]), groupName)
	}
	for _, leaf := range []string{clients, daemons, containers} {
		if err := os.MkdirAll(filepath.Join(a.dir, leaf), 0o755); err != nil {
			return nil, err
		}
	}
	if !a.unified {
		return a, nil
	}
	// A v2 group hands controllers on only if it has no processes itself.
	names, err := os.ReadFile(filepath.Join(a.dir, "cgroup.controllers"))
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{a.dir, filepath.Join(a.dir, containers)} {
		for _, name := range strings.Fields(string(names)) {
			if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+name), 0); err != nil {
				return nil, err
			}
		}
	}
	return a, nil
}

// usage is the CPU time of the group and all below it, ended processes included.
func (a *account) usage() (time.Duration, error) {
	if !a.unified {
		data, err := os.ReadFile(filepath.Join(a.dir, "cpuacct.usage"))
		if err != nil {
			return 0, err
		}
		ns, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
		return time.Duration(ns), err
	}
	data, err := os.ReadFile(filepath.Join(a.dir, "cpu.stat"))
	if err != nil {
		return 0, err
	}
	return parseUsage(string(data))
}

// parseUsage reads usage_usec out of a cpu.stat.
func parseUsage(stat string) (time.Duration, error) {
	for line := range strings.Lines(stat) {
		if text, ok := strings.CutPrefix(line, "usage_usec "); ok {
			us, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
			return time.Duration(us) * time.Microsecond, err
		}
	}
	return 0, fmt.Errorf("no usage_usec in cpu.stat")
}

// processes lists every process of the group and below.
func (a *account) processes() (map[int]bool, error) {
	pids := map[int]bool{}
	err := filepath.WalkDir(a.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if err != nil {
			return err
		}
		for _, text := range strings.Fields(string(data)) {
			if pid, err := strconv.Atoi(text); err == nil && pid > 0 {
				pids[pid] = true
			}
		}
		return nil
	})
	return pids, err
}
