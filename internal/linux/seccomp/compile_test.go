package seccomp

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"berth/internal/linux/capability"
	"berth/internal/linux/seccomp/cbpf"

	"golang.org/x/sys/unix"
)

// meaning is what a profile says about every call, read from the profile
// directly: the specification that the compiler is tested against.
type meaning struct {
	p      *Profile
	t      Target
	rules  [numArches]map[uint32][]*Rule // those that count, by number
	newest [numArches]int64
	x32    bool
}

func newMeaning(p *Profile, t Target) *meaning {
	m := &meaning{p: p, t: t, x32: p.covered(t.Arch).has(X32)}
	for a := range numArches {
		m.rules[a], m.newest[a] = map[uint32][]*Rule{}, -1
	}
	for i := range p.Rules {
		r := &p.Rules[i]
		for n := range strings.FieldsSeq(r.Names) {
			for a := range numArches {
				nr, ok := Number(a, n)
				if a == X32 { // one tree serves both
					nr &^= x32Bit
					if !m.x32 || nr < firstX32 {
						continue
					}
					a = AMD64
				}
				if !ok {
					continue
				}
				if !m.apart(a, nr) {
					m.newest[a] = max(m.newest[a], int64(nr))
				}
				if r.counts(t) && r.Action != p.Default {
					m.rules[a][nr] = append(m.rules[a][nr], r)
				}
			}
			by, op := multiplexed(n)
			if nr, ok := Number(I386, by); ok && r.counts(t) && r.Action != p.Default && (len(r.Args) == 0 || !r.Action.permissive()) {
				m.rules[I386][nr] = append(m.rules[I386][nr], &Rule{Action: r.Action, Args: []Arg{{Value: op}}})
				m.newest[I386] = max(m.newest[I386], int64(nr))
			}
		}
	}
	return m
}

// apart reports whether a number is in a range above the others that is known whole.
func (m *meaning) apart(a Arch, nr uint32) bool {
	return a == ARM && armPrivate < nr && nr <= armPrivate+6 || a == AMD64 && m.x32 && firstX32 <= nr && nr <= lastX32
}

func (m *meaning) of(a Arch, nr uint32, args [6]uint64) Action {
	if !m.p.covered(m.t.Arch).has(a) {
		return KillProcess
	}
	if a == X32 {
		a, nr = AMD64, nr&^x32Bit
	}
	for _, r := range m.rules[a][nr] {
		if len(r.Args) == 0 {
			return r.Action
		}
	}
	for _, r := range m.rules[a][nr] {
		if matches(r, a, args) {
			return r.Action
		}
	}
	if m.newest[a] >= 0 && int64(nr) > m.newest[a] && !m.apart(a, nr) && !m.p.Default.permissive() {
		return Errno(unix.ENOSYS)
	}
	return m.p.Default
}

func matches(r *Rule, a Arch, args [6]uint64) bool {
	holds := func(c Arg) bool {
		v := args[c.Index]
		if a.narrow() {
			v, c.Value, c.ValueTwo = v&0xffffffff, c.Value&0xffffffff, c.ValueTwo&0xffffffff
		}
		return c.holds(v)
	}
	seen, repeated, every, some := uint8(0), false, true, false
	for _, c := range r.Args {
		repeated = repeated || seen&(1<<c.Index) != 0
		seen |= 1 << c.Index
		every, some = every && holds(c), some || holds(c)
	}
	return every || repeated && some
}

// corners returns the argument values at which some rule of the profile may change its mind.
func corners(p *Profile, index uint8) []uint64 {
	list := []uint64{0, 1, 0xffffffff, 1 << 32, ^uint64(0)}
	for operation := range uint64(26) {
		list = append(list, operation)
	}
	for _, r := range p.Rules {
		for _, c := range r.Args {
			if c.Index != index {
				continue
			}
			for _, v := range []uint64{c.Value, c.ValueTwo} {
				list = append(list, v-1, v, v+1, v|1<<32, v&0xffffffff)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// compare questions a filter about every call with every corner and reports
// where it differs from the profile's meaning.
func compare(t *testing.T, p *Profile, target Target, f Filter) {
	t.Helper()
	code := f.Instructions()
	if err := cbpf.Check(code); err != nil {
		t.Fatal(err)
	}
	inArgs := map[string]uint8{}
	for _, r := range p.Rules {
		for n := range strings.FieldsSeq(r.Names) {
			for _, c := range r.Args {
				inArgs[n] |= 1 << c.Index
			}
			inArgs["socketcall"], inArgs["ipc"] = 1, 1
		}
	}
	m := newMeaning(p, target)
	var at [6][]uint64
	for i := range at {
		at[i] = corners(p, uint8(i))
	}
	ask := func(a Arch, nr uint32, args [6]uint64) {
		got, _, err := cbpf.Run(code, &cbpf.Data{Number: nr, Arch: a.audit(), Args: args})
		if want := m.of(a, nr, args); err != nil || Action(got) != want {
			t.Fatalf("%s call %#x %#x: %#x, %v; want %#x", a, nr, args, got, err, want)
		}
	}
	for _, a := range []Arch{AMD64, I386, X32, ARM64, ARM} {
		if !target.Arch.family().has(a) {
			continue
		}
		for slot := range numSlots {
			if a == X32 && slot >= privateSlot {
				break // would lack the bit that makes it X32
			}
			ask(a, a.numberOf(slot), [6]uint64{})
		}
		ask(a, a.numberOf(0)+privateSlot+50, [6]uint64{})
		for name, nr := range Names(a) {
			for index := range uint8(6) {
				if inArgs[name]&(1<<index) == 0 {
					continue
				}
				for _, v := range at[index] {
					for _, w := range []uint64{0, v} { // the other arguments
						args := [6]uint64{w, w, w, w, w, w}
						args[index] = v
						ask(a, nr, args)
					}
				}
			}
		}
	}
}

func TestDefaultMeansItsProfile(t *testing.T) {
	for _, arch := range []Arch{AMD64, ARM64} {
		for _, caps := range []capability.Set{0, capability.Default(), capability.DockerDefault() | capability.SysAdmin, capability.Known()} {
			target := Target{Arch: arch, Caps: caps, Kernel: OldestKernel()}
			f, err := Compile(DefaultProfile(), target)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, DefaultProfile(), target, f)
		}
	}
}

// The embedded filters must be those that the compiler makes now.
func TestPrecompiledIsFresh(t *testing.T) {
	for arch, goarch := range map[Arch]string{AMD64: "amd64", ARM64: "arm64"} {
		for suffix, caps := range map[string]capability.Set{"": capability.SysChroot, "_nochroot": 0} {
			want, err := os.ReadFile("default" + suffix + "_" + goarch + ".bpf")
			if err != nil {
				t.Fatal(err)
			}
			got, err := Compile(DefaultProfile(), Target{Arch: arch, Caps: caps, Kernel: OldestKernel()})
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s%s is stale (%v): go generate ./internal/linux/seccomp", goarch, suffix, err)
			}
		}
	}
}

// Default must give the filter that compiling for the same capabilities gives.
func TestDefault(t *testing.T) {
	for _, caps := range []capability.Set{0, capability.Default(), capability.DockerDefault(), capability.NetAdmin, capability.SysPtrace, capability.Known()} {
		got, err := Default(caps)
		if err != nil {
			t.Fatal(err)
		}
		want, err := Compile(DefaultProfile(), Target{Arch: native, Caps: caps, Kernel: OldestKernel()})
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: differs, %v", caps, err)
		}
	}
}

func TestTable(t *testing.T) {
	last := ""
	for i := range tableSlots {
		if n := nameAt(i); n <= last {
			t.Errorf("%q after %q", n, last)
		} else {
			last = n
		}
	}
	for _, c := range []struct {
		arch Arch
		name string
		want uint32
	}{
		{AMD64, "read", 0}, {AMD64, "socket", unix.SYS_SOCKET}, {AMD64, "clone3", 435}, {I386, "socketcall", 102}, {I386, "socket", 359},
		{X32, "read", x32Bit}, {X32, "execve", x32Bit + 520}, {X32, "pwritev2", x32Bit + 547}, {ARM64, "socket", 198}, {ARM, "set_tls", 0x0f0005},
		{ARM, "sync_file_range2", 341},
	} {
		if native == ARM64 && c.name == "socket" && c.arch == AMD64 {
			c.want = 41
		}
		if got, ok := Number(c.arch, c.name); !ok || got != c.want {
			t.Errorf("%s %s = %d, %v; want %d", c.arch, c.name, got, ok, c.want)
		}
	}
	for a, name := range map[Arch]string{AMD64: "socketcall", X32: "uselib", ARM64: "open", ARM: "socketcall"} {
		if nr, ok := Number(a, name); ok {
			t.Errorf("%s has %s: %d", a, name, nr)
		}
	}
}

// Names that no architecture has would be typing errors, but for those of
// architectures that berth does not run on.
func TestDefaultNames(t *testing.T) {
	foreign := " riscv_hwprobe "
	for i := range defaultRules {
		for n := range strings.FieldsSeq(defaultRules[i].Names) {
			if _, ok := find(n); !ok && !strings.Contains(foreign, " "+n+" ") {
				t.Errorf("unknown call %s", n)
			}
		}
	}
}

func verdictOf(t *testing.T, f Filter, a Arch, name string, args ...uint64) Action {
	t.Helper()
	nr, ok := Number(a, name)
	if !ok {
		t.Fatalf("%s has no %s", a, name)
	}
	d := cbpf.Data{Number: nr, Arch: a.audit()}
	copy(d.Args[:], args)
	got, _, err := cbpf.Run(f.Instructions(), &d)
	if err != nil {
		t.Fatal(err)
	}
	return Action(got)
}

// Row 18 of the hardening list as values, and what the default promises besides.
func TestDefaultRefuses(t *testing.T) {
	f, err := Compile(DefaultProfile(), Target{Arch: AMD64, Caps: capability.DockerDefault(), Kernel: OldestKernel()})
	if err != nil {
		t.Fatal(err)
	}
	arm, err := Compile(DefaultProfile(), Target{Arch: ARM64, Caps: capability.DockerDefault(), Kernel: OldestKernel()})
	if err != nil {
		t.Fatal(err)
	}
	eperm, enosys := Errno(unix.EPERM), Errno(unix.ENOSYS)
	for _, c := range []struct {
		name string
		arg  uint64
		want Action
	}{
		{"socket", unix.AF_ALG, eperm}, {"socket", unix.AF_VSOCK, eperm}, {"socket", 46, eperm}, {"socket", unix.AF_INET, Allow},
		{"socket", 1<<32 | unix.AF_ALG, eperm}, {"socket", unix.AF_NETLINK, Allow}, {"socket", unix.AF_UNIX, Allow},
		{"clone", uint64(unix.SIGCHLD), Allow}, {"clone", unix.CLONE_NEWUSER, eperm}, {"clone", unix.CLONE_NEWNS | uint64(unix.SIGCHLD), eperm},
		{"clone3", 0, enosys}, {"keyctl", 0, eperm}, {"add_key", 0, eperm}, {"userfaultfd", 0, eperm}, {"bpf", 0, eperm},
		{"io_uring_setup", 0, eperm}, {"io_uring_enter", 0, eperm}, {"io_uring_register", 0, eperm}, {"unshare", 0, eperm},
		{"setns", 0, eperm}, {"mount", 0, eperm}, {"kexec_load", 0, eperm}, {"open_by_handle_at", 0, eperm}, {"perf_event_open", 0, eperm},
		{"personality", 0x40000, eperm}, {"personality", perAsk, Allow}, {"ptrace", 0, Allow}, {"rseq_slice_yield", 0, enosys},
	} {
		for _, a := range []Arch{AMD64, I386, X32, ARM64, ARM} {
			filter := f
			if a == ARM64 || a == ARM {
				filter = arm
			}
			want := c.want
			if a.narrow() && c.arg>>32 != 0 {
				continue
			}
			if got := verdictOf(t, filter, a, c.name, c.arg); got != want {
				t.Errorf("%s %s(%#x): %#x, want %#x", a, c.name, c.arg, got, want)
			}
		}
	}
	for call, want := range map[uint64]Action{sysSocket: enosys, 1<<32 | sysSocket: enosys, 2: Allow, 3: Allow, 8: Allow} {
		if got := verdictOf(t, f, I386, "socketcall", call); got != want {
			t.Errorf("socketcall(%d): %#x, want %#x", call, got, want)
		}
	}
}

// What a profile says about a call holds for its second form on I386.
func TestMultiplexed(t *testing.T) {
	eperm := Errno(unix.EPERM)
	deny := func(args ...Arg) *Profile {
		return &Profile{Default: Allow, arches: setOf(I386), Rules: []Rule{{Names: "bind socket shmat", Action: eperm, Args: args}}}
	}
	allow := func(args ...Arg) *Profile {
		return &Profile{Default: eperm, arches: setOf(I386), Rules: []Rule{{Names: "bind socket shmat", Action: Allow, Args: args}}}
	}
	alg := Arg{Value: unix.AF_ALG}
	for i, c := range []struct {
		p           *Profile
		bind, other Action
	}{{deny(), eperm, Allow}, {deny(alg), eperm, Allow}, {allow(), Allow, eperm}, {allow(alg), eperm, eperm}} {
		f, err := Compile(c.p, Target{Arch: AMD64})
		if err != nil {
			t.Fatal(err)
		}
		for _, op := range []uint64{sysSocket, 2} {
			if got := verdictOf(t, f, I386, "socketcall", op); got != c.bind {
				t.Errorf("%d: socketcall(%d) = %#x", i, op, got)
			}
		}
		if got := verdictOf(t, f, I386, "ipc", 21); got != c.bind {
			t.Errorf("%d: ipc(SHMAT) = %#x", i, got)
		}
		if got := verdictOf(t, f, I386, "socketcall", 3); got != c.other {
			t.Errorf("%d: socketcall(CONNECT) = %#x", i, got)
		}
	}
}

// A path through the filter stays short: that is what makes its installation cheap.
func TestDepth(t *testing.T) {
	f, err := Default(capability.Default())
	if err != nil {
		t.Fatal(err)
	}
	code, worst := f.Instructions(), 0
	for nr := range uint32(500) {
		for _, a := range []Arch{native, I386} {
			_, steps, err := cbpf.Run(code, &cbpf.Data{Number: nr, Arch: a.audit()})
			if err != nil {
				t.Fatal(err)
			}
			worst = max(worst, steps)
		}
	}
	if worst > 24 || f.Len() > 420 {
		t.Errorf("%d instructions, %d on the longest path", f.Len(), worst)
	}
}

func BenchmarkDefault(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Default(capability.Default()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(DefaultProfile(), Target{Arch: AMD64, Caps: capability.Known(), Kernel: OldestKernel()}); err != nil {
			b.Fatal(err)
		}
	}
}
