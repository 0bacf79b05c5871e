package engine

import (
	"errors"
	"io/fs"
	"os"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
	"berth/internal/runtime/spec"
)

// maxAccounts bounds /etc/passwd and /etc/group of an image (CVE-2026-47262).
const maxAccounts = 4 << 20

// lookUpUser resolves a container's user in its own root filesystem.
func lookUpUser(rootfs *os.File, user string, extra []string) (spec.User, error) {
	passwd, err := accounts(rootfs, "/etc/passwd")
	if err != nil {
		return spec.User{}, err
	}
	group, err := accounts(rootfs, "/etc/group")
	if err != nil {
		return spec.User{}, err
	}
	return spec.ResolveUser(user, extra, passwd, group)
}

func accounts(rootfs *os.File, path string) (string, error) {
	text, err := rootpath.ReadFile(rootfs, path, maxAccounts)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errdefs.NotFound) {
		return "", nil
	}
	return string(text), errdefs.Wrap(err, "read", path+" of the image")
}

// rootfsOf returns the root filesystem of a running container as its processes see it.
func rootfsOf(s container.State) (*os.File, error) {
	return rootpath.OpenRoot("/proc/" + itoa(s.PID) + "/root")
}
