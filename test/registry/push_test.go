package registry

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// engine returns a directory and an environment with berth of this tree and a
// data root of the test's own.
func engine(t *testing.T) (work string, env []string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	work = t.TempDir()
	env = []string{"WORK=" + work, "DEBIAN=" + debianTar(), "PATH=" + work + "/bin:" + os.Getenv("PATH"),
		"BERTH_DATA_ROOT=" + work + "/data", "BERTH_STATE_ROOT=" + work + "/state", "DOCKER_CONFIG=" + work + "/docker"}
	sh(t, env, `ip link set lo up; CGO_ENABLED=0 go build -o $WORK/bin/ berth/cmd/berth berth/cmd/berthd`)
	return work, env
}

// requests counts lines of the registry's log.
func requests(t *testing.T, work, what string) int {
	t.Helper()
	log, err := os.ReadFile(work + "/registry.log")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(log), "\""+what+" /v2/")
}

// id returns an image's id.
func id(t *testing.T, env []string, root, name string) string {
	t.Helper()
	return strings.TrimSpace(sh(t, append(env, "BERTH_DATA_ROOT="+root), "berth image inspect -f '{{.Id}}' "+name))
}

// TestPushDebian takes a Debian image through every way out, and back in.
func TestPushDebian(t *testing.T) {
	work, env := engine(t)
	startRegistry(t, work)
	sh(t, env, fiveLayers)
	sh(t, env, `berth pull -q 127.0.0.1:5000/debian:five`)
	want := id(t, env, work+"/data", "127.0.0.1:5000/debian:five")

	// To another repository of the registry it came from: nothing is sent but the config.
	out := sh(t, env, `berth tag 127.0.0.1:5000/debian:five 127.0.0.1:5000/team/debian:1; berth push 127.0.0.1:5000/team/debian:1`)
	if strings.Count(out, "Mounted from debian") != 5 || !strings.Contains(out, "The push refers to repository [127.0.0.1:5000/team/debian]") {
		t.Errorf("the push says:\n%s", out)
	}
	if n := requests(t, work, "PATCH"); n < 1 || n > 1+6 { // skopeo pushed five layers and a config before
		t.Errorf("%d uploads in all", n)
	}
	before := requests(t, work, "PATCH") + requests(t, work, "POST")
	out = sh(t, env, `berth push 127.0.0.1:5000/team/debian:1; berth push 127.0.0.1:5000/debian:five`)
	if strings.Count(out, "Layer already exists") != 10 {
		t.Errorf("the second push says:\n%s", out)
	}
	if n := requests(t, work, "PATCH") + requests(t, work, "POST") - before; n != 0 {
		t.Errorf("the second push began %d uploads", n)
	}
	// The manifest is the one it came by.
	sh(t, env, `one=$(skopeo inspect --raw --tls-verify=false docker://127.0.0.1:5000/debian:five | sha256sum)
two=$(skopeo inspect --raw --tls-verify=false docker://127.0.0.1:5000/team/debian:1 | sha256sum); test "$one" = "$two"`)

	// Saved: the layers are the tars that the image was made of, for skopeo, docker and berth.
	sh(t, env, `cd $WORK; berth save -o saved.tar 127.0.0.1:5000/debian:five
for i in 1 2 3 4 5; do tar -xOf saved.tar blobs/sha256/$(sha256sum < $i.tar | cut -d' ' -f1) | cmp - $i.tar; done
skopeo --insecure-policy copy --quiet docker-archive:saved.tar dir:from-docker
skopeo --insecure-policy copy --quiet oci-archive:saved.tar:five dir:from-oci
test -f from-docker/`+strings.TrimPrefix(want, "sha256:")+` -a -f from-oci/`+strings.TrimPrefix(want, "sha256:")+`
BERTH_DATA_ROOT=$WORK/loaded berth load -q -i saved.tar`)
	if got := id(t, env, work+"/loaded", "127.0.0.1:5000/debian:five"); got != want {
		t.Errorf("loaded again it is %s, was %s", got, want)
	}
	dockerLoads(t, work, want)

	// From a load nothing is known of registries: everything is packed, once, the same way.
	again := append(env, "BERTH_DATA_ROOT="+work+"/loaded")
	sh(t, again, `berth tag 127.0.0.1:5000/debian:five 127.0.0.1:5000/packed:1; berth push 127.0.0.1:5000/packed:1 > $WORK/first`)
	sh(t, again, `find $BERTH_DATA_ROOT -name blobs.json -delete; berth push 127.0.0.1:5000/packed:1 > $WORK/second; test $(grep -c 'Layer already exists' $WORK/second) = 5
test "$(tail -n1 $WORK/first)" = "$(tail -n1 $WORK/second)"`)
	sh(t, append(env, "BERTH_DATA_ROOT="+work+"/pulled"), `berth pull -q 127.0.0.1:5000/packed:1; berth run --rm 127.0.0.1:5000/packed:1 dpkg --verify base-files bash coreutils`)
	if got := id(t, env, work+"/pulled", "127.0.0.1:5000/packed:1"); got != want {
		t.Errorf("packed and pulled it is %s, was %s", got, want)
	}
	// Packed by zstd it is the same image.
	sh(t, env, `berth tag 127.0.0.1:5000/debian:five 127.0.0.1:5000/zstd:1; berth push -q --compression zstd 127.0.0.1:5000/zstd:1
BERTH_DATA_ROOT=$WORK/unzstd berth pull -q 127.0.0.1:5000/zstd:1; skopeo inspect --raw --tls-verify=false docker://127.0.0.1:5000/zstd:1 | grep -q tar+zstd`)
	if got := id(t, env, work+"/unzstd", "127.0.0.1:5000/zstd:1"); got != want {
		t.Errorf("through zstd it is %s, was %s", got, want)
	}
}

// dockerLoads lets Docker's own daemon load the archive, if it can be started.
func dockerLoads(t *testing.T, work, want string) {
	t.Helper()
	daemon, err := exec.LookPath("dockerd")
	if err != nil {
		t.Log("docker is not here")
		return
	}
	log, err := os.Create(work + "/dockerd.log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	socket := "unix://" + work + "/d.sock"
	cmd := exec.Command(daemon, "--bridge=none", "--iptables=false", "--storage-driver=vfs", "--data-root", work+"/docker-data", "--exec-root", work+"/docker-exec", "-H", socket, "--pidfile", work+"/d.pid")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	}()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		if exec.Command("docker", "-H", socket, "version").Run() == nil {
			break
		}
		if time.Now().After(end) {
			t.Log("docker's daemon cannot be started here")
			return
		}
	}
	out, err := exec.Command("docker", "-H", socket, "load", "-i", work+"/saved.tar").CombinedOutput()
	if err != nil {
		t.Fatalf("docker load: %v\n%s", err, out)
	}
	out, err = exec.Command("docker", "-H", socket, "inspect", "-f", "{{.Id}}", "127.0.0.1:5000/debian:five").CombinedOutput()
	if got := strings.TrimSpace(string(out)); err != nil || got != want {
		t.Errorf("in docker it is %s (%v), was %s", got, err, want)
	}
}

// small makes a base image of busybox, by import.
const small = `
cd $WORK; mkdir -p small/bin ctx; cp "$(command -v busybox)" small/bin/busybox; ln -s busybox small/bin/sh
head -c ${BYTES:-1000000} /dev/urandom > small/random; tar -C small -cf small.tar .; berth import -q small.tar base:1 2>/dev/null || berth import small.tar base:1
`

// TestPushBuilt builds, pushes and pulls into another data root.
func TestPushBuilt(t *testing.T) {
	work, env := engine(t)
	startRegistry(t, work)
	sh(t, env, small+`printf 'FROM base:1\nRUN echo made > /made\nCOPY f /f\nRUN rm /random\nCMD ["sh"]\n' > Dockerfile; echo x > ctx/f
berth build -q --push -f Dockerfile -t 127.0.0.1:5000/team/app:1 -t 127.0.0.1:5000/team/app:2 ctx
BERTH_DATA_ROOT=$WORK/other berth pull -q 127.0.0.1:5000/team/app:2`)
	want := id(t, env, work+"/data", "127.0.0.1:5000/team/app:1")
	if got := id(t, env, work+"/other", "127.0.0.1:5000/team/app:2"); got != want {
		t.Errorf("pulled %s, built %s", got, want)
	}
	before := requests(t, work, "PATCH")
	out := sh(t, env, `berth push -a 127.0.0.1:5000/team/app; cd $WORK; berth build -q --push -f Dockerfile -t 127.0.0.1:5000/team/app:1 ctx`)
	if n := requests(t, work, "PATCH") - before; n != 0 || strings.Count(out, ": digest: sha256:") != 2 {
		t.Errorf("%d uploads again:\n%s", n, out)
	}
	// A build's archive has the image that the store has, though the base was imported.
	sh(t, env, `cd $WORK; berth build -q -f Dockerfile -o type=oci,dest=built.tar,name=x:1 ctx; BERTH_DATA_ROOT=$WORK/third berth load -q -i built.tar`)
	if got := id(t, env, work+"/third", "x:1"); got != want {
		t.Errorf("the archive holds %s, the store %s", got, want)
	}
	// Several platforms become an index that skopeo reads.
	sh(t, env, `cd $WORK; printf 'FROM scratch\nCOPY f /\n' > D2; berth build -q --push --platform linux/amd64,linux/arm64 --provenance=true -f D2 -t 127.0.0.1:5000/multi:1 ctx
skopeo inspect --raw --tls-verify=false docker://127.0.0.1:5000/multi:1 | jq -e '[.manifests[].platform.architecture] == ["amd64","arm64","unknown","unknown"]'
skopeo --insecure-policy --override-arch arm64 copy --quiet --src-tls-verify=false docker://127.0.0.1:5000/multi:1 dir:arm`)
}

// TestPushKilled kills pushes at several moments. Nothing is left of them, and the next one works.
func TestPushKilled(t *testing.T) {
	work, env := engine(t)
	startRegistry(t, work)
	sh(t, append(env, "BYTES=120000000"), small+`berth tag base:1 127.0.0.1:5000/team/base:1`)
	files := func() string {
		return sh(t, env, `find $WORK/data -not -path '*/.leases/*' | sort; ls -A "${TMPDIR:-/tmp}" | grep -i berth- || true`)
	}
	// Only the file of the lock is new after the first one.
	sh(t, env, `berth push -q 127.0.0.1:5000/team/base:1 & sleep 0.05; kill -9 $! || true; wait || true`)
	before := files()
	for _, after := range []string{"0.1", "0.3", "0.6", "1"} {
		sh(t, env, `berth push -q 127.0.0.1:5000/team/base:1 & sleep `+after+`; kill -9 $! || true; wait || true`)
		if now := files(); now != before && !strings.Contains(now, "blobs.json") {
			t.Errorf("killed after %s s, a push leaves files:\n%s", after, difference(before, now))
		}
	}
	sh(t, env, `berth push -q 127.0.0.1:5000/team/base:1; BERTH_DATA_ROOT=$WORK/other berth pull -q 127.0.0.1:5000/team/base:1`)
	if got, want := id(t, env, work+"/other", "127.0.0.1:5000/team/base:1"), id(t, env, work+"/data", "base:1"); got != want {
		t.Errorf("pulled %s, pushed %s", got, want)
	}
}

func difference(before, now string) string {
	var out strings.Builder
	for line := range strings.Lines(now) {
		if !strings.Contains(before, line) {
			out.WriteString(line)
		}
	}
	return out.String()
}

// TestLogin pushes to a registry that wants to know who pushes.
func TestLogin(t *testing.T) {
	work, env := engine(t)
	hash, err := bcrypt.GenerateFromPassword([]byte("s3cret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(work+"/htpasswd", []byte(fmt.Sprintf("ann:%s\n", hash)), 0o600); err != nil {
		t.Fatal(err)
	}
	startRegistry(t, work, "auth: {htpasswd: {realm: test, path: "+work+"/htpasswd}}")
	sh(t, env, small+`berth tag base:1 127.0.0.1:5000/team/base:1`)
	for name, script := range map[string]string{
		"nobody": `! berth push 127.0.0.1:5000/team/base:1 2> $WORK/err; grep 'unauthorized: authentication required' $WORK/err; grep 'hint: log in with: berth login 127.0.0.1:5000' $WORK/err`,
		"wrong":  `! (echo guess | berth login -u ann --password-stdin 127.0.0.1:5000) 2> $WORK/err; grep 'incorrect username or password' $WORK/err; test ! -e $WORK/docker/config.json`,
	} {
		t.Run(name, func(t *testing.T) { sh(t, env, script) })
	}
	sh(t, env, `echo s3cret | berth login -u ann --password-stdin --plain-text 127.0.0.1:5000 2> $WORK/err | grep 'Login Succeeded'; grep 'stored unencrypted' $WORK/err
test "$(stat -c %a $WORK/docker/config.json)" = 600
berth push -q 127.0.0.1:5000/team/base:1; BERTH_DATA_ROOT=$WORK/other berth pull -q 127.0.0.1:5000/team/base:1
skopeo inspect --authfile $WORK/docker/config.json --tls-verify=false docker://127.0.0.1:5000/team/base:1 > /dev/null
berth logout 127.0.0.1:5000 | grep 'Removing login credentials'; ! grep -q auth\" $WORK/docker/config.json
! BERTH_DATA_ROOT=$WORK/third berth pull -q 127.0.0.1:5000/team/base:1 2> /dev/null`)
	// In memory it is not on the disk, and is found all the same.
	sh(t, env, `mkdir -p $WORK/memory; mount -t tmpfs tmpfs $WORK/memory; trap 'umount $WORK/memory' EXIT; export BERTH_STATE_ROOT=$WORK/memory
echo s3cret | berth login -u ann --password-stdin 127.0.0.1:5000 2> $WORK/err; grep 'kept in memory' $WORK/err; berth push -q 127.0.0.1:5000/team/base:1
! grep -rq "$(printf ann:s3cret | base64)" $WORK/docker`)
	// A helper gets it, and nobody else.
	helper := filepath.Join(work, "bin", "docker-credential-test")
	if err := os.WriteFile(helper, []byte("#!/bin/sh\ncase $1 in store) cat > $WORK/vault;; get) cat $WORK/vault;; erase) rm $WORK/vault;; esac\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	sh(t, env, `echo '{"credsStore":"test"}' > $WORK/docker/config.json
echo s3cret | berth login -u ann --password-stdin 127.0.0.1:5000; grep -q s3cret $WORK/vault; berth push -q 127.0.0.1:5000/team/base:1; ! grep -q auth\" $WORK/docker/config.json; berth logout 127.0.0.1:5000; test ! -e $WORK/vault`)
}
