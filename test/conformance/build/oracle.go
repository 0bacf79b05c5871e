package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// oracleParts are the programs that the oracle is made of. The versions are
// those that the comparison was last made with.
var oracleParts = []struct{ module, version, command string }{
	{"github.com/moby/buildkit", "v0.34.2", "buildkitd"},
	{"github.com/docker/buildx", "v0.38.2", "buildx"},
}

// buildOracle compiles what dir does not have yet. The modules come from the Go
// module proxy, and nothing of them gets into berth's own go.mod.
func buildOracle(ctx context.Context, dir string) error {
	for _, part := range oracleParts {
		binary := filepath.Join(dir, part.command+"-"+part.version)
		if _, err := os.Stat(binary); err == nil {
			continue
		}
		fmt.Printf("building %s %s, once\n", part.command, part.version)
		out, err := exec.CommandContext(ctx, "go", "mod", "download", "-json", part.module+"@"+part.version).Output()
		if err != nil {
			return fmt.Errorf("go mod download %s: %w: %s", part.module, err, out)
		}
		var module struct{ Dir string }
		if err := json.Unmarshal(out, &module); err != nil {
			return err
		}
		if err := compile(ctx, module.Dir, "./cmd/"+part.command, binary); err != nil {
			return err
		}
	}
	return nil
}

// compile builds a command of a module in a copy of it: the module cache is
// read-only, and what it lacks is noted in go.sum.
func compile(ctx context.Context, module, pkg, binary string) (err error) {
	if err := os.MkdirAll(filepath.Dir(binary), 0o755); err != nil {
		return err
	}
	src, err := os.MkdirTemp(filepath.Dir(binary), "src-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(src)) }()
	if err := os.CopyFS(src, os.DirFS(module)); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-mod=mod", "-o", binary, pkg)
	cmd.Dir, cmd.Env = src, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w: %s", pkg, err, out)
	}
	return nil
}

// oracle is a running BuildKit with a client.
type oracle struct {
	daemon *exec.Cmd
	buildx string
	env    []string
	groups string // the parent of its steps' control groups
}

// startOracle starts BuildKit with everything that it keeps below dir.
func startOracle(ctx context.Context, binaries, dir string) (*oracle, error) {
	path := func(i int) string {
		return filepath.Join(binaries, oracleParts[i].command+"-"+oracleParts[i].version)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "socket")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	o := &oracle{
		buildx: path(1), groups: "/" + filepath.Base(filepath.Dir(dir)),
		env: append(os.Environ(), "BUILDX_CONFIG="+filepath.Join(dir, "buildx"), "BUILDX_NO_DEFAULT_ATTESTATIONS=1", "DOCKER_CONFIG="+filepath.Join(dir, "docker")),
	}
	config := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(config, fmt.Appendf(nil, "[worker.oci]\n  defaultCgroupParent = %q\n", o.groups), 0o600); err != nil {
		return nil, err
	}
	o.daemon = exec.Command(path(0), "--config", config, "--root", filepath.Join(dir, "root"), "--addr", "unix://"+socket, "--oci-worker=true",
		"--containerd-worker=false", "--oci-worker-snapshotter=overlayfs", "--oci-worker-net=host",
		"--allow-insecure-entitlement", "security.insecure", "--allow-insecure-entitlement", "network.host")
	o.daemon.Stdout, o.daemon.Stderr = log, log
	// An end of this program that is none of its own takes the daemon along.
	o.daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := o.daemon.Start(); err != nil {
		return nil, err
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(end) {
			return nil, errors.Join(fmt.Errorf("buildkitd does not start: see %s: %w", log.Name(), err), o.close())
		}
	}
	cmd := exec.CommandContext(ctx, o.buildx, "create", "--name", "oracle", "--driver", "remote", "--use", "unix://"+socket)
	cmd.Env = o.env
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("buildx create: %w: %s", err, out), o.close())
	}
	return o, nil
}

func (o *oracle) close() error {
	if err := o.daemon.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := o.daemon.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = nil // it was told to
	}
	// BuildKit makes a group of its own in the parent, and leaves both.
	for _, name := range []string{o.groups + "/buildkit", o.groups} {
		groups, _ := filepath.Glob("/sys/fs/cgroup/*" + name)
		for _, g := range append(groups, "/sys/fs/cgroup"+name) {
			if rerr := os.Remove(g); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
				err = errors.Join(err, rerr)
			}
		}
	}
	return err
}

// built is how a build ended.
type built struct {
	ok       bool
	out, err string
}

// execute runs a build in a directory. A build that fails is a result.
func execute(ctx context.Context, dir string, env []string, stdin io.Reader, program string, args ...string) (built, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env, cmd.Stdin = dir, env, stdin
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &stdout, &stderr, 10*time.Second
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return built{}, err
	}
	if ctx.Err() != nil {
		return built{}, fmt.Errorf("%s hangs: %w: %s", program, ctx.Err(), stderr.String())
	}
	return built{err == nil, stdout.String(), stderr.String()}, nil
}
