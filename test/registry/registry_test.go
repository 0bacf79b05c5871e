// Package registry pulls a real Debian image from a real registry: Debian's
// docker-registry on 127.0.0.1, filled by skopeo with an image of five layers.
package registry

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain runs the tests in mount and network namespaces of their own.
func TestMain(m *testing.M) {
	runtime.LockOSThread()
	if os.Getenv("BERTH_REGISTRY_ISOLATED") == "" && os.Getuid() == 0 {
		// The Debian packages come from outside: they are fetched before.
		if err := prepareDebian(); err != nil {
			fmt.Println("cannot make a Debian root filesystem:", err)
			os.Exit(1)
		}
		cmd := exec.Command("unshare", append([]string{"--mount", "--net", "--propagation", "private", os.Args[0]}, os.Args[1:]...)...)
		cmd.Env = append(os.Environ(), "BERTH_REGISTRY_ISOLATED=1")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		err := cmd.Run()
		if err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// cache keeps the root filesystem between runs: it takes a minute to make.
func cache() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "berth-test")
}

func debianTar() string { return filepath.Join(cache(), "bookworm.tar") }

func prepareDebian() error {
	if _, err := os.Stat(debianTar()); err == nil {
		return nil
	}
	if err := os.MkdirAll(cache(), 0o755); err != nil {
		return err
	}
	tmp := debianTar() + ".tmp"
	out, err := exec.Command("mmdebstrap", "--quiet", "--variant=apt", "--format=tar", "bookworm", tmp).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mmdebstrap: %v\n%s", err, out)
	}
	return os.Rename(tmp, debianTar())
}

func sh(t *testing.T, env []string, script string) string {
	t.Helper()
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", script)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, script, out)
	}
	return string(out)
}

func TestPullDebian(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	work := t.TempDir()
	env := []string{"WORK=" + work, "DEBIAN=" + debianTar(), "PATH=" + work + "/bin:" + os.Getenv("PATH"),
		"BERTH_DATA_ROOT=" + work + "/data", "BERTH_STATE_ROOT=" + work + "/state"}
	sh(t, env, `ip link set lo up; CGO_ENABLED=0 go build -o $WORK/bin/ berth/cmd/berth berth/cmd/berthd`)
	startRegistry(t, work)
	sh(t, env, fiveLayers)

	first := sh(t, env, `berth pull 127.0.0.1:5000/debian:five`)
	for _, want := range []string{"Pull complete", "Digest: sha256:", "Status: Downloaded newer image for 127.0.0.1:5000/debian:five", "127.0.0.1:5000/debian:five\n"} {
		if !strings.Contains(first, want) {
			t.Errorf("the first pull does not say %q:\n%s", want, first)
		}
	}
	if out := sh(t, env, `berth run --rm 127.0.0.1:5000/debian:five apt --version`); !strings.HasPrefix(out, "apt 2.") {
		t.Errorf("apt says %q", out)
	}
	if out := sh(t, env, `berth run --rm 127.0.0.1:5000/debian:five dpkg --verify base-files bash coreutils && echo intact`); !strings.Contains(out, "intact") {
		t.Errorf("dpkg says %q", out)
	}
	// A second pull asks for the manifest and fetches no layer.
	before := blobRequests(t, work)
	second := sh(t, env, `berth pull 127.0.0.1:5000/debian:five`)
	if !strings.Contains(second, "Image is up to date") {
		t.Errorf("the second pull says:\n%s", second)
	}
	if n := blobRequests(t, work) - before; n > 0 {
		t.Errorf("the second pull fetched %d blobs", n)
	}
	// Four of five layers are there: only the fifth is fetched.
	sh(t, env, `cd $WORK; printf changed > parts/5/changed; tar -C parts/5 -cf 5.tar .
`+packAndPush+`berth pull 127.0.0.1:5000/debian:five > third`)
	if n := strings.Count(sh(t, env, `cat $WORK/third`), "Already exists"); n != 4 {
		t.Errorf("%d layers were there already, want 4", n)
	}
	sh(t, env, `berth run --rm 127.0.0.1:5000/debian:five cat /changed; berth rmi -f 127.0.0.1:5000/debian:five; test -z "$(berth ps -aq)"`)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if left, _ := os.ReadDir(work + "/state/active"); len(left) == 0 {
			return
		}
	}
	t.Error("a container is still being taken down")
}

// fiveLayers cuts the Debian root filesystem in five and pushes it.
const fiveLayers = `
cd $WORK; mkdir -p all parts/{1,2,3,4,5}
tar -C all -xf $DEBIAN --exclude=./dev/\*
mkdir -p parts/2/usr parts/3/usr parts/4
mv all/usr/share parts/2/usr/share; mv all/usr/lib parts/3/usr/lib; mv all/var parts/4/var; mkdir -p all/usr
cp -a all/. parts/1; printf first > parts/5/changed
for i in 1 2 3 4 5; do tar -C parts/$i -cf $i.tar .; done
` + packAndPush

// packAndPush makes a docker-archive of the five tars and has skopeo push it.
const packAndPush = `
jq -n --arg created "$(date -u +%FT%TZ)" --args '{architecture:"amd64",os:"linux",created:$created,config:{Cmd:["bash"],Env:["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},rootfs:{type:"layers",diff_ids:$ARGS.positional},
  history:[range(5)|{created:$created,created_by:"layer \(.)"}]}' $(for i in 1 2 3 4 5; do echo sha256:$(sha256sum < $i.tar | cut -d' ' -f1); done) > config.json
echo '[{"Config":"config.json","RepoTags":["debian:five"],"Layers":["1.tar","2.tar","3.tar","4.tar","5.tar"]}]' > manifest.json
tar -cf image.tar manifest.json config.json 1.tar 2.tar 3.tar 4.tar 5.tar
skopeo --insecure-policy copy --quiet --dest-tls-verify=false docker-archive:image.tar docker://127.0.0.1:5000/debian:five
`

// startRegistry runs Debian's registry until the test ends. more are lines for its configuration.
func startRegistry(t *testing.T, work string, more ...string) {
	t.Helper()
	config := fmt.Sprintf("version: 0.1\nlog: {accesslog: {disabled: false}, level: info}\nstorage: {filesystem: {rootdirectory: %s/registry}, delete: {enabled: true}}\nhttp: {addr: 127.0.0.1:5000}\n", work)
	config += strings.Join(more, "\n") + "\n"
	if err := os.WriteFile(work+"/registry.yml", []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(work + "/registry.log")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("docker-registry", "serve", work+"/registry.yml")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait(); log.Close() })
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if exec.Command("bash", "-c", ": < /dev/tcp/127.0.0.1/5000").Run() == nil {
			return
		}
	}
	t.Fatal("the registry does not answer")
}

// blobRequests counts the layers that the registry has served.
func blobRequests(t *testing.T, work string) int {
	t.Helper()
	log, err := os.ReadFile(work + "/registry.log")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "\"GET /v2/debian/blobs/") {
			n++
		}
	}
	return n
}
