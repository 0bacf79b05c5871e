package snapshot

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/ident"
)

func TestInitLayerTakesTheParentsAttributes(t *testing.T) {
	s := Open(t.TempDir())
	when := time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)
	base := layer(t, s, "", func(dir string) {
		write(t, dir, "etc/passwd")
		must(t, unix.Setxattr(dir+"/etc", "user.note", []byte("kept"), 0))
		must(t, os.Chown(dir+"/etc", 5, 6))
		must(t, os.Chmod(dir+"/etc", 0o750|os.ModeSetgid))
		must(t, os.Chtimes(dir+"/etc", when, when))
	})
	top := layer(t, s, base, func(dir string) { write(t, dir, "other") })
	must(t, s.Prepare("c", top))
	etc := s.Diff(top+"-init") + "/etc"
	var st unix.Stat_t
	must(t, unix.Stat(etc, &st))
	if st.Mode&0o7777 != 0o2750 || st.Uid != 5 || st.Gid != 6 {
		t.Errorf("/etc is %o %d:%d, want 2750 5:6", st.Mode&0o7777, st.Uid, st.Gid)
	}
	if got := time.Unix(st.Mtim.Unix()).UTC(); !got.Equal(when) {
		t.Errorf("/etc is of %v, want %v", got, when)
	}
	var buf [16]byte
	if n, err := unix.Getxattr(etc, "user.note", buf[:]); err != nil || string(buf[:n]) != "kept" {
		t.Errorf("user.note = %q, %v", buf[:max(n, 0)], err)
	}
}

func TestInitLayerAddsOnlyWhatIsMissing(t *testing.T) {
	canary := t.TempDir()
	for name, c := range map[string]struct {
		layers []func(dir string) // base first
		want   string             // the init layer's tree: "path" for a directory, "path=" for a file, "path->target"
	}{
		"nothing there": {
			want: ".dockerenv= dev dev/console= dev/pts dev/shm etc etc/hostname= etc/hosts= etc/mtab->/proc/mounts etc/resolv.conf= proc sys",
		},
		"all there": {
			layers: []func(string){func(dir string) {
				write(t, dir, ".dockerenv", "dev/console", "dev/pts/x", "dev/shm/x", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab", "proc/x", "sys/x")
			}},
			want: "",
		},
		"etc is a link inside": {
			layers: []func(string){func(dir string) {
				write(t, dir, "usr/etc/hosts")
				must(t, os.Symlink("/usr/../usr/etc", dir+"/etc"))
			}},
			want: ".dockerenv= dev dev/console= dev/pts dev/shm proc sys usr usr/etc usr/etc/hostname= usr/etc/mtab->/proc/mounts usr/etc/resolv.conf=",
		},
		"etc and dev lead out": {
			layers: []func(string){func(dir string) {
				must(t, os.Symlink(canary, dir+"/etc"))
				must(t, os.Symlink("../../../../../../../.."+canary, dir+"/dev"))
			}},
			// Inside the root the canary's path does not exist: it is made there.
			want: "made below the root",
		},
		"links in a circle, files for directories": {
			layers: []func(string){func(dir string) {
				must(t, os.Symlink("etc", dir+"/etc"))
				write(t, dir, "dev")
			}},
			want: ".dockerenv= proc sys",
		},
		"dangling resolv.conf": {
			layers: []func(string){func(dir string) {
				write(t, dir, "etc/hosts", "etc/hostname", "etc/mtab", "dev/console", "dev/pts/x", "dev/shm/x", "proc/x", "sys/x", ".dockerenv", "run/x")
				must(t, os.Symlink("../run/resolve/stub.conf", dir+"/etc/resolv.conf"))
			}},
			want: "run run/resolve run/resolve/stub.conf=",
		},
		"deleted by an upper layer": {
			layers: []func(string){
				func(dir string) {
					write(t, dir, "etc/hosts", "etc/hostname", "etc/mtab", "dev/console", "dev/pts/x", "dev/shm/x", "proc/x", "sys/x", ".dockerenv", "etc/resolv.conf")
				},
				func(dir string) {
					must(t, os.Mkdir(dir+"/etc", 0o755))
					must(t, unix.Mknod(dir+"/etc/hosts", unix.S_IFCHR, 0)) // a whiteout
					must(t, os.Mkdir(dir+"/dev", 0o755))
					must(t, unix.Setxattr(dir+"/dev", "trusted.overlay.opaque", []byte("y"), 0))
				},
			},
			want: "dev dev/console= dev/pts dev/shm etc etc/hosts=",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := Open(t.TempDir())
			layers := c.layers
			if layers == nil {
				layers = []func(string){nil}
			}
			top := ""
			for _, fill := range layers {
				top = layer(t, s, top, fill)
			}
			must(t, s.Prepare(ident.New(), top))
			got := list(t, s.Diff(top+"-init"), "")
			if c.want == "made below the root" {
				if !strings.Contains(got, strings.TrimPrefix(canary, "/")+"/hosts=") || !strings.Contains(got, canary[1:]+"/console=") {
					t.Errorf("got %s", got)
				}
			} else if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if n := names(t, canary); n != "" {
				t.Errorf("made on the host: %s", n)
			}
			var buf [8]byte
			if _, err := unix.Getxattr(s.Diff(top+"-init")+"/dev", "trusted.overlay.opaque", buf[:]); err == nil {
				t.Error("overlay's own marker was copied")
			}
		})
	}
}

// list writes a tree on one line.
func list(t *testing.T, dir, prefix string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var out []string
	for _, e := range entries {
		p := prefix + e.Name()
		switch {
		case e.IsDir():
			out = append(out, p)
			if below := list(t, dir+"/"+e.Name(), p+"/"); below != "" {
				out = append(out, below)
			}
		case e.Type() == os.ModeSymlink:
			target, err := os.Readlink(dir + "/" + e.Name())
			must(t, err)
			out = append(out, p+"->"+target)
		default:
			out = append(out, p+"=")
		}
	}
	return strings.Join(out, " ")
}

// A power cut empties files that were not synced: links and directories survive it.
func TestInitLayerIsMadeAgain(t *testing.T) {
	for _, lost := range []string{"link", "lower"} {
		t.Run(lost, func(t *testing.T) {
			s := Open(t.TempDir())
			top := layer(t, s, "", nil)
			must(t, s.Prepare("first", top))
			must(t, os.Truncate(s.Path(top+"-init")+"/"+lost, 0))
			must(t, os.Truncate(s.Path("first")+"/lower", 0))
			must(t, s.Prepare("second", top))
			inNamespace(t, func(t *testing.T) {
				check(t, s.Mount(t.Context(), "second", MountOptions{}))
				check(t, s.Unmount("second"))
				if err := s.Mount(t.Context(), "first", MountOptions{}); err == nil || !strings.Contains(err.Error(), "damaged") {
					t.Errorf("mount with an empty lower file: %v", err)
				}
				check(t, s.Mount(t.Context(), "first", MountOptions{Parent: top}))
				check(t, s.Unmount("first"))
				if read(t, s.Path("first")+"/lower") != read(t, s.Path("second")+"/lower") {
					t.Error("the lower file was not restored")
				}
			})
		})
	}
}
