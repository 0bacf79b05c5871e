package seccomp

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"berth/internal/errdefs"
	"berth/internal/linux/capability"
	"berth/internal/linux/seccomp/cbpf"

	"golang.org/x/sys/unix"
)

const document1 = `{
	"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 13,
	"archMap": [
		{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
		{"architecture": "SCMP_ARCH_S390X", "subArchitectures": ["SCMP_ARCH_S390"]}
	],
	"flags": ["SECCOMP_FILTER_FLAG_LOG"],
	"syscalls": [
		{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
		{"name": "ptrace", "action": "SCMP_ACT_ALLOW", "comment": "x", "includes": {"minKernel": "4.8", "caps": ["CAP_SYS_PTRACE"]}, "excludes": {"arches": ["s390"]}},
		{"names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "args": [{"index": 1, "value": 255, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ"}]}
	]
}`

func TestParse(t *testing.T) {
	p, err := Parse([]byte(document1))
	if err != nil {
		t.Fatal(err)
	}
	want := &Profile{
		Default: Errno(unix.EACCES), Flags: unix.SECCOMP_FILTER_FLAG_LOG,
		sub: [numArches]archSet{AMD64: setOf(I386) | setOf(X32)},
		Rules: []Rule{
			{Names: "read write", Action: Allow},
			{Names: "ptrace", Action: Allow, When: Condition{Caps: capability.SysPtrace, MinKernel: Version{4, 8}}, Unless: Condition{arches: otherArch}},
			{Names: "clone", Action: Errno(unix.ENOSYS), Args: []Arg{{Index: 1, Op: MaskedEqual, Value: 255, ValueTwo: 3}}},
		},
	}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("got  %+v\nwant %+v", p, want)
	}
	for caps, kernel := range map[capability.Set]Version{0: {5, 10}, capability.SysPtrace: {4, 7}} {
		f, err := Compile(p, Target{Arch: AMD64, Caps: caps, Kernel: kernel})
		if err != nil || verdictOf(t, f, AMD64, "ptrace") != Errno(unix.EACCES) {
			t.Errorf("ptrace with %v on %v: allowed, %v", caps, kernel, err)
		}
	}
	f, err := Compile(p, Target{Arch: AMD64, Caps: capability.SysPtrace, Kernel: Version{4, 8}})
	if err != nil || verdictOf(t, f, I386, "ptrace") != Allow || verdictOf(t, f, X32, "clone", 0, 0x1303) != Errno(unix.ENOSYS) ||
		verdictOf(t, f, AMD64, "clone", 0, 4) != Errno(unix.EACCES) {
		t.Errorf("wrong verdicts, %v", err)
	}
}

func TestParseNothing(t *testing.T) {
	p, err := Parse([]byte("{}"))
	if err != nil || !p.Disabled {
		t.Fatal(p, err)
	}
	if f, err := Compile(p, Target{}); f != nil || err != nil {
		t.Error(f, err)
	}
}

func TestParseErrors(t *testing.T) {
	call := func(s string) string {
		return `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [` + s + `]}`
	}
	for in, want := range map[string]string{
		"":                                       "unexpected end",
		"[]":                                     "cannot unmarshal",
		`{"defaultAction": "SCMP_ACT_MAYBE"}`:    `defaultAction: unknown action "SCMP_ACT_MAYBE"`,
		`{"syscalls": [{"names": ["read"]}]}`:    "defaultAction: unknown action",
		`{"defaultAction": "SCMP_ACT_NOTIFY"}`:   "not supported",
		call(`{"action": "SCMP_ACT_ALLOW"}`):     "syscalls[0]: names is empty",
		call(`{"names": ["a"], "action": "no"}`): `syscalls[0]: unknown action "no"`,
		call(`{"names": ["a"], "name": "b", "action": "SCMP_ACT_ALLOW"}`):                                                         "both name and names",
		call(`{"names": ["a"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096}`):                                                    "out of range",
		call(`{"names": ["a"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 6, "op": "SCMP_CMP_EQ"}]}`):                         "argument index 6",
		call(`{"names": ["a"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "op": "SCMP_CMP_LIKE"}]}`):                       "unknown comparison",
		call(`{"names": ["a"], "action": "SCMP_ACT_ERRNO", "includes": {"minKernel": "4"}}`):                                      "minKernel",
		call(`{"names": ["a"], "action": "SCMP_ACT_ERRNO", "includes": {"minKernel": "4.8.1"}}`):                                  "minKernel",
		`{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["FAST"]}`:                                                                  `unknown flag "FAST"`,
		`{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["amd64"]}`:                                                         `unknown architecture "amd64"`,
		`{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"}`:                                                               "listenerPath",
		`{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], "archMap": [{"architecture": "SCMP_ARCH_X86"}]}`: "use one",
		strings.Repeat(" ", maxDocument) + "{}":                                                                                   "longer than",
	} {
		_, err := Parse([]byte(in))
		if !errors.Is(err, errdefs.InvalidArgument) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", in, err, want)
		}
	}
}

// A profile for one architecture kills the calls of the others.
func TestForeignArchitecture(t *testing.T) {
	p, err := Parse([]byte(`{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_MIPS"], "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	f, err := Compile(p, Target{Arch: AMD64})
	if err != nil {
		t.Fatal(err)
	}
	for a, want := range map[Arch]Action{AMD64: Allow, I386: KillProcess, X32: KillProcess, ARM64: KillProcess} {
		if got := verdictOf(t, f, a, "read"); got != want {
			t.Errorf("%s: %#x, want %#x", a, got, want)
		}
	}
	got, _, err := cbpf.Run(f.Instructions(), &cbpf.Data{Number: ^uint32(0), Arch: AMD64.audit()})
	if err != nil || Action(got) != Errno(unix.ENOSYS) {
		t.Errorf("a call cancelled by a debugger: %#x, %v", got, err)
	}
}

func TestTooLarge(t *testing.T) {
	p := &Profile{Default: Allow}
	for v := range uint64(3000) {
		p.Rules = append(p.Rules, Rule{Names: "read", Action: Errno(unix.EPERM), Args: []Arg{{Op: MaskedEqual, Value: 0xffff, ValueTwo: v}}})
	}
	if _, err := Compile(p, Target{Arch: AMD64}); !errors.Is(err, errdefs.InvalidArgument) {
		t.Error(err)
	}
}

// randomProfile makes a profile whose rules meet each other often.
func randomProfile(r *rand.Rand) *Profile {
	actions := []Action{Allow, Errno(unix.EPERM), Errno(unix.ENOSYS), KillThread, Log, Trap}
	calls := []string{"read", "write", "socket", "clone", "socketcall", "execve", "personality", "set_tls", "ioctl", "nothing", "mmap2", "kexec_load", "bind", "shmat", "ipc"}
	values := []uint64{0, 1, 2, 0x7f, 1 << 31, 1<<32 - 1, 1 << 32, 1<<40 + 1, ^uint64(0)}
	p := &Profile{Default: actions[r.IntN(4)], sub: [numArches]archSet{AMD64: archSet(r.Uint32() & 7), ARM64: archSet(r.Uint32() & 0x1f)}}
	for range r.IntN(40) {
		rule := Rule{Action: actions[r.IntN(len(actions))]}
		for range 1 + r.IntN(6) {
			if r.IntN(3) == 0 {
				rule.Names += " " + nameAt(r.IntN(len(tableSlots)))
			} else {
				rule.Names += " " + calls[r.IntN(len(calls))]
			}
		}
		if r.IntN(3) > 0 {
			for range 1 + r.IntN(3) {
				rule.Args = append(rule.Args, Arg{uint8(r.IntN(3)), Op(r.IntN(7)), values[r.IntN(len(values))], values[r.IntN(len(values))]})
			}
		}
		if r.IntN(8) == 0 {
			rule.When.Caps, rule.Unless.arches = capability.Set(r.Uint64()&3), archSet(r.Uint32()&3)
		}
		p.Rules = append(p.Rules, rule)
	}
	return p
}

func TestRandomProfiles(t *testing.T) {
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 1))
		p := randomProfile(r)
		target := Target{Arch: []Arch{AMD64, ARM64}[seed%2], Caps: capability.Set(r.Uint64() & 3), Kernel: OldestKernel()}
		f, err := Compile(p, target)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, p, target, f)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(document1))
	f.Add([]byte(`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_KILL","args":[{"index":0,"value":1,"op":"SCMP_CMP_LT"},{"index":0,"value":9,"op":"SCMP_CMP_GE"}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse(data)
		if err != nil {
			return
		}
		for _, arch := range []Arch{AMD64, ARM64} {
			filter, err := Compile(p, Target{Arch: arch, Kernel: OldestKernel()})
			if err != nil || filter == nil {
				continue
			}
			if err := cbpf.Check(filter.Instructions()); err != nil {
				t.Error(err)
			}
		}
	})
}

func FuzzCompile(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		p := randomProfile(rand.New(rand.NewPCG(a, b)))
		target := Target{Arch: []Arch{AMD64, ARM64}[b%2], Caps: capability.Set(a & 3), Kernel: OldestKernel()}
		filter, err := Compile(p, target)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, p, target, filter)
	})
}
