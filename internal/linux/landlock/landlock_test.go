package landlock

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The test binary plays the confined process when this names its directory.
const confinedDir = "BERTH_LANDLOCK_TEST"

func TestMain(m *testing.M) {
	if dir := os.Getenv(confinedDir); dir != "" {
		os.Exit(confinedMain(dir))
	}
	os.Exit(m.Run())
}

func needLandlock(t *testing.T) int {
	t.Helper()
	abi := ABI()
	if abi == 0 {
		t.Skip("this kernel has no Landlock, or it is switched off (lsm=)")
	}
	return abi
}

// tree makes a directory to write in, one to read, and one to leave alone.
func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"write", "read", "secret"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, d, "file"), []byte(d), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../secret/file", filepath.Join(dir, "write", "link")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func rules(dir string) Rules {
	return Rules{Read: []string{dir + "/read", dir + "/secret/absent"}, Write: []string{dir + "/write"}}
}

// attempts are things a tricked worker would do, and whether they must succeed.
func attempts(dir string) []struct {
	name string
	err  error
	ok   bool
} {
	read := func(p string) error { _, err := os.ReadFile(filepath.Join(dir, p)); return err }
	write := func(p string) error { return os.WriteFile(filepath.Join(dir, p), []byte("x"), 0o644) }
	list := func(p string) error { _, err := os.ReadDir(filepath.Join(dir, p)); return err }
	return []struct {
		name string
		err  error
		ok   bool
	}{
		{"read what may be written", read("write/file"), true},
		{"make a file", write("write/new"), true},
		{"make a directory", os.Mkdir(filepath.Join(dir, "write/dir"), 0o755), true},
		{"move between directories", os.Rename(filepath.Join(dir, "write/new"), filepath.Join(dir, "write/dir/new")), ABI() >= 2},
		{"remove", os.Remove(filepath.Join(dir, "write/file")), true},
		{"read what may be read", read("read/file"), true},
		{"list what may be read", list("read"), true},
		{"write what may be read", write("read/file"), false},
		{"remove what may be read", os.Remove(filepath.Join(dir, "read/file")), false},
		{"read a secret", read("secret/file"), false},
		{"read a secret through a link", read("write/link"), false},
		{"write a secret", write("secret/file"), false},
		{"list a secret", list("secret"), false},
		{"link a secret into reach", os.Link(filepath.Join(dir, "secret/file"), filepath.Join(dir, "write/hard")), false},
		{"truncate a secret", os.Truncate(filepath.Join(dir, "secret/file"), 0), ABI() < 3},
		{"read the password file", func() error { _, err := os.ReadFile("/etc/passwd"); return err }(), false},
		{"run a program", exec.Command("/bin/true").Run(), false},
	}
}

func TestThread(t *testing.T) {
	needLandlock(t)
	dir := tree(t)
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread stays confined and ends
		abi, err := Thread(rules(dir))
		if err == nil && abi != ABI() {
			err = errors.New("another ABI than asked before")
		}
		if err == nil {
			for _, a := range attempts(dir) {
				if (a.err == nil) != a.ok {
					t.Errorf("%s: %v", a.name, a.err)
				}
			}
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// The other threads are not confined.
	if b, err := os.ReadFile(filepath.Join(dir, "secret/file")); err != nil || (string(b) != "secret" && ABI() >= 3) {
		t.Errorf("%q, %v", b, err)
	}
}

// The whole process is confined: attempts from many threads, and a child's.
func TestProcess(t *testing.T) {
	needLandlock(t)
	dir := tree(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = []string{confinedDir + "=" + dir}
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), unix.ENOTSUP.Error()) {
		t.Skip("this test binary is linked with cgo (the race detector is)")
	}
	if err != nil || strings.TrimSpace(string(out)) != "ok" {
		t.Errorf("%s%v", out, err)
	}
}

func confinedMain(dir string) int {
	// Threads that exist before.
	ready, goOn, results := make(chan bool), make(chan bool), make(chan error, 4)
	for range cap(results) {
		go func() {
			runtime.LockOSThread()
			ready <- true
			<-goOn
			_, err := os.ReadFile(filepath.Join(dir, "secret/file"))
			results <- err
		}()
	}
	for range cap(results) {
		<-ready
	}
	abi, err := Process(rules(dir))
	if err != nil {
		println("Process:", err.Error())
		return 1
	}
	close(goOn)
	code := 0
	for range cap(results) {
		if err := <-results; !errors.Is(err, unix.EACCES) {
			println("an older thread reads the secret")
			code = 1
		}
	}
	for _, a := range attempts(dir) {
		if (a.err == nil) != a.ok {
			println(a.name)
			code = 1
		}
	}
	if err := connect(); abi >= 4 && !errors.Is(err, unix.EACCES) {
		println("connects")
		code = 1
	}
	if code == 0 {
		println("ok")
	}
	return code
}

// connect tries a TCP connection to a port nobody listens on.
func connect() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Connect(fd, &unix.SockaddrInet4{Port: 9, Addr: netip.AddrFrom4([4]byte{127, 0, 0, 1}).As4()})
}

func TestRightsGrow(t *testing.T) {
	var all []uint64
	for abi := 1; abi <= 7; abi++ {
		all = append(all, fsRights(abi))
	}
	if !slices.IsSorted(all) || all[0] != 0x1fff || all[1] != 0x3fff || all[2] != 0x7fff || all[4] != 0xffff {
		t.Errorf("%#x", all)
	}
}

func TestNoSuchRight(t *testing.T) {
	needLandlock(t)
	dir := tree(t)
	if err := os.Symlink("loop", filepath.Join(dir, "loop")); err != nil {
		t.Fatal(err)
	}
	if _, err := Thread(Rules{Read: []string{dir + "/loop"}}); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a path that cannot be opened: %v", err)
	}
}
