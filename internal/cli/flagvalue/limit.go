package flagvalue

import (
	"fmt"
	"strconv"
	"strings"

	"berth/internal/container"
	"berth/internal/units"
)

// Ulimits collects --ulimit values: "nofile=1024:2048", "core=-1".
type Ulimits []container.Ulimit

// Set parses "name=soft[:hard]"; a later value of one name replaces the earlier.
func (u *Ulimits) Set(s string) error {
	v, err := ParseUlimit(s)
	if err != nil {
		return err
	}
	for i := range *u {
		if (*u)[i].Name == v.Name {
			(*u)[i] = v
			return nil
		}
	}
	*u = append(*u, v)
	return nil
}

// Type names the value in the help.
func (u *Ulimits) Type() string { return "ulimit" }

// String returns nothing: there is no default limit to show.
func (u *Ulimits) String() string { return "" }

// ParseUlimit parses one limit of setrlimit(2). -1 is unlimited.
func ParseUlimit(s string) (container.Ulimit, error) {
	var u container.Ulimit
	name, value, ok := strings.Cut(s, "=")
	if !ok {
		return u, fmt.Errorf("invalid ulimit argument: %s", s)
	}
	switch name {
	case "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice",
		"nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack":
	default:
		return u, fmt.Errorf("invalid ulimit type: %s", name)
	}
	softText, hardText, both := strings.Cut(value, ":")
	if both && strings.Contains(hardText, ":") {
		return u, fmt.Errorf("too many limit value arguments - %s, can only have up to two, `soft[:hard]`", value)
	}
	soft, err := strconv.ParseInt(softText, 10, 64)
	if err != nil {
		return u, err
	}
	hard := soft
	if both {
		if hard, err = strconv.ParseInt(hardText, 10, 64); err != nil {
			return u, err
		}
	}
	if hard != -1 && (soft == -1 || soft > hard) {
		return u, fmt.Errorf("ulimit soft limit must be less than or equal to hard limit: %s > %d", infinite(soft), hard)
	}
	return container.Ulimit{Name: name, Soft: soft, Hard: hard}, nil
}

// infinite writes -1 as Docker does in its message.
func infinite(n int64) string {
	if n == -1 {
		return "unlimited"
	}
	return strconv.FormatInt(n, 10)
}

// WeightDevices collects --blkio-weight-device values: "/dev/sda:500".
type WeightDevices []container.WeightDevice

// Set parses "path:weight".
func (w *WeightDevices) Set(s string) error {
	path, value, err := devicePath(s)
	if err != nil {
		return err
	}
	n, err := strconv.ParseUint(value, 10, 16)
	if err != nil || n != 0 && (n < 10 || n > 1000) {
		return fmt.Errorf("invalid weight for device: %s", s)
	}
	*w = append(*w, container.WeightDevice{Path: path, Weight: uint16(n)})
	return nil
}

// Type names the value in the help.
func (w *WeightDevices) Type() string { return "list" }

// String returns nothing: there is no default.
func (w *WeightDevices) String() string { return "" }

// RateDevices collects limits per second of block devices: bytes, as in
// "/dev/sda:1mb", or with IOPS set operations, as in "/dev/sda:1000".
type RateDevices struct {
	Values []container.RateDevice
	IOPS   bool
}

// Set parses "path:rate".
func (r *RateDevices) Set(s string) error {
	path, value, err := devicePath(s)
	if err != nil {
		return err
	}
	var n int64
	if r.IOPS {
		if n, err = strconv.ParseInt(value, 10, 64); err != nil || n < 0 {
			return fmt.Errorf("invalid rate for device: %s. The correct format is <device-path>:<number>. Number must be a positive integer", s)
		}
	} else if n, err = units.ParseBytes(value); err != nil || n < 0 {
		return fmt.Errorf("invalid rate for device: %s. The correct format is <device-path>:<number>[<unit>]. "+
			"Number must be a positive integer. Unit is optional and can be kb, mb, or gb", s)
	}
	r.Values = append(r.Values, container.RateDevice{Path: path, Rate: uint64(n)})
	return nil
}

// Type names the value in the help.
func (r *RateDevices) Type() string { return "list" }

// String returns nothing: there is no default.
func (r *RateDevices) String() string { return "" }

func devicePath(s string) (path, value string, err error) {
	path, value, ok := strings.Cut(s, ":")
	if !ok || path == "" {
		return "", "", fmt.Errorf("bad format: %s", s)
	}
	if !strings.HasPrefix(path, "/dev/") {
		return "", "", fmt.Errorf("bad format for device path: %s", s)
	}
	return path, value, nil
}
