package flagvalue

import (
	"fmt"
	"path"
	"strings"

	"berth/internal/container"
)

// ParseDevice parses a --device: "host[:container][:permissions]".
func ParseDevice(s string) (container.Device, error) {
	parts := strings.Split(s, ":")
	d := container.Device{PathOnHost: parts[0], CgroupPermissions: "rwm"}
	switch len(parts) {
	case 1:
	case 2:
		// The second part is permissions only if it can be nothing else.
		if validPermissions(parts[1]) {
			d.CgroupPermissions = parts[1]
		} else {
			d.PathInContainer = parts[1]
		}
	case 3:
		d.PathInContainer, d.CgroupPermissions = parts[1], parts[2]
		if !validPermissions(parts[2]) {
			return d, fmt.Errorf("bad mode specified: %s", parts[2])
		}
	default:
		return d, fmt.Errorf("invalid device specification: %s", s)
	}
	if d.PathOnHost == "" {
		return d, fmt.Errorf("bad format for path: %s", s)
	}
	if !path.IsAbs(d.PathOnHost) {
		return d, fmt.Errorf("%s is not an absolute path", d.PathOnHost)
	}
	if d.PathInContainer == "" {
		d.PathInContainer = d.PathOnHost
	}
	if !path.IsAbs(d.PathInContainer) {
		return d, fmt.Errorf("%s is not an absolute path", d.PathInContainer)
	}
	return d, nil
}

// validPermissions reports whether s is made of r, w and m, each at most once.
func validPermissions(s string) bool {
	if s == "" {
		return false
	}
	for i, c := range s {
		if !strings.ContainsRune("rwm", c) || strings.ContainsRune(s[:i], c) {
			return false
		}
	}
	return true
}

// Device checks a --device for a List.
func Device(s string) (string, error) {
	_, err := ParseDevice(s)
	return s, err
}

// DeviceRule checks a --device-cgroup-rule: "c 1:3 mr", "b *:* rwm", "a".
func DeviceRule(s string) (string, error) {
	bad := fmt.Errorf("invalid device cgroup format '%s'", s)
	f := strings.Fields(s)
	if len(f) != 3 || len(f[0]) != 1 || !strings.Contains("abc", f[0]) || !validPermissions(f[2]) {
		return "", bad
	}
	major, minor, ok := strings.Cut(f[1], ":")
	if !ok || !deviceNumber(major) || !deviceNumber(minor) {
		return "", bad
	}
	return s, nil
}

func deviceNumber(s string) bool {
	return s == "*" || s != "" && strings.Trim(s, "0123456789") == ""
}
