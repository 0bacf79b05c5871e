package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// startDocker starts containerd and dockerd with all that they keep inside the
// bench's directory, on the account.
func (l *lab) startDocker() (socket string, pids []int, err error) {
	dir := filepath.Join(l.dir, "docker")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, err
	}
	start, err := newLauncher(l.account, daemons)
	if err != nil {
		return "", nil, err
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	// The Kubernetes plugin is not Docker's; without it the daemon is smaller.
	config := "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n"
	if err := os.WriteFile(at("containerd.toml"), []byte(config), 0o600); err != nil {
		return "", nil, err
	}
	for _, d := range []struct {
		program, socket string
		args            []string
	}{
		{"containerd", at("containerd.sock"), []string{"--config", at("containerd.toml"), "--root", at("containerd"), "--state", fleeting("containerd"), "--address", at("containerd.sock")}},
		{"dockerd", at("docker.sock"), []string{"--containerd", at("containerd.sock"), "--data-root", at("data"), "--exec-root", fleeting("docker"), "--pidfile", at("pid"),
			"-H", "unix://" + at("docker.sock"), "--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", "/" + groupName + "/" + containers}},
	} {
		cmd, err := l.serve(start, d.program, d.args)
		if err != nil {
			return "", nil, err
		}
		if err := answers(d.socket); err != nil {
			return "", nil, fmt.Errorf("%s: %w; see its log in %s", d.program, err, l.dir)
		}
		pids = append(pids, cmd.Process.Pid)
	}
	return at("docker.sock"), pids, nil
}

// serve starts a daemon that writes to a log of its own.
func (l *lab) serve(start *launcher, name string, args []string) (*exec.Cmd, error) {
	program, ok := installed(name)
	if filepath.IsAbs(name) {
		program, ok = name, true
	}
	if !ok {
		return nil, fmt.Errorf("%s is not installed", name)
	}
	log, err := os.Create(filepath.Join(l.dir, filepath.Base(name)+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	var cmd *exec.Cmd
	start.do(func() {
		var last func() string
		if cmd, last, err = start.prepare(command{argv: append([]string{program}, args...)}); err != nil {
			return
		}
		last()
		cmd.Stdout, cmd.Stderr = log, log
		err = cmd.Start()
	})
	if err != nil {
		return nil, err
	}
	l.servants = append(l.servants, cmd)
	return cmd, nil
}

// answers waits until somebody listens on a socket.
func answers(socket string) error {
	var err error
	for end := time.Now().Add(40 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var conn net.Conn
		if conn, err = net.Dial("unix", socket); err == nil {
			return conn.Close()
		}
	}
	return err
}

// close ends the daemons, the last started first.
func (l *lab) close() {
	for i := len(l.servants) - 1; i >= 0; i-- {
		cmd := l.servants[i]
		cmd.Process.Signal(unix.SIGTERM)
		timer := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		timer.Stop()
	}
}
