// Package script runs the command line as a user does: each file of testdata is
// a script in the language of testscript (go doc github.com/rogpeppe/go-internal/testscript)
// with the built binaries in PATH and an engine of its own.
package script

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"berth/internal/network"
)

var update = flag.Bool("update", false, "write what scripts print into their expected files")

// binaries is where the built programs are, and images what scripts import.
var binaries, busyboxTar string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Getuid() != 0 {
		fmt.Println("the scripts need root")
		return 1
	}
	// Mounts, bridges and firewall tables of the scripts stay in namespaces of their own.
	runtime.LockOSThread()
	if os.Getenv("BERTH_SCRIPTS_ISOLATED") == "" {
		cmd := exec.Command("unshare", append([]string{"--mount", "--net", "--propagation", "private", os.Args[0]}, os.Args[1:]...)...)
		cmd.Env = append(os.Environ(), "BERTH_SCRIPTS_ISOLATED=1")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			return 1
		}
		return 0
	}
	if err := prepare(); err != nil {
		fmt.Println(err)
		return 1
	}
	code := m.Run()
	if err := await(leaks); err != nil {
		fmt.Println("left after all scripts:", err)
		code = 1
	}
	os.RemoveAll(filepath.Dir(binaries))
	return code
}

// prepare builds the programs and makes a root filesystem from Debian's busybox.
func prepare() error {
	dir, err := os.MkdirTemp("", "berth-script")
	if err != nil {
		return err
	}
	binaries, busyboxTar = filepath.Join(dir, "bin"), filepath.Join(dir, "busybox.tar")
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("ip link: %v: %s", err, out)
	}
	build := exec.Command("go", "build", "-o", binaries+"/", "berth/cmd/berth", "berth/cmd/berthd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %v: %s", err, out)
	}
	return writeBusybox(busyboxTar)
}

// writeBusybox writes a small root filesystem that calls itself Alpine, as the
// seed article's does.
func writeBusybox(path string) error {
	program, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("install busybox-static: %w", err)
	}
	data, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	dir := func(name string, mode int64) {
		w.WriteHeader(&tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: mode})
	}
	file := func(name, text string, mode int64) {
		w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(text))})
		w.Write([]byte(text))
	}
	for _, d := range []string{"bin", "dev", "etc", "home", "proc", "sys", "usr", "usr/bin", "usr/sbin", "sbin", "var", "lib", "run"} {
		dir(d, 0o755)
	}
	dir("root", 0o700)
	dir("tmp", 0o1777)
	file("bin/busybox", string(data), 0o755)
	applets, err := exec.Command(program, "--list").Output()
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(string(applets)) {
		if name != "busybox" {
			w.WriteHeader(&tar.Header{Name: "bin/" + name, Typeflag: tar.TypeLink, Linkname: "bin/busybox", Mode: 0o755})
		}
	}
	file("etc/os-release", "NAME=\"Alpine Linux\"\nID=alpine\n", 0o644)
	file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/home:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n", 0o644)
	file("etc/group", "root:x:0:\nwheel:x:10:root\nweb:x:1000:\nvideo:x:27:web\n", 0o644)
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, buf.Bytes(), 0o644)
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "cgroup-v1":
				return hasCgroupV1(), nil
			case "two-cpus":
				return runtime.NumCPU() >= 2, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Setup: setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"image":      image,
			"eventually": eventually,
			"contains":   contains,
		},
	})
}

// setup gives a script its engine and takes everything down afterwards.
func setup(env *testscript.Env) error {
	env.Setenv("PATH", binaries+":"+os.Getenv("PATH"))
	env.Setenv("BERTH_DATA_ROOT", env.WorkDir+"/data")
	env.Setenv("BERTH_STATE_ROOT", env.WorkDir+"/state")
	env.Setenv("BUSYBOX_TAR", busyboxTar)
	env.Defer(func() {
		berth := func(args ...string) string {
			cmd := exec.Command(binaries+"/berth", args...)
			cmd.Env = append(os.Environ(), "BERTH_DATA_ROOT="+env.WorkDir+"/data", "BERTH_STATE_ROOT="+env.WorkDir+"/state")
			out, _ := cmd.CombinedOutput()
			return string(out)
		}
		if ids := strings.Fields(berth("ps", "-aq")); len(ids) > 0 {
			berth(append([]string{"rm", "-f", "-v"}, ids...)...)
		}
		// A host has few subnets: the script's bridge goes at once.
		sum := sha256.Sum256([]byte(env.WorkDir + "/state"))
		exec.Command("ip", "link", "delete", "br-"+hex.EncodeToString(sum[:4])).Run()
		if err := settled(env.WorkDir); err != nil {
			env.T().Log("left behind: " + err.Error())
			env.T().FailNow()
		}
	})
	return nil
}

// settled waits until nothing of a script's engine is left: leases, mounts, processes.
func settled(work string) error {
	// The bridge stays for the next container, and with it one of the few subnets: not here.
	bridge := network.Open(work+"/data", work+"/state").Bridge()
	defer exec.Command("ip", "link", "delete", bridge).Run() //nolint:errcheck // not every script makes one
	return await(func() error { return leftovers(work) })
}

// await gives what ends in its own time ten seconds to do so.
func await(check func() error) error {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if err := check(); err == nil || time.Now().After(end) {
			return err
		}
	}
}

func leftovers(work string) error {
	if active, _ := os.ReadDir(work + "/state/active"); len(active) > 0 {
		return fmt.Errorf("lease %s", active[0].Name())
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	if i := bytes.Index(mounts, []byte(work)); i >= 0 {
		return fmt.Errorf("mount ...%.120s", mounts[i:])
	}
	return nil
}

// leaks looks for what no single script owns: monitors, cgroups, links. The cable
// of a container dies with its network namespace, which the kernel takes down
// some time after the last process in it.
func leaks() error {
	procs, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, p := range procs {
		if exe, err := os.Readlink(p); err == nil && strings.HasPrefix(exe, binaries) {
			cmdline, _ := os.ReadFile(filepath.Dir(p) + "/cmdline")
			return fmt.Errorf("process %s", bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '}))
		}
	}
	links, err := exec.Command("ip", "-o", "link", "show", "type", "veth").Output()
	if err != nil || len(links) > 0 {
		return fmt.Errorf("links %s (%v)", links, err)
	}
	var found error
	filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && filepath.Base(filepath.Dir(path)) == "berth-script" {
			found = fmt.Errorf("cgroup %s", path)
		}
		return nil
	})
	return found
}

// image NAME...: import the busybox root filesystem under these names.
func image(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: image NAME...")
	}
	ts.Check(ts.Exec("berth", "import", "--change", `CMD ["sh"]`, busyboxTar, args[0]))
	for _, more := range args[1:] {
		ts.Check(ts.Exec("berth", "tag", args[0], more))
	}
}

// eventually CMD...: repeat a command until it succeeds, for ten seconds.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	err := await(func() error {
		if err := ts.Exec(args[0], args[1:]...); (err == nil) == neg {
			return fmt.Errorf("%v", err)
		}
		return nil
	})
	if err != nil {
		ts.Fatalf("%s: still not so after ten seconds: %v", strings.Join(args, " "), err)
	}
}

// contains FILE TEXT: the file has the text, with variables expanded.
func contains(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: contains file text")
	}
	if got := strings.Contains(ts.ReadFile(args[0]), args[1]); got == neg {
		ts.Fatalf("%s has %q: %v", args[0], args[1], got)
	}
}

// hasCgroupV1 reports whether this host has the hierarchies of the seed article.
func hasCgroupV1() bool {
	var st unix.Statfs_t
	return unix.Statfs("/sys/fs/cgroup", &st) == nil && st.Type != unix.CGROUP2_SUPER_MAGIC
}
