package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// stage says how far the isolation has come: the bench executes itself twice.
const stage = "BERTH_BENCH_STAGE"

// isolated runs f in namespaces of its own:
//
//	the bench       makes the directory, cleans up whatever happened inside
//	 └─ init        process 1 of a pid namespace: reaps orphans; when it ends
//	                the kernel kills all others
//	     └─ worker  f
func isolated(o options, f func(o options, dir string) (int, error)) int {
	code, err := 0, error(nil)
	switch os.Getenv(stage) {
	case "":
		code, err = outside()
	case "init":
		code, err = reap()
	default:
		code, err = f(o, os.Getenv(stage))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return code
}

// outside starts the init and removes all that it leaves on disk and in the
// cgroup tree.
func outside() (code int, err error) {
	if os.Getuid() != 0 {
		return 1, errors.New("the bench needs root")
	}
	// A real disk: on a tmpfs syncs would be free.
	dir, err := os.MkdirTemp("/var/tmp", "berth-bench-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	defer func() {
		removeGroups("/sys/fs/cgroup/*", "/sys/fs/cgroup")
		atHugetlb(filepath.Join(dir, "hugetlb"), func(root string) { removeGroups(root) })
		os.Remove(hugetlbDir) // where mountHugetlb made it; one in use stays
	}()
	if err := serveModules(dir); err != nil {
		return 1, err
	}
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, unix.SIGINT, unix.SIGTERM)
	cmd := again("init")
	cmd.Env = append(cmd.Env, "BERTH_BENCH_DIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID,
		Pdeathsig:  unix.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	go func() {
		<-interrupts
		cmd.Process.Kill()
	}()
	if err = cmd.Wait(); cmd.ProcessState != nil && cmd.ProcessState.Exited() {
		return cmd.ProcessState.ExitCode(), nil
	}
	return 1, err
}

// again is this program once more, in another stage.
func again(next string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), stage+"="+next)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd
}

// reap is process 1: it sets the namespaces up, starts the worker and waits
// for it and for every process whose parent has gone.
func reap() (int, error) {
	dir := os.Getenv("BERTH_BENCH_DIR")
	// Only the worker's mounts are ours: /proc of the new pid namespace first.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return 1, fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return 1, fmt.Errorf("mount /proc: %w", err)
	}
	// What need not survive a reboot lies on a tmpfs, as /run is on every Debian
	// machine; a stripped-down one has it on the disk.
	if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return 1, fmt.Errorf("mount /run: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return 1, err
	}
	cmd := again(dir)
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if err != nil && err != unix.EINTR {
			return 1, fmt.Errorf("wait: %w", err)
		}
		if pid == cmd.Process.Pid {
			return status.ExitStatus(), nil
		}
	}
}

// loopbackUp raises the loopback device, which a new network namespace has down.
func loopbackUp() error {
	return configure("lo", unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP); return nil })
}

// configure sets one property of a network device (netdevice(7)).
func configure(device string, request uint, set func(*unix.Ifreq) error) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(device)
	if err != nil {
		return err
	}
	if err := set(r); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, request, r); err != nil {
		return fmt.Errorf("configure %s: %w", device, err)
	}
	return nil
}

// atHugetlb calls f with the hierarchy that only the bench's own mounts had (see
// mountHugetlb), mounted once more: with groups left in it the kernel would keep
// it for ever, and every process of the host would show it in /proc/PID/cgroup.
func atHugetlb(dir string, f func(root string)) {
	if os.Mkdir(dir, 0o700) != nil || unix.Mount("hugetlb", dir, "cgroup", 0, "hugetlb") != nil {
		return // cgroup v2, or the kernel lacks it
	}
	defer unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) //nolint:errcheck // it is empty
	f(dir)
}

// removeGroups removes the bench's cgroups, deepest first, from the hierarchies
// that match the patterns.
func removeGroups(patterns ...string) {
	var roots []string
	for _, p := range patterns {
		found, _ := filepath.Glob(filepath.Join(p, groupName))
		roots = append(roots, found...)
	}
	for _, root := range roots {
		var groups []string
		filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				groups = append(groups, path)
			}
			return nil
		})
		for i := len(groups) - 1; i >= 0; i-- {
			if err := unix.Rmdir(groups[i]); err != nil && err != unix.ENOENT {
				fmt.Fprintf(os.Stderr, "bench: cannot remove cgroup %s: %v\n", groups[i], err)
			}
		}
	}
}
