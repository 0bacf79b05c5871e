package bootstrap

import (
	"strings"

	"golang.org/x/sys/unix"
)

// options are a mount's options sorted by what they mean: flags of the mount,
// propagation, or data for the filesystem.
type options struct {
	attrs, clear int
	propagation  uint64
	bind         bool
	nonRecursive bool
	copyUp       bool
	data         []string
}

// parseOptions reads the options of mount(8) as the OCI runtime specification uses them.
func parseOptions(list []string) (options, error) {
	o := options{propagation: unix.MS_PRIVATE}
	for _, s := range list {
		if set, clr, ok := attribute(s); ok {
			o.attrs, o.clear = o.attrs&^clr|set, o.clear&^set|clr
			continue
		}
		switch s {
		case "bind":
			o.bind, o.nonRecursive = true, true
		case "rbind":
			o.bind, o.nonRecursive = true, false
		case "private", "rprivate":
			o.propagation = unix.MS_PRIVATE
		case "slave", "rslave":
			o.propagation = unix.MS_SLAVE
		case "shared", "rshared":
			o.propagation = unix.MS_SHARED
		case "unbindable", "runbindable":
			o.propagation = unix.MS_UNBINDABLE
		case "tmpcopyup":
			o.copyUp = true
		case "defaults", "":
		default:
			o.data = append(o.data, s)
		}
	}
	// mount_setattr refuses a flag that is both set and cleared, and clears
	// access-time modes only as a group.
	if o.attrs&unix.MOUNT_ATTR__ATIME != 0 || o.clear&unix.MOUNT_ATTR__ATIME != 0 {
		o.clear |= unix.MOUNT_ATTR__ATIME
	}
	return o, nil
}

// attribute returns the mount flags that an option sets and clears.
func attribute(s string) (set, clr int, ok bool) {
	flag := 0
	switch strings.TrimPrefix(s, "no") {
	case "suid":
		flag = unix.MOUNT_ATTR_NOSUID
	case "dev":
		flag = unix.MOUNT_ATTR_NODEV
	case "exec":
		flag = unix.MOUNT_ATTR_NOEXEC
	case "diratime":
		flag = unix.MOUNT_ATTR_NODIRATIME
	}
	if flag != 0 {
		if strings.HasPrefix(s, "no") {
			return flag, 0, true
		}
		return 0, flag, true
	}
	switch s {
	case "ro", "rro":
		return unix.MOUNT_ATTR_RDONLY, 0, true
	case "rw":
		return 0, unix.MOUNT_ATTR_RDONLY, true
	case "noatime":
		return unix.MOUNT_ATTR_NOATIME, 0, true
	case "strictatime":
		return unix.MOUNT_ATTR_STRICTATIME, 0, true
	case "relatime", "atime":
		return 0, 0, true
	}
	return 0, 0, false
}
