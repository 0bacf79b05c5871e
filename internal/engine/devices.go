package engine

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/linux/cgroup"
)

// devices returns the nodes to be made in the container and the device rules
// of its cgroup. A directory gives every device below it; a privileged
// container gets all of the host's.
func devices(h *container.HostConfig) (nodes []specs.LinuxDevice, rules []cgroup.DeviceRule, err error) {
	rules = cgroup.DefaultDevices()
	if h.Privileged {
		nodes, err = nodesBelow("/dev", "/dev", "rwm")
		return nodes, cgroup.AllowAllDevices(), err
	}
	for _, d := range h.Devices {
		perms := d.CgroupPermissions
		if perms == "" {
			perms = "rwm"
		}
		target := d.PathInContainer
		if target == "" {
			target = d.PathOnHost
		}
		found, err := nodesBelow(d.PathOnHost, target, perms)
		if err != nil {
			return nil, nil, errdefs.Wrap(err, "gather device information for", d.PathOnHost)
		}
		nodes = append(nodes, found...)
		for _, n := range found {
			rule, err := cgroup.ParseDeviceRule(n.Type + " " + itoa(n.Major) + ":" + itoa(n.Minor) + " " + perms)
			if err != nil {
				return nil, nil, err
			}
			rules = append(rules, rule)
		}
	}
	for _, s := range h.DeviceCgroupRules {
		rule, err := cgroup.ParseDeviceRule(s)
		if err != nil {
			return nil, nil, err
		}
		rules = append(rules, rule)
	}
	return nodes, rules, nil
}

// nodesBelow returns the device at path, or those below it if it is a directory.
func nodesBelow(path, target, perms string) (nodes []specs.LinuxDevice, err error) {
	fi, err := os.Stat(path) // follows /dev/cdrom and the like
	if err != nil {
		return nil, err
	}
	if !fi.IsDir() {
		n, ok := node(fi, target)
		if !ok {
			return nil, errdefs.New(errdefs.InvalidArgument, "not a device node")
		}
		return []specs.LinuxDevice{n}, nil
	}
	err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // nodes come and go
		}
		if d.IsDir() {
			switch strings.TrimPrefix(p, "/dev/") {
			case "pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev":
				return fs.SkipDir
			}
			return nil
		}
		fi, err := d.Info()
		if err != nil || p == "/dev/console" {
			return nil
		}
		if n, ok := node(fi, target+strings.TrimPrefix(p, path)); ok {
			nodes = append(nodes, n)
		}
		return nil
	})
	return nodes, err
}

func node(fi fs.FileInfo, target string) (specs.LinuxDevice, bool) {
	st, ok := fi.Sys().(*sysStat)
	if !ok || fi.Mode()&fs.ModeDevice == 0 {
		return specs.LinuxDevice{}, false
	}
	kind := "b"
	if fi.Mode()&fs.ModeCharDevice != 0 {
		kind = "c"
	}
	mode := fi.Mode().Perm()
	uid, gid := st.Uid, st.Gid
	return specs.LinuxDevice{Path: target, Type: kind, Major: int64(unix.Major(uint64(st.Rdev))), Minor: int64(unix.Minor(uint64(st.Rdev))),
		FileMode: &mode, UID: &uid, GID: &gid}, true
}
