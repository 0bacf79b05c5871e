package main

import (
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Where setups put what ADD gets from the network: $SERVED/http is at
// http://127.0.0.1:8888/, $SERVED/git at git://127.0.0.1/.
const httpAddress = "127.0.0.1:8888"

// servers are the network of the cases: the namespace has no other.
type servers struct {
	http http.Server
	git  *exec.Cmd
}

func serve(dir string) (*servers, error) {
	for _, d := range []string{"http", "git"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("tcp", httpAddress)
	if err != nil {
		return nil, err
	}
	s := &servers{http: http.Server{Handler: http.FileServer(http.Dir(filepath.Join(dir, "http"))), ReadHeaderTimeout: time.Minute}}
	go s.http.Serve(l) //nolint:errcheck // ends with Close
	s.git = exec.Command("git", "daemon", "--reuseaddr", "--export-all", "--listen=127.0.0.1", "--base-path="+filepath.Join(dir, "git"))
	s.git.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	return s, s.git.Start()
}

func (s *servers) close() error {
	errs := []error{s.http.Close()}
	if s.git.Process != nil {
		// git starts git-daemon beside itself.
		errs = append(errs, syscall.Kill(-s.git.Process.Pid, syscall.SIGTERM))
		s.git.Wait() //nolint:errcheck // it was ended
	}
	return errors.Join(errs...)
}
