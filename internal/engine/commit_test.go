package engine

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/internal/atomicfile"
	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/oci"
	"berth/internal/storage/snapshot"
)

func TestCommit(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("whiteouts need root")
	}
	e := testEngine(t)
	base := testImage{layers: "base", tags: "base", config: oci.RunConfig{
		Cmd: []string{"sh"}, Env: []string{"PATH=/bin"}, Shell: []string{"/bin/ash"}, Healthcheck: &oci.Healthcheck{Test: []string{"NONE"}}, OnBuild: []string{"RUN x"},
	}}.add(t, e)
	id := testContainer(t, e, "base", "web", container.Exited)
	upper := e.snapshots.Diff(id)
	must(t, os.MkdirAll(upper+"/root", 0o700))
	must(t, os.WriteFile(upper+"/root/notes", []byte("hello"), 0o600))
	must(t, unix.Mknod(upper+"/base", unix.S_IFCHR, 0)) // the container deleted the image's file

	got, err := e.Containers.Commit(t.Context(), "web", CommitRequest{
		Reference: "team/web:2", Author: "A <a@example.com>", Comment: "a change", Pause: true, Changes: []string{"ENV MODE=fast", `CMD ["serve"]`, "USER 7"},
	})
	must(t, err)
	img, err := e.images.Resolve("team/web:2")
	must(t, err)
	c := img.Config
	if img.ID.String() != got || c.Author != "A <a@example.com>" || c.Comment != "a change" || c.Config.User != "7" || !slices.Equal(c.Config.Cmd, []string{"serve"}) ||
		len(c.RootFS.DiffIDs) != 2 || c.Architecture != "amd64" || c.Config.Shell[0] != "/bin/ash" || c.Config.Healthcheck == nil || c.Config.OnBuild != nil {
		t.Errorf("config: %+v", c)
	}
	step := c.History[len(c.History)-1]
	if step.Comment != "a change" || step.EmptyLayer || step.Created == nil {
		t.Errorf("history: %+v", step)
	}
	layer := e.snapshots.Diff(img.TopLayer)
	if b, err := os.ReadFile(layer + "/root/notes"); err != nil || string(b) != "hello" {
		t.Errorf("notes = %q, %v", b, err)
	}
	if e.images.Parent(img.ID).String() != base {
		t.Error("the image has no parent")
	}
	if n, err := e.images.Size(img); err != nil || n != int64(len("base")+len("hello")) {
		t.Errorf("size %d, %v", n, err)
	}
	// A container of the new image sees the change and the deletion.
	second := testContainer(t, e, "team/web:2", "second", container.Created)
	f, err := e.snapshots.MountDetached(t.Context(), second, snapshot.MountOptions{})
	must(t, err)
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstatat(int(f.Fd()), "root/notes", &st, 0); err != nil {
		t.Errorf("the change is not in the new image: %v", err)
	}
	if err := unix.Fstatat(int(f.Fd()), "base", &st, 0); !errors.Is(err, unix.ENOENT) {
		t.Errorf("the deleted file is in the new image: %v", err)
	}
	// The same again gives the same layer, once.
	_, err = e.Containers.Commit(t.Context(), "web", CommitRequest{Reference: "again"})
	must(t, err)
	again, err := e.images.Resolve("again")
	must(t, err)
	if again.TopLayer != img.TopLayer {
		t.Error("the same layer was stored twice")
	}
}

func TestCommitWithoutChanges(t *testing.T) {
	e := testEngine(t)
	testImage{layers: "base", tags: "base"}.add(t, e)
	testContainer(t, e, "base", "web", container.Exited)
	_, err := e.Containers.Commit(t.Context(), "web", CommitRequest{Reference: "copy"})
	must(t, err)
	img, err := e.images.Resolve("copy")
	must(t, err)
	if len(img.Config.RootFS.DiffIDs) != 1 || !img.Config.History[len(img.Config.History)-1].EmptyLayer {
		t.Errorf("config: %+v", img.Config)
	}
	if _, err := e.Images.History(t.Context(), "copy"); err != nil {
		t.Error(err)
	}
}

func TestCommitKeepsTheRootsMode(t *testing.T) {
	e := testEngine(t)
	testImage{layers: "base", tags: "base"}.add(t, e)
	id := testContainer(t, e, "base", "web", container.Exited)
	must(t, os.Chmod(e.snapshots.Diff(id), 0o711))
	_, err := e.Containers.Commit(t.Context(), "web", CommitRequest{Reference: "copy"})
	must(t, err)
	next := testContainer(t, e, "copy", "next", container.Created)
	st, err := os.Stat(e.snapshots.Diff(next))
	must(t, err)
	if st.Mode().Perm() != 0o711 {
		t.Errorf("the root of the next container has mode %v", st.Mode().Perm())
	}
}

func TestCommitRootfs(t *testing.T) {
	e := testEngine(t)
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/file", []byte("x"), 0o644))
	rec := &container.Record{ID: ident.New(), Path: "sh", Config: container.Config{Cmd: []string{"sh"}}, HostConfig: container.HostConfig{Rootfs: dir}}
	rec.State = container.State{ID: rec.ID, Name: "plain", Status: container.Exited}
	must(t, e.store.Create(rec, atomicfile.Atomic))
	_, err := e.Containers.Commit(t.Context(), "plain", CommitRequest{Reference: "plain"})
	must(t, err)
	img, err := e.images.Resolve("plain")
	must(t, err)
	if !exists(e.snapshots.Diff(img.TopLayer) + "/file") {
		t.Error("the image lacks the file")
	}
}

func TestCommitErrors(t *testing.T) {
	e := testEngine(t)
	id := testImage{layers: "base", tags: "base"}.add(t, e)
	testContainer(t, e, "base", "web", container.Exited)
	testContainer(t, e, "base", "dead", container.Dead)
	for name, c := range map[string]struct {
		ref  string
		r    CommitRequest
		kind errdefs.Kind
	}{
		"no container":  {"absent", CommitRequest{}, errdefs.NotFound},
		"dead":          {"dead", CommitRequest{}, errdefs.Conflict},
		"bad name":      {"web", CommitRequest{Reference: "Web"}, errdefs.InvalidArgument},
		"digest":        {"web", CommitRequest{Reference: "web@" + id}, errdefs.InvalidArgument},
		"bad change":    {"web", CommitRequest{Changes: []string{"RUN make"}}, errdefs.InvalidArgument},
		"second change": {"web", CommitRequest{Changes: []string{"USER x", "EXPOSE y"}}, errdefs.InvalidArgument},
	} {
		if _, err := e.Containers.Commit(t.Context(), c.ref, c.r); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := e.Images.Remove(t.Context(), "base", true, false)
	must(t, err)
	if _, err := e.Containers.Commit(t.Context(), "web", CommitRequest{}); !errors.Is(err, errdefs.NotFound) || !strings.Contains(err.Error(), "image base is gone") {
		t.Errorf("without its image: %v", err)
	}
	if list, err := os.ReadDir(e.images.Dir() + "/.leases"); err != nil || len(list) > 0 {
		t.Errorf("leases left: %v, %v", list, err)
	}
}
