package seccomp

import (
	"berth/internal/errdefs"
	"berth/internal/linux/capability"

	"golang.org/x/sys/unix"
)

// Action is what happens to a call: a SECCOMP_RET_* value of seccomp(2), with
// the errno or the tracer's message in the low 16 bits.
type Action uint32

// The actions. Errno makes the most used one.
const (
	KillProcess Action = 0x80000000
	KillThread  Action = 0x00000000
	Trap        Action = 0x00030000 // SIGSYS
	Trace       Action = 0x7ff00000 // ask a ptrace(2) tracer
	Log         Action = 0x7ffc0000 // allow, and note it in the audit log
	Allow       Action = 0x7fff0000
	errnoAction Action = 0x00050000
	actionMask  Action = 0xffff0000
)

// Errno lets the call fail with e without being made.
func Errno(e unix.Errno) Action { return errnoAction | Action(e)&0xffff }

// permissive reports whether a profile with this default lists what is
// forbidden rather than what is allowed.
func (a Action) permissive() bool {
	switch a & actionMask {
	case Allow, Log, Trace:
		return true
	}
	return false
}

// Op compares an argument of a call with a rule's value.
type Op uint8

// The comparisons, all unsigned.
const (
	Equal Op = iota
	NotEqual
	Less
	LessOrEqual
	Greater
	GreaterOrEqual
	MaskedEqual // argument & Value == ValueTwo
)

// Arg is a condition on one argument.
type Arg struct {
	Index           uint8 // 0 to 5
	Op              Op
	Value, ValueTwo uint64
}

// Rule gives some calls an action.
type Rule struct {
	Names  string // separated by blanks; names that an architecture does not have are passed over
	Action Action
	// Args must all hold; conditions on the same argument are alternatives, as
	// runc reads them (libseccomp can compare an argument only once in a rule).
	Args []Arg
	// When must hold and Unless must not hold for the rule to count at all.
	When, Unless Condition
}

// Condition asks about the container and the host; its zero value asks nothing.
type Condition struct {
	Caps      capability.Set
	arches    archSet
	MinKernel Version
}

// unknownCap stands in a Condition for a capability that has no name here and
// that therefore no container has.
const unknownCap capability.Set = 1 << 63

// Version is a kernel version as far as profiles look at it.
type Version struct{ Major, Minor uint16 }

func (v Version) before(w Version) bool {
	return v.Major < w.Major || v.Major == w.Major && v.Minor < w.Minor
}

// Profile is a filter before compilation: for any container, on any host.
type Profile struct {
	Default Action
	Flags   uintptr // SECCOMP_FILTER_FLAG_* for seccomp(2)
	Rules   []Rule
	// Disabled: the document says nothing, which Docker takes as no filter.
	Disabled bool

	arches archSet            // covered besides the native one
	sub    [numArches]archSet // covered besides, when that one is native
}

// Target is what a profile is compiled for.
type Target struct {
	Arch   Arch // the kernel's own: AMD64 or ARM64
	Caps   capability.Set
	Kernel Version
}

// OldestKernel is the oldest kernel that berth supports.
func OldestKernel() Version { return Version{5, 10} }

// Host returns the target for a container with these capabilities on this machine.
func Host(caps capability.Set) (Target, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return Target{}, errdefs.Wrap(err, "read", "the kernel's version")
	}
	v, _ := parseVersion(unix.ByteSliceToString(u.Release[:]))
	return Target{Arch: native, Caps: caps, Kernel: v}, nil
}

// covered returns the architectures that the filter has a search tree for.
func (p *Profile) covered(a Arch) archSet {
	return (p.arches|p.sub[a])&a.family() | setOf(a)
}

// counts reports whether a rule is in force for a target.
func (r *Rule) counts(t Target) bool {
	if w := r.When; t.Caps&w.Caps != w.Caps || w.arches != 0 && !w.arches.has(t.Arch) || t.Kernel.before(w.MinKernel) {
		return false
	}
	u := r.Unless
	return t.Caps&u.Caps == 0 && !u.arches.has(t.Arch) && (u.MinKernel == Version{} || t.Kernel.before(u.MinKernel))
}

// parseVersion reads the first two numbers of "6.1.0-18-amd64".
func parseVersion(s string) (Version, bool) {
	var v Version
	rest, ok := number(s, &v.Major)
	if !ok || rest == "" || rest[0] != '.' {
		return Version{}, false
	}
	if _, ok = number(rest[1:], &v.Minor); !ok {
		return Version{}, false
	}
	return v, true
}

func number(s string, n *uint16) (rest string, ok bool) {
	i := 0
	for ; i < len(s) && i < 4 && '0' <= s[i] && s[i] <= '9'; i++ {
		*n = *n*10 + uint16(s[i]-'0')
	}
	return s[i:], i > 0
}
