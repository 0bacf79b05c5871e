package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// image is the name under which every engine imports the same root file system.
const image = "bench"

// lab is what measurements share: the peers, a root file system, the account.
type lab struct {
	o        options
	dir      string
	rootfs   string
	empty    string // an empty Go program
	account  *account
	cli      *launcher
	crew     []*launcher // more of them, for commands at the same time
	engines  []*engine
	runtimes []*lowLevel
	servants []*exec.Cmd
	buildx   *buildx // nil: not compared
	modules  string  // the module proxy in here; "" until a build needs it
	// out says what a peer failed at; it sits the rest of the scene out.
	out map[string]bool
}

// newLab prepares everything but the scenes.
func newLab(o options, dir string) (*lab, error) {
	os.Unsetenv(stage)
	os.Setenv("TMPDIR", dir)
	os.Setenv("PATH", "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin:"+os.Getenv("PATH"))
	program, err := filepath.Abs(o.berth)
	if err != nil {
		return nil, err
	}
	l := &lab{o: o, dir: dir, rootfs: filepath.Join(dir, "rootfs"), empty: filepath.Join(dir, "empty"), out: map[string]bool{}}
	if err := buildEmpty(l.empty); err != nil {
		return nil, err
	}
	if err := makeRootfs(l.rootfs); err != nil {
		return nil, err
	}
	if l.account, err = openAccount(); err != nil {
		return nil, err
	}
	if l.cli, err = newLauncher(l.account, clients); err != nil {
		return nil, err
	}
	for range atATime {
		more, err := newLauncher(l.account, clients)
		if err != nil {
			return nil, err
		}
		l.crew = append(l.crew, more)
	}
	if !l.account.unified {
		if err := mountHugetlb(); err != nil {
			return nil, err
		}
	}
	l.engines = []*engine{berth(program, dir)}
	return l, l.invite(strings.Split(o.peers, ","))
}

// invite makes the wanted peers ready. A peer that is not there or does not
// work on this machine is said to be missing; without berth there is no bench.
func (l *lab) invite(wanted []string) error {
	for _, name := range wanted {
		program, ok := installed(name)
		if !ok {
			fmt.Fprintf(os.Stderr, "bench: %s is not installed, so not compared\n", name)
			continue
		}
		switch name {
		case "crun", "runc":
			l.runtimes = append(l.runtimes, &lowLevel{name: name, prefix: []string{program, "--root", fleeting(name)}})
		case "podman":
			l.engines = append(l.engines, podman(program, l.dir))
		case "docker":
			socket, pids, err := l.startDocker()
			if err != nil {
				fmt.Fprintf(os.Stderr, "bench: docker does not start, so is not compared: %v\n", err)
				continue
			}
			l.engines = append(l.engines, docker(program, socket, pids))
		default:
			return fmt.Errorf("unknown peer %q", name)
		}
	}
	archive := filepath.Join(l.dir, "rootfs.tar")
	if _, _, err := l.cli.run(command{argv: []string{"tar", "-C", l.rootfs, "-cf", archive, "."}}); err != nil {
		return err
	}
	var able []*engine
	for _, e := range l.engines {
		if _, _, err := l.cli.run(e.command("import", archive, image)); err != nil {
			if e.name == "berth" {
				return err
			}
			fmt.Fprintf(os.Stderr, "bench: %s is not compared: %v\n", e.name, err)
			continue
		}
		able = append(able, e)
	}
	l.engines = able
	if l.o.buildkit != "" {
		var err error
		if l.buildx, err = l.startBuildx(l.o.buildkit); err != nil {
			return err
		}
	}
	return l.bundles()
}

// bundles writes the OCI bundles of the bare runtimes: each runtime's own
// default configuration over the same root file system.
func (l *lab) bundles() error {
	for _, r := range l.runtimes {
		for name, args := range map[string][]string{"true": {"/bin/true"}, "sleep": {"/bin/sleep", "100000"}} {
			dir := l.bundle(r, name)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			spec := exec.Command(r.prefix[0], "spec")
			spec.Dir = dir
			if out, err := spec.CombinedOutput(); err != nil {
				return fmt.Errorf("%s spec: %w: %s", r.name, err, out)
			}
			if err := editSpec(filepath.Join(dir, "config.json"), l.rootfs, r.name+"-"+name, args); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *lab) bundle(r *lowLevel, name string) string {
	return filepath.Join(l.dir, "bundle", r.name, name)
}

// editSpec says what to run, where, and in which cgroup.
func editSpec(path, rootfs, id string, args []string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var spec map[string]any
	if err := json.Unmarshal(data, &spec); err != nil {
		return err
	}
	for _, name := range []string{"process", "root", "linux"} {
		if _, ok := spec[name].(map[string]any); !ok {
			return fmt.Errorf("%s: no %s", path, name)
		}
	}
	process := spec["process"].(map[string]any)
	process["terminal"], process["args"] = false, args
	spec["root"].(map[string]any)["path"] = rootfs
	spec["linux"].(map[string]any)["cgroupsPath"] = "/" + groupName + "/" + containers + "/" + id
	if data, err = json.Marshal(spec); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

// makeRootfs lays Debian's static busybox out as a root file system.
func makeRootfs(dir string) error {
	program, ok := installed("busybox")
	if !ok {
		return fmt.Errorf("install busybox-static")
	}
	for _, name := range []string{"bin", "dev", "dev/pts", "dev/shm", "dev/mqueue", "etc", "proc", "root", "sys", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return err
		}
	}
	data, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "bin/busybox"), data, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "etc/passwd"), []byte("root:x:0:0:root:/root:/bin/sh\n"), 0o644); err != nil {
		return err
	}
	applets, err := exec.Command(program, "--list").Output()
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(string(applets)) {
		if err := os.Link(filepath.Join(dir, "bin/busybox"), filepath.Join(dir, "bin", name)); err != nil && !os.IsExist(err) {
			return err
		}
	}
	return nil
}

// buildEmpty builds the program against which a start is measured.
func buildEmpty(path string) error {
	source := path + ".go"
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o644); err != nil {
		return err
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build an empty program: %w: %s", err, out)
	}
	return nil
}

// hugetlbDir is where cgroup v1 hosts have that hierarchy, if they have it.
const hugetlbDir = "/sys/fs/cgroup/hugetlb"

// mountHugetlb gives crun 1.8 the cgroup v1 hierarchy that it asks for by
// name. The mount is the bench's own and ends with it.
func mountHugetlb() error {
	if _, err := os.Stat(hugetlbDir + "/cgroup.procs"); err == nil {
		return nil
	}
	if err := os.Mkdir(hugetlbDir, 0o755); err != nil && !os.IsExist(err) {
		return err
	}
	if err := unix.Mount("hugetlb", hugetlbDir, "cgroup", 0, "hugetlb"); err != nil {
		fmt.Fprintf(os.Stderr, "bench: no hugetlb hierarchy, crun may fail: %v\n", err)
	}
	return nil
}

// describe says what was measured with what.
func (l *lab) describe(w io.Writer) {
	var u unix.Utsname
	unix.Uname(&u)
	fmt.Fprintf(w, "Linux %s, %d rounds (%d of the slow peers), medians; cgroup v%d.\n", unix.ByteSliceToString(u.Release[:]), l.o.rounds, min(l.o.slow, l.o.rounds), l.version())
	argvs := [][]string{slices.Concat(l.engines[0].prefix, []string{"version", "--format", "{{.Client.Version}}"})}
	for _, e := range l.engines[1:] {
		argvs = append(argvs, []string{e.prefix[0], "--version"})
	}
	for _, r := range l.runtimes {
		argvs = append(argvs, []string{r.prefix[0], "--version"})
	}
	for _, argv := range argvs {
		out, _ := exec.Command(argv[0], argv[1:]...).Output()
		first, _, _ := strings.Cut(string(out), "\n")
		fmt.Fprintf(w, "- %s: %s\n", filepath.Base(argv[0]), first)
	}
}

func (l *lab) version() int {
	if l.account.unified {
		return 2
	}
	return 1
}
