package overlay

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/userns"
	"berth/internal/testenv"
)

// tree makes n layers below a base, each with a file of its own and a file "who" that tells its number.
func tree(t testing.TB, n int) Options {
	t.Helper()
	o := Options{Base: t.TempDir(), Upper: "c/diff", Work: "c/work"}
	for _, d := range []string{"l", "c/diff", "c/work", "c/merged"} {
		must(t, os.MkdirAll(filepath.Join(o.Base, d), 0o755))
	}
	o.Staging = filepath.Join(o.Base, "c/merged")
	for i := range n {
		dir := filepath.Join(o.Base, fmt.Sprint(i), "diff")
		must(t, os.MkdirAll(dir, 0o755))
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprint("file", i)), nil, 0o644))
		must(t, os.WriteFile(filepath.Join(dir, "who"), fmt.Append(nil, i), 0o644))
		link := fmt.Sprintf("l/%026d", i)
		must(t, os.Symlink(fmt.Sprintf("../%d/diff", i), filepath.Join(o.Base, link)))
		o.Lower = append(o.Lower, link)
	}
	return o
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, err error) bool {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
	return err == nil
}

func TestMount(t *testing.T) {
	for name, mount := range map[string]func(Options) (int, error){"context": mountByContext, "string": mountByString} {
		for _, n := range []int{1, 3, 120} {
			t.Run(fmt.Sprint(name, n), func(t *testing.T) {
				o := tree(t, n)
				testenv.InNamespace(t, unix.CLONE_NEWNS, func() {
					fd, err := mount(o)
					if !check(t, err) {
						return
					}
					f := os.NewFile(uintptr(fd), "overlay")
					if _, err := os.Stat(o.Staging + "/who"); err == nil {
						t.Error("a detached mount is visible before Attach")
					}
					check(t, Attach(f, o.Staging))
					check(t, f.Close())
					who, err := os.ReadFile(o.Staging + "/who")
					if check(t, err) && string(who) != "0" {
						t.Errorf("who = %q, want the topmost layer 0", who)
					}
					_, err = os.Stat(fmt.Sprintf("%s/file%d", o.Staging, n-1))
					check(t, err)
					check(t, os.WriteFile(o.Staging+"/new", []byte("x"), 0o644))
					check(t, Unmount(o.Staging, false))
					_, err = os.Stat(o.Base + "/c/diff/new")
					check(t, err)
				})
			})
		}
	}
}

func TestDetachedMountEndsWithItsDescriptor(t *testing.T) {
	o := tree(t, 1)
	testenv.InNamespace(t, unix.CLONE_NEWNS, func() {
		f, err := Mount(o)
		if !check(t, err) {
			return
		}
		f.Close()
		info, _ := os.ReadFile("/proc/thread-self/mountinfo")
		if strings.Contains(string(info), o.Base) {
			t.Error("the mount outlived its descriptor")
		}
	})
}

func TestUnmountOfNothing(t *testing.T) {
	testenv.InNamespace(t, unix.CLONE_NEWNS, func() {
		check(t, Unmount(t.TempDir(), false))
		check(t, Unmount(t.TempDir()+"/absent", true))
	})
}

func TestUnmountBusy(t *testing.T) {
	o := tree(t, 1)
	testenv.InNamespace(t, unix.CLONE_NEWNS, func() {
		f, err := Mount(o)
		if !check(t, err) {
			return
		}
		check(t, Attach(f, o.Staging))
		f.Close()
		held, err := os.Open(o.Staging + "/who")
		if !check(t, err) {
			return
		}
		defer held.Close()
		if err := Unmount(o.Staging, false); !errors.Is(err, unix.EBUSY) {
			t.Errorf("unmount of a busy overlay = %v, want EBUSY", err)
		}
		check(t, Unmount(o.Staging, true))
	})
}

func TestVolatileIsMountedAgain(t *testing.T) {
	o := tree(t, 1)
	testenv.InNamespace(t, unix.CLONE_NEWNS, func() {
		for round, volatile := range []bool{true, true, false} {
			o.Volatile = volatile
			f, err := Mount(o)
			if !check(t, err) {
				return
			}
			check(t, Attach(f, o.Staging))
			f.Close()
			_, err = os.Stat(o.Base + "/c/work/work/incompat/volatile")
			if marked := err == nil; marked != volatile {
				t.Errorf("round %d: the kernel's mark is there: %v, want %v", round, marked, volatile)
			}
			check(t, Unmount(o.Staging, false))
		}
	})
}

func TestUserXattr(t *testing.T) {
	o := tree(t, 2)
	o.UserXattr = true
	testenv.InNamespace(t, unix.CLONE_NEWNS, func() {
		f, err := Mount(o)
		if !check(t, err) {
			return
		}
		defer f.Close()
		check(t, Attach(f, o.Staging))
		info, _ := os.ReadFile("/proc/thread-self/mountinfo")
		if !strings.Contains(string(info), "userxattr") {
			t.Errorf("no userxattr in mountinfo")
		}
		check(t, Unmount(o.Staging, true))
	})
}

// What is on the disk with the ids of the container is seen with the host's, and
// the other way around for what is made; by both ways of mounting.
func TestMappedLayers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	ids, err := userns.New(userns.Range{UID: 100000, GID: 200000, Count: 1000}, false)
	must(t, err)
	defer ids.Close()
	owner := func(path string) string {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err.Error()
		}
		return fmt.Sprint(st.Uid, ":", st.Gid)
	}
	for name, mount := range map[string]func(Options) (*os.File, error){
		"context": mountMapped,
		"string": func(o Options) (*os.File, error) {
			var fd int
			err := onOwnThread(func() error {
				if err := coverBase(o); err != nil {
					return err
				}
				return o.IDs.Range.AsRoot(func() (err error) {
					fd, err = mountHere(o)
					return err
				})
			})
			return os.NewFile(uintptr(fd), "overlay"), err
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := tree(t, 2)
			o.IDs = ids
			must(t, os.Chown(o.Base+"/1/diff/file1", 7, 8))
			testenv.InNamespace(t, unix.CLONE_NEWNS, func() {
				f, err := mount(o)
				if !check(t, err) {
					return
				}
				check(t, Attach(f, o.Staging))
				f.Close()
				check(t, os.Remove(o.Staging+"/who")) // a whiteout is made by the overlay itself
				check(t, os.Chown(o.Staging+"/file0", 100003, 200004))
				err = os.WriteFile(o.Staging+"/host", nil, 0o644)
				if !errors.Is(err, unix.EOVERFLOW) {
					t.Errorf("the host's root, who has no id there, made a file: %v", err)
				}
				for path, want := range map[string]string{
					o.Staging + "/file1": "100007:200008", o.Staging: "100000:200000", o.Staging + "/file0": "100003:200004",
					o.Base + "/c/diff/file0": "3:4", o.Base + "/c/diff/who": "0:0", o.Base + "/c/work/work": "0:0", o.Base + "/0/diff/file0": "0:0",
				} {
					if got := owner(path); got != want {
						t.Errorf("%s belongs to %s, want %s", path, got, want)
					}
				}
				check(t, Unmount(o.Staging, false))
			})
		})
	}
}

// A volatile overlay can be mounted again with its map, and a read-only one has it, too.
func TestMappedVariants(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	ids, err := userns.New(userns.Range{UID: 100000, GID: 200000, Count: 1000}, false)
	must(t, err)
	defer ids.Close()
	o := tree(t, 2)
	o.IDs, o.Volatile = ids, true
	readOnly := o
	readOnly.Upper, readOnly.Work = "", ""
	testenv.InNamespace(t, unix.CLONE_NEWNS, func() {
		for i, o := range []Options{o, o, readOnly} {
			f, err := Mount(o)
			if !check(t, err) {
				return
			}
			check(t, Attach(f, o.Staging))
			f.Close()
			var st unix.Stat_t
			if err := unix.Stat(o.Staging+"/who", &st); err != nil || st.Uid != 100000 {
				t.Errorf("mount %d: uid %d, %v", i, st.Uid, err)
			}
			check(t, Unmount(o.Staging, false))
		}
		info, _ := os.ReadFile("/proc/thread-self/mountinfo")
		if strings.Contains(string(info), o.Base) {
			t.Error("a mount is left")
		}
	})
}

func TestLongBase(t *testing.T) {
	o := tree(t, 2)
	long := o.Base + strings.Repeat("/"+strings.Repeat("d", 60), 5)
	must(t, os.MkdirAll(filepath.Dir(long), 0o755))
	moved := t.TempDir() + "/x"
	must(t, os.Rename(o.Base+"/c", moved+"c"))
	must(t, os.Rename(o.Base+"/l", moved+"l"))
	must(t, os.MkdirAll(long, 0o755))
	must(t, os.Rename(moved+"c", long+"/c"))
	must(t, os.Rename(moved+"l", long+"/l"))
	must(t, os.Rename(o.Base+"/0", long+"/0"))
	must(t, os.Rename(o.Base+"/1", long+"/1"))
	o.Base, o.Staging = long, long+"/c/merged"
	testenv.InNamespace(t, unix.CLONE_NEWNS, func() {
		f, err := Mount(o)
		if !check(t, err) {
			return
		}
		defer f.Close()
		check(t, Attach(f, o.Staging))
		_, err = os.Stat(o.Staging + "/file1")
		check(t, err)
		check(t, Unmount(o.Staging, true))
	})
}

func TestErrors(t *testing.T) {
	if _, err := Mount(Options{Upper: "u", Work: "w"}); !errors.Is(err, errdefs.InvalidArgument) {
		t.Errorf("no lower: %v", err)
	}
	if _, err := Mount(Options{Lower: []string{"a"}}); !errors.Is(err, errdefs.InvalidArgument) {
		t.Errorf("one lower, no upper: %v", err)
	}
	o := tree(t, 1)
	o.Lower = append(o.Lower, "l/absent")
	testenv.InNamespace(t, unix.CLONE_NEWNS, func() {
		_, err := Mount(o)
		if !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), "l/absent") {
			t.Errorf("missing layer: %v, want ENOENT with its name", err)
		}
	})
	many := Options{Lower: make([]string, 300), Upper: "u", Work: "w"}
	for i := range many.Lower {
		many.Lower[i] = "l/ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	}
	if _, err := optionString(many); !errors.Is(err, errdefs.Exhausted) {
		t.Errorf("300 layers in one page: %v", err)
	}
}

func TestOptionString(t *testing.T) {
	got, err := optionString(Options{Lower: []string{"l/A", `b:c,d\e`}, Upper: "u", Work: "w", Volatile: true})
	must(t, err)
	want := `lowerdir=l/A:b\:c\,d\\e,upperdir=u,workdir=w,index=off,metacopy=off,volatile,redirect_dir=off`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	got, _ = optionString(Options{Lower: []string{"a", "b"}, UserXattr: true})
	if got != "lowerdir=a:b,userxattr" {
		t.Errorf("read-only: %s", got)
	}
}

func BenchmarkMount(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("mounting needs root")
	}
	for _, n := range []int{1, 5, 50} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			o := tree(b, n)
			b.ReportAllocs()
			for b.Loop() {
				f, err := Mount(o)
				must(b, err)
				b.StopTimer()
				f.Close()
				// A work directory that was used before costs 2 ms more: the kernel clears it.
				must(b, os.RemoveAll(o.path(o.Work)))
				must(b, os.Mkdir(o.path(o.Work), 0o755))
				b.StartTimer()
			}
		})
	}
}
