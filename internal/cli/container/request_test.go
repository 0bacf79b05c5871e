package container

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"berth/internal/cli/command"
	"berth/internal/cli/streams"
	"berth/internal/container"
	"berth/internal/engine"
)

// request parses the arguments of `berth create`.
func request(args ...string) (engine.CreateRequest, error) {
	env := &command.Env{
		Streams: &streams.Streams{}, Now: time.Now,
		LookupEnv: func(name string) (string, bool) { return "client", name == "HAVE" },
	}
	var f CreateFlags
	cmd := &cobra.Command{Use: "create"}
	f.Bind(cmd, env)
	if err := cmd.Flags().Parse(args); err != nil {
		return engine.CreateRequest{}, err
	}
	return f.Request(cmd.Flags().Args())
}

func TestRequest(t *testing.T) {
	yes, no, five, sixty := true, int64(0), int64(5), 60
	for _, c := range []struct {
		args string
		want func(*engine.CreateRequest)
	}{
		{"busybox", func(*engine.CreateRequest) {}},
		{"--name web --platform linux/arm64 --pull never -q busybox sh -c id", func(r *engine.CreateRequest) {
			r.Name, r.Platform, r.Pull, r.Quiet = "web", "linux/arm64", "never", true
			r.Config.Cmd = []string{"sh", "-c", "id"}
		}},
		{"-it -u 1:2 -w /x -h box --entrypoint /bin/sh busybox -e A=1 --rm", func(r *engine.CreateRequest) {
			r.Config.Tty, r.Config.OpenStdin, r.Config.StdinOnce, r.Config.AttachStdin = true, true, true, true
			r.Config.User, r.Config.WorkingDir, r.Config.Hostname = "1:2", "/x", "box"
			r.Config.Entrypoint = []string{"/bin/sh"}
			r.Config.Cmd = []string{"-e", "A=1", "--rm"} // behind the image
		}},
		{"-a stderr busybox", func(r *engine.CreateRequest) { r.Config.AttachStdout = false }},
		{"-e A=1 -e HAVE -e NONE -l a=b -l c busybox", func(r *engine.CreateRequest) {
			r.Config.Env = []string{"A=1", "HAVE=client", "NONE"}
			r.Config.Labels = map[string]string{"a": "b", "c": ""}
		}},
		{"--rm --init --stop-signal INT --stop-timeout 60 busybox", func(r *engine.CreateRequest) {
			r.HostConfig.AutoRemove, r.HostConfig.Init = true, &yes
			r.Config.StopSignal, r.Config.StopTimeout = "INT", &sixty
		}},
		{"--restart on-failure:3 busybox", func(r *engine.CreateRequest) {
			r.HostConfig.RestartPolicy = container.RestartPolicy{Name: "on-failure", MaximumRetryCount: 3}
		}},
		{"--cpus 1.5 --cpuset-cpus 0,1 -c 512 -m 512m --memory-swap -1 --memory-reservation 1g --pids-limit 5 --shm-size 64k busybox", func(r *engine.CreateRequest) {
			h := &r.HostConfig
			h.NanoCPUs, h.CpusetCpus, h.CPUShares = 1500000000, "0,1", 512
			h.Memory, h.MemorySwap, h.MemoryReservation, h.PidsLimit, h.ShmSize = 512<<20, -1, 1<<30, &five, 64<<10
		}},
		{"--memory-swappiness 0 --oom-kill-disable --oom-score-adj 9 --blkio-weight 10 busybox", func(r *engine.CreateRequest) {
			h := &r.HostConfig
			h.MemorySwappiness, h.OomKillDisable, h.OomScoreAdj, h.BlkioWeight = &no, &yes, 9, 10
		}},
		{"--ulimit nofile=1:2 --ulimit nofile=3 --device /dev/null:/dev/n:r --device-read-bps /dev/sda:1k busybox", func(r *engine.CreateRequest) {
			h := &r.HostConfig
			h.Ulimits = []container.Ulimit{{Name: "nofile", Soft: 3, Hard: 3}}
			h.Devices = []container.Device{{PathOnHost: "/dev/null", PathInContainer: "/dev/n", CgroupPermissions: "r"}}
			h.BlkioDeviceReadBps = []container.RateDevice{{Path: "/dev/sda", Rate: 1024}}
		}},
		{"--pid host --ipc container:a --uts host --userns 1:2:3 --cgroupns private --privileged --read-only busybox", func(r *engine.CreateRequest) {
			h := &r.HostConfig
			h.PidMode, h.IpcMode, h.UTSMode, h.UsernsMode, h.CgroupnsMode = "host", "container:a", "host", "1:2:3", "private"
			h.Privileged, h.ReadonlyRootfs = true, true
		}},
		{"--cap-add NET_ADMIN --cap-drop ALL --security-opt no-new-privileges --security-opt seccomp:unconfined --security-opt systempaths=unconfined --sysctl net.a=1 busybox", func(r *engine.CreateRequest) {
			h := &r.HostConfig
			h.CapAdd, h.CapDrop = []string{"NET_ADMIN"}, []string{"ALL"}
			h.SecurityOpt = []string{"no-new-privileges", "seccomp=unconfined"}
			h.MaskedPaths, h.ReadonlyPaths = []string{}, []string{}
			h.Sysctls = map[string]string{"net.a": "1"}
		}},
		{"--net none --dns 1.1.1.1 --dns-search . --add-host a:1.2.3.4 -P busybox", func(r *engine.CreateRequest) {
			h := &r.HostConfig
			h.NetworkMode, h.DNS, h.DNSSearch, h.ExtraHosts = "none", []string{"1.1.1.1"}, []string{"."}, []string{"a:1.2.3.4"}
			h.PublishAllPorts = true
		}},
		{"-p 8080:80 -p 127.0.0.1::80 --expose 5-6/udp busybox", func(r *engine.CreateRequest) {
			r.HostConfig.PortBindings = map[string][]container.PortBinding{"80/tcp": {{HostPort: "8080"}, {HostIP: "127.0.0.1"}}}
			r.Config.ExposedPorts = map[string]struct{}{"80/tcp": {}, "5/udp": {}, "6/udp": {}}
		}},
		{"-v /a:/b:ro -v data:/c -v /anon --tmpfs /t:size=1m --mount type=bind,src=/a,dst=/m busybox", func(r *engine.CreateRequest) {
			h := &r.HostConfig
			h.Binds = []string{"/a:/b:ro", "data:/c"}
			h.Tmpfs = map[string]string{"/t": "size=1m"}
			h.Mounts = []container.Mount{{Type: "bind", Source: "/a", Target: "/m"}}
			r.Config.Volumes = map[string]struct{}{"/anon": {}}
		}},
		{"--rootfs /r --rm cat /x", func(r *engine.CreateRequest) {
			r.Config.Image, r.Config.Cmd = "", []string{"cat", "/x"}
			r.HostConfig.Rootfs, r.HostConfig.AutoRemove = "/r", true
		}},
		{"--rootfs --rm /r cat /x", func(r *engine.CreateRequest) {
			r.Config.Image, r.Config.Cmd = "", []string{"cat", "/x"}
			r.HostConfig.Rootfs, r.HostConfig.AutoRemove = "/r", true
		}},
		{"--rootfs=/r", func(r *engine.CreateRequest) { r.Config.Image, r.HostConfig.Rootfs = "", "/r" }},
	} {
		want := engine.CreateRequest{Pull: "missing"}
		want.Config = container.Config{Image: "busybox", AttachStdout: true, AttachStderr: true}
		want.HostConfig = container.HostConfig{NetworkMode: "bridge", RestartPolicy: container.RestartPolicy{Name: "no"}}
		want.HostConfig.LogConfig.Config = map[string]string{}
		c.want(&want)
		got, err := request(strings.Fields(c.args)...)
		if err != nil {
			t.Errorf("%s: %v", c.args, err)
			continue
		}
		if len(got.Config.Cmd) == 0 {
			got.Config.Cmd = nil
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", c.args, got, want)
		}
	}
}

func TestRequestFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	got, err := request("--env-file", write("env", "A=file\nHAVE\nNONE\n"), "-e", "A=flag",
		"--label-file", write("labels", "a=file\nb\n"), "-l", "a=flag",
		"--security-opt", "seccomp="+write("seccomp", "{ \"defaultAction\": 1 }"), "busybox")
	if err != nil {
		t.Fatal(err)
	}
	if env := []string{"A=file", "HAVE=client", "A=flag"}; !reflect.DeepEqual(got.Config.Env, env) {
		t.Errorf("env: %q", got.Config.Env)
	}
	if l := map[string]string{"a": "flag", "b": ""}; !reflect.DeepEqual(got.Config.Labels, l) {
		t.Errorf("labels: %q", got.Config.Labels)
	}
	if o := []string{`seccomp={"defaultAction":1}`}; !reflect.DeepEqual(got.HostConfig.SecurityOpt, o) {
		t.Errorf("security: %q", got.HostConfig.SecurityOpt)
	}
}

func TestRequestRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"--pid foo b":                       "--pid: invalid PID mode",
		"--pid container: b":                "--pid: invalid PID mode",
		"--uts foo b":                       "--uts: invalid UTS mode",
		"--ipc foo b":                       "--ipc: invalid IPC mode",
		"--cgroupns foo b":                  "--cgroupns: invalid CGROUP mode",
		"--restart foo b":                   "invalid restart policy: unknown policy 'foo'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
		"--restart on-failure:x b":          "invalid restart policy format: maximum retry count must be an integer",
		"--restart always:3 b":              "invalid restart policy: maximum retry count can only be used with 'on-failure'",
		"--restart on-failure:-1 b":         "invalid restart policy: maximum retry count cannot be negative",
		"--rm --restart always b":           "conflicting options: cannot specify both --restart and --rm",
		"--memory-swappiness 101 b":         "invalid value: 101. Valid memory swappiness range is 0-100",
		"--security-opt foo b":              `invalid --security-opt: "foo"`,
		"--security-opt seccomp=/nope b":    "opening seccomp profile (/nope) failed: open /nope: no such file or directory",
		"--log-driver none --log-opt a=b b": "invalid logging opts for driver none",
		"--env-file /nope b":                "open /nope: no such file or directory",
		"-p x b":                            "invalid containerPort: x",
		"-v a:b b":                          "invalid volume specification: 'a:b': invalid mount path: 'b' mount path must be absolute",
		"-w x b":                            "the working directory 'x' is invalid, it needs to be an absolute path",
		"--network a --network b b":         "one container, one network: --network is given 2 times",
		"--network container: b":            "--network: invalid container format container:<name|id>",
		"--cpus 1 --cpu-quota 5 b":          "conflicting options: Nano CPUs and CPU Period or Quota cannot both be set",
		"--blkio-weight 5 b":                "range of blkio weight is from 10 to 1000",
		"--pull foo b":                      `invalid pull option: 'foo': must be one of "always", "missing" or "never"`,
		"--tmpfs x b":                       `invalid tmpfs mount "x": the target must be an absolute path`,
		"--rootfs":                          "no image and no root directory given",
	} {
		if _, err := request(strings.Fields(args)...); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", args, err, want)
		}
	}
}

func TestCIDFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cid")
	c, err := newCIDFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c.close()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("no container came to be, but the file stayed: %v", err)
	}
	if c, err = newCIDFile(path); err != nil {
		t.Fatal(err)
	}
	if err := c.write("abc"); err != nil {
		t.Fatal(err)
	}
	c.close()
	if b, err := os.ReadFile(path); err != nil || string(b) != "abc" {
		t.Errorf("got %q, %v", b, err)
	}
	if _, err := newCIDFile(path); err == nil || !strings.HasPrefix(err.Error(), "container ID file found, make sure") {
		t.Errorf("an existing file: %v", err)
	}
}
