package cgroup

import (
	"strconv"
	"strings"

	"berth/internal/errdefs"
)

// Access is what a process may do with a device: the bits are the kernel's (linux/bpf.h).
type Access uint8

// The kinds of access.
const (
	Mknod Access = 1 << iota
	Read
	Write
	AllAccess = Mknod | Read | Write
)

// String returns letters of "rwm", as devices.allow takes them.
func (a Access) String() string {
	b := make([]byte, 0, 3)
	if a&Read != 0 {
		b = append(b, 'r')
	}
	if a&Write != 0 {
		b = append(b, 'w')
	}
	if a&Mknod != 0 {
		b = append(b, 'm')
	}
	return string(b)
}

// ParseAccess reads letters of "rwm".
func ParseAccess(s string) (Access, error) {
	var a Access
	for _, c := range s {
		switch c {
		case 'r':
			a |= Read
		case 'w':
			a |= Write
		case 'm':
			a |= Mknod
		default:
			return 0, errdefs.New(errdefs.InvalidArgument, "device access %q must be letters of rwm", s)
		}
	}
	if a == 0 {
		return 0, errdefs.New(errdefs.InvalidArgument, "device access is empty").WithHint("give letters of rwm: read, write, mknod")
	}
	return a, nil
}

// Any stands for every major or minor number.
const Any = -1

// DeviceRule allows or denies access to devices. Having a device node is not
// enough: the kernel asks the group's rules at each open and mknod.
type DeviceRule struct {
	Allow        bool
	Type         byte // 'c', 'b', or 'a' for both
	Major, Minor int64
	Access       Access
}

// everything reports whether the rule leaves nothing out.
func (r *DeviceRule) everything() bool {
	return r.Type == 'a' && r.Major == Any && r.Minor == Any && r.Access == AllAccess
}

// String returns the rule as --device-cgroup-rule and devices.allow have it: "c 1:3 rwm".
func (r DeviceRule) String() string {
	b := make([]byte, 0, 24)
	b = appendNumber(append(b, r.Type, ' '), r.Major)
	b = appendNumber(append(b, ':'), r.Minor)
	return string(b) + " " + r.Access.String()
}

func appendNumber(b []byte, n int64) []byte {
	if n < 0 {
		return append(b, '*')
	}
	return strconv.AppendInt(b, n, 10)
}

// ParseDeviceRule reads an allow rule in the form of --device-cgroup-rule: "c 1:3 rwm", "b 8:* r", "a *:* rwm".
func ParseDeviceRule(s string) (DeviceRule, error) {
	bad := func() (DeviceRule, error) {
		return DeviceRule{}, errdefs.New(errdefs.InvalidArgument, "device rule %q is malformed", s).
			WithHint("write it as 'c 1:3 rwm': type a, b or c, major:minor or *, letters of rwm")
	}
	fields := strings.Split(s, " ")
	if len(fields) != 3 || len(fields[0]) != 1 || !strings.Contains("abc", fields[0]) {
		return bad()
	}
	major, minor, ok := strings.Cut(fields[1], ":")
	if !ok {
		return bad()
	}
	r := DeviceRule{Allow: true, Type: fields[0][0]}
	var err error
	if r.Major, ok = number(major); !ok {
		return bad()
	}
	if r.Minor, ok = number(minor); !ok {
		return bad()
	}
	if r.Access, err = ParseAccess(fields[2]); err != nil {
		return bad()
	}
	return r, nil
}

// number reads a device number, or "*".
func number(s string) (int64, bool) {
	if s == "*" {
		return Any, true
	}
	if len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 31)
	return int64(n), err == nil
}

// AllowAllDevices is the rule of a privileged container.
func AllowAllDevices() []DeviceRule {
	return []DeviceRule{{true, 'a', Any, Any, AllAccess}}
}

// DefaultDevices are the rules of an ordinary container, as Docker has them:
// nodes of any device may be made (a node alone opens nothing), and those
// devices may be used that no program can do harm with. /dev/fuse is not among them.
func DefaultDevices() []DeviceRule {
	return []DeviceRule{
		{false, 'a', Any, Any, AllAccess},
		{true, 'c', Any, Any, Mknod},
		{true, 'b', Any, Any, Mknod},
		{true, 'c', 1, 3, AllAccess},     // null
		{true, 'c', 1, 5, AllAccess},     // zero
		{true, 'c', 1, 7, AllAccess},     // full
		{true, 'c', 1, 8, AllAccess},     // random
		{true, 'c', 1, 9, AllAccess},     // urandom
		{true, 'c', 5, 0, AllAccess},     // tty
		{true, 'c', 5, 1, AllAccess},     // console
		{true, 'c', 5, 2, AllAccess},     // ptmx
		{true, 'c', 136, Any, AllAccess}, // pts/*
	}
}
