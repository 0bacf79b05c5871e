package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// command is a program with its arguments and what it needs in its environment.
type command struct {
	argv, env []string
}

func (c command) String() string { return strings.Join(c.argv, " ") }

// engine is a peer with Docker's command line; berth is one of them.
type engine struct {
	name string
	// prefix begins every command: the program and its global flags.
	prefix, env []string
	// flags are added after a verb: what this engine needs on this machine,
	// and the cgroup parent that puts its containers on the account.
	flags map[string][]string
	// slow engines take part in fewer rounds.
	slow bool
	// servants are the processes of the engine that always run.
	servants []int
}

// command is one command of the engine.
func (e *engine) command(verb string, args ...string) command {
	return command{argv: slices.Concat(e.prefix, []string{verb}, e.flags[verb], args), env: e.env}
}

// fleeting is the directory for what an engine need not find again after a
// reboot; all else is in the bench's directory, and so on a real disk.
func fleeting(engine string) string { return filepath.Join("/run/berth-bench", engine) }

func berth(program, dir string) *engine {
	parent := []string{"--cgroup-parent", "/" + groupName + "/" + containers}
	return &engine{
		name:   "berth",
		prefix: []string{program},
		env:    []string{"BERTH_DATA_ROOT=" + filepath.Join(dir, "berth", "data"), "BERTH_STATE_ROOT=" + fleeting("berth")},
		flags:  map[string][]string{"run": parent, "create": parent, "build": parent},
	}
}

// podman's ulimits are what a machine without CAP_SYS_RESOURCE can set; without
// --time its rm -f gives every container ten seconds to end.
func podman(program, dir string) *engine {
	ulimits := []string{"--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"}
	below := func(group string) []string {
		return append([]string{"--cgroup-parent", "/" + groupName + "/" + containers + group}, ulimits...)
	}
	at := func(name string) string { return filepath.Join(dir, "podman", name) }
	return &engine{
		name: "podman",
		slow: true,
		prefix: []string{program, "--root", at("root"), "--runroot", fleeting("podman"), "--tmpdir", fleeting("podman-tmp"), "--volumepath", at("volumes"),
			"--cgroup-manager", "cgroupfs", "--events-backend", "file", "--network-config-dir", at("network"), "--runtime", "crun", "--storage-driver", "overlay"},
		// A build runs its programs in the very group that --cgroup-parent names.
		flags: map[string][]string{"run": below(""), "create": below(""), "build": below("/podman-build"), "commit": {"--quiet"}, "rm": {"--time", "0"}},
	}
}

// docker is Debian's client with a daemon of the bench's own.
func docker(program, socket string, servants []int) *engine {
	return &engine{
		name: "docker", slow: true, prefix: []string{program, "-H", "unix://" + socket}, servants: servants,
		flags: map[string][]string{"build": {"--cgroup-parent", "/" + groupName + "/" + containers}}, // of the others it is the daemon's default
	}
}

// lowLevel is a bare OCI runtime, crun or runc: bundles in, processes out.
type lowLevel struct {
	name   string
	prefix []string
}

// installed finds a program of Debian's packages, before others of the same
// name that PATH may hold.
func installed(name string) (string, bool) {
	for _, dir := range []string{"/usr/bin", "/usr/sbin"} {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
			return path, true
		}
	}
	return "", false
}
