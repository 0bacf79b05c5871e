package bootstrap

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCheckTmpfs holds the check to the kernel's.
func TestCheckTmpfs(t *testing.T) {
	for list, want := range map[string]bool{
		"": true, "ro": true, "size=64k,mode=700,exec": true, "size=10%": true, "rw,nosuid,nodev,noexec,noatime,nr_inodes=1K,uid=5,gid=6": true,
		"defaults": true, "size=0": true, "mode=7777": true, "size=1g": true, "mpol=local": true,
		"bogus": false, "size": false, "size=": false, "size=x": false, "size=1kk": false, "size=-1": false, "size=10%%": false, "mode=9": false,
		"uid=root": false, "gid=-1": false, "data=ordered": false, "size=1m,bogus=1": false, "exec,,": true, "mode=17777": false,
	} {
		err := CheckTmpfs(list)
		if (err == nil) != want {
			t.Errorf("%q: %v", list, err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "invalid tmpfs option ") {
			t.Error(err)
		}
		if os.Geteuid() != 0 {
			continue
		}
		if kernel := mountTmpfs(list); want && kernel != nil {
			t.Errorf("%q: the kernel refuses it: %v", list, kernel)
		}
	}
}

// mountTmpfs makes a tmpfs with these options, which is mounted nowhere.
func mountTmpfs(list string) error {
	o, err := parseOptions(strings.Split(list, ","))
	if err != nil {
		return err
	}
	fd, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, s := range o.data {
		key, value, _ := strings.Cut(s, "=")
		if err := unix.FsconfigSetString(fd, key, value); err != nil {
			return err
		}
	}
	return unix.FsconfigCreate(fd)
}

func FuzzCheckTmpfs(f *testing.F) {
	f.Add("size=64m,mode=1700,exec")
	f.Fuzz(func(t *testing.T, list string) {
		if CheckTmpfs(list) != nil || os.Geteuid() != 0 {
			return
		}
		if err := mountTmpfs(list); err == unix.EINVAL && !strings.Contains(list, "mpol") && !strings.ContainsRune(list, 0) {
			t.Errorf("%q passes, and the kernel refuses it", list)
		}
	})
}
