package snapshot

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
)

// at names a place below an open directory.
func at(f *os.File, path string) string { return rootpath.ProcPath(int(f.Fd())) + "/" + path }

// overlayNotes returns the trusted.overlay.* attributes in a tree, as "path:name".
func overlayNotes(t *testing.T, dir string) string {
	t.Helper()
	var out []string
	must(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		must(t, err)
		buf := make([]byte, 4096)
		n, err := unix.Llistxattr(path, buf)
		must(t, err)
		for name := range strings.SplitSeq(string(buf[:n]), "\x00") {
			if strings.HasPrefix(name, overlayXattr) {
				out = append(out, strings.TrimPrefix(path, dir)+":"+name)
			}
		}
		return nil
	}))
	return strings.Join(out, " ")
}

// A draft that was written through a mount becomes a layer like any other: its
// changes, no trace of the mount, and it serves as what other layers lie on.
func TestDraftMount(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		s := Open(t.TempDir())
		base := layer(t, s, "", func(dir string) { write(t, dir, "etc/conf", "etc/gone", "opt/old/file", "home/me") })
		d, err := s.Begin(base)
		must(t, err)
		defer d.Discard()
		f, err := d.Mount(t.Context(), MountPoint{Path: "/run/secrets/key", File: true}, MountPoint{Path: "/opt/cache"})
		must(t, err)
		for path, dir := range map[string]bool{"proc": true, "sys": true, "dev": true, "etc/hosts": false, "etc/resolv.conf": false, "etc/hostname": false, "run/secrets/key": false, "opt/cache": true} {
			if st, err := os.Stat(at(f, path)); err != nil || st.IsDir() != dir {
				t.Errorf("the mount point /%s: %v, %v", path, st, err)
			}
		}
		if _, err := d.Mount(t.Context()); !errors.Is(err, errdefs.Internal) {
			t.Errorf("a second mount: %v", err)
		}
		must(t, os.WriteFile(at(f, "etc/conf"), []byte("changed"), 0o644))
		must(t, os.Chmod(at(f, "home/me"), 0o600)) // copied up
		must(t, os.Remove(at(f, "etc/gone")))
		must(t, os.RemoveAll(at(f, "opt/old")))
		must(t, os.Mkdir(at(f, "opt/old"), 0o700)) // replaces what was there: opaque
		write(t, at(f, "opt/old"), "new")
		must(t, d.Unmount())

		// Mounted again, the draft goes on where it was.
		f, err = d.Mount(t.Context())
		must(t, err)
		if got := read(t, at(f, "etc/conf")) + names(t, at(f, "opt/old")); got != "changednew" {
			t.Errorf("after mounting again: %s", got)
		}
		id, err := d.CommitUnsynced(t.Context())
		must(t, err)
		must(t, s.Sync(t.Context(), id))

		if got := list(t, s.Diff(id), ""); strings.Contains(got, "hosts") || strings.Contains(got, "secrets") || strings.Contains(got, "proc") || strings.Contains(got, "cache") {
			t.Errorf("the layer holds mount points: %s", got)
		}
		if got, want := overlayNotes(t, s.Diff(id)), "/opt/old:trusted.overlay.opaque"; got != want {
			t.Errorf("the layer's attributes %q, want %q", got, want)
		}
		if got := names(t, s.Path(id)) + "|" + names(t, s.Path(id)+"/work"); got != "committed diff link lower work|" {
			t.Errorf("beside the layer's files: %s", got)
		}
		tree, err := s.MountTree(t.Context(), id)
		must(t, err)
		defer tree.Close()
		if got := names(t, at(tree, "etc")) + "," + names(t, at(tree, "opt/old")) + "," + read(t, at(tree, "etc/conf")); got != "conf,new,changed" {
			t.Errorf("the tree shows %s", got)
		}
		if err := os.WriteFile(at(tree, "x"), nil, 0o644); !errors.Is(err, unix.EROFS) {
			t.Errorf("writing to the tree: %v", err)
		}
		// It is a parent for drafts and for containers.
		next, err := s.Begin(id)
		must(t, err)
		defer next.Discard()
		f, err = next.Mount(t.Context())
		must(t, err)
		if got := read(t, at(f, "etc/conf")); got != "changed" {
			t.Errorf("the next draft shows %q", got)
		}
		must(t, s.Prepare("container", id))
		must(t, s.Mount(t.Context(), "container", MountOptions{}))
		if got := names(t, s.Merged("container")+"/opt/old"); got != "new" {
			t.Errorf("a container shows %s", got)
		}
		must(t, s.Unmount("container"))
	})
}

// The tree of a single layer is the layer itself, read-only.
func TestMountTreeOfOneLayer(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		s := Open(t.TempDir())
		id := layer(t, s, "", func(dir string) { write(t, dir, "file") })
		tree, err := s.MountTree(t.Context(), id)
		must(t, err)
		defer tree.Close()
		var fs unix.Statfs_t
		must(t, unix.Fstatfs(int(tree.Fd()), &fs))
		if fs.Type == unix.OVERLAYFS_SUPER_MAGIC || read(t, at(tree, "file")) != "file" {
			t.Errorf("an overlay was made, or the file is not there")
		}
		if err := os.Remove(at(tree, "file")); !errors.Is(err, unix.EROFS) {
			t.Errorf("removing from the tree: %v", err)
		}
		if _, err := s.MountTree(t.Context(), "nothing"); !errors.Is(err, errdefs.NotFound) {
			t.Errorf("a layer that is not there: %v", err)
		}
		if err := s.Sync(t.Context(), "nothing"); !errors.Is(err, errdefs.NotFound) {
			t.Errorf("syncing a layer that is not there: %v", err)
		}
	})
}

// A hostile parent cannot lead the making of mount points out of the draft.
func TestMountPointsStayInside(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		canary := t.TempDir()
		s := Open(t.TempDir())
		base := layer(t, s, "", func(dir string) {
			must(t, os.MkdirAll(dir+"/etc", 0o755))
			for name, target := range map[string]string{"etc/hosts": canary + "/hosts", "out": canary, "up": "../../../../.." + canary, "loop": "loop"} {
				must(t, os.Symlink(target, dir+"/"+name))
			}
		})
		d, err := s.Begin(base)
		must(t, err)
		defer d.Discard()
		f, err := d.Mount(t.Context(), MountPoint{Path: "/out/a"}, MountPoint{Path: "/up/b", File: true}, MountPoint{Path: "/loop/c"})
		must(t, err)
		if got := names(t, canary); got != "" {
			t.Errorf("made on the host: %s", got)
		}
		for _, path := range []string{"/out/a", "/up/b", "/etc/hosts"} { // inside, where a process would find them
			if _, err := rootpath.Stat(f, path); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		if got := names(t, d.Dir()); got != "" {
			t.Errorf("the draft holds %s", got)
		}
	})
}

// A draft on nothing can be mounted too: RUN in a stage from scratch that mounts its program.
func TestMountOnNothing(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		s := Open(t.TempDir())
		d, err := s.Begin("")
		must(t, err)
		defer d.Discard()
		f, err := d.Mount(t.Context(), MountPoint{Path: "/bin"})
		must(t, err)
		if got := names(t, at(f, ".")); got != "bin dev etc proc sys" {
			t.Errorf("the tree shows %s", got)
		}
		write(t, at(f, "."), "file")
		id, err := d.Commit(t.Context())
		must(t, err)
		if got := names(t, s.Diff(id)); got != "file" {
			t.Errorf("the layer holds %s", got)
		}
		must(t, d.Discard())
	})
}

// What a dead process has mounted is gone with it, and GC takes the draft.
func TestDeadDraft(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		s := Open(t.TempDir())
		d, err := s.Begin(layer(t, s, "", nil))
		must(t, err)
		f, err := d.Mount(t.Context())
		must(t, err)
		write(t, at(f, "."), "file")
		table, err := os.ReadFile("/proc/thread-self/mountinfo")
		must(t, err)
		if strings.Contains(string(table), s.Dir()) {
			t.Errorf("the mount can be seen:\n%s", table)
		}
		collect(t, s, func(string) bool { return true })
		if !exists(d.Dir()) {
			t.Error("a living draft was collected")
		}
		d.merged.Close() // as the kernel does
		d.lock.Close()
		collect(t, s, func(string) bool { return true })
		if exists(d.path) {
			t.Error("a dead draft is left")
		}
	})
}

func TestCommitUnsyncedDoesNotSync(t *testing.T) {
	s := Open(t.TempDir())
	var steps []string
	s.at = func(step string) { steps = append(steps, step) }
	d, err := s.Begin("")
	must(t, err)
	id, err := d.CommitUnsynced(context.Background())
	must(t, err)
	must(t, d.Discard()) // nothing any more
	if got := strings.Join(steps, ","); got != "rename,link" || !s.Exists(id) {
		t.Errorf("steps %s", got)
	}
	must(t, s.Sync(context.Background()))
	must(t, s.Sync(context.Background(), id))
	if got := strings.Join(steps, ","); got != "rename,link,sync store" {
		t.Errorf("steps %s", got)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errdefs.Cancelled)
	if err := s.Sync(ctx, id); !errors.Is(err, errdefs.Cancelled) {
		t.Errorf("a cancelled sync: %v", err)
	}
}

func BenchmarkDraftMountCommit(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("mounting needs root")
	}
	s := Open(b.TempDir())
	base := layer(b, s, "", nil)
	b.ReportAllocs()
	for b.Loop() {
		d, err := s.Begin(base)
		must(b, err)
		_, err = d.Mount(b.Context())
		must(b, err)
		_, err = d.CommitUnsynced(b.Context())
		must(b, err)
	}
}
