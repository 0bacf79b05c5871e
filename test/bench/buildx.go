package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// buildx is the newest BuildKit: its daemon and the client that Docker ships as
// `docker buildx`. Debian has neither; -buildkit names the directory of both.
type buildx struct {
	program string
	env     []string
	// layouts are images of the bench as OCI layouts: name and directory.
	layouts map[string]string
	dir     string
}

// startBuildx starts buildkitd on the account, with all that it keeps inside
// the bench's directory, and makes it the client's only builder.
func (l *lab) startBuildx(programs string) (*buildx, error) {
	dir := filepath.Join(l.dir, "buildkit")
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	start, err := newLauncher(l.account, daemons)
	if err != nil {
		return nil, err
	}
	_, err = l.serve(start, filepath.Join(programs, "buildkitd"), []string{"--root", at("root"), "--addr", "unix://" + at("sock"),
		"--oci-worker=true", "--containerd-worker=false", "--oci-worker-snapshotter=overlayfs", "--oci-worker-net=host"})
	if err != nil {
		return nil, err
	}
	if err := answers(at("sock")); err != nil {
		return nil, err
	}
	b := &buildx{program: filepath.Join(programs, "buildx"), env: []string{"BUILDX_CONFIG=" + at("client"), "HOME=" + dir}, layouts: map[string]string{}, dir: dir}
	if _, _, err := l.cli.run(b.command("create", "--name", "bench", "--driver", "remote", "--use", "unix://"+at("sock"))); err != nil {
		return nil, err
	}
	return b, b.learn(l, image)
}

// learn writes an image of berth's store as an OCI layout: the daemon has no
// images of its own.
func (b *buildx) learn(l *lab, name string) error {
	dir := filepath.Join(b.dir, "layout-"+name)
	context := dir + "-context"
	if err := os.MkdirAll(context, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(context, "Dockerfile"), []byte("FROM "+name+"\n"), 0o644); err != nil {
		return err
	}
	if _, _, err := l.cli.run(l.engines[0].command("build", "-o", "type=oci,dest="+dir+".tar", context)); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if out, err := exec.Command("tar", "-C", dir, "-xf", dir+".tar").CombinedOutput(); err != nil {
		return fmt.Errorf("unpack an OCI layout: %w: %s", err, out)
	}
	b.layouts[name] = dir
	return os.Remove(dir + ".tar")
}

func (b *buildx) command(args ...string) command {
	return command{argv: slices.Concat([]string{b.program}, args), env: b.env}
}

// build builds into the daemon's own image store, as the engines do.
func (b *buildx) build(tag string, args []string) command {
	flags := []string{"build", "--provenance=false", "--output", "type=image,name=" + tag, "--cgroup-parent", "/" + groupName + "/" + containers}
	for name, dir := range b.layouts {
		flags = append(flags, "--build-context", name+"=oci-layout://"+dir)
	}
	return b.command(slices.Concat(flags, args)...)
}
