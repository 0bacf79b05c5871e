package seccomp

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	moby "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	scmp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"

	"berth/internal/linux/capability"
	"berth/internal/linux/seccomp"
	"berth/internal/linux/seccomp/cbpf"
)

// The calls asked about: all numbers up to last, and the private ones of arm.
const (
	last    = 600
	x32Bit  = 0x40000000
	private = 0x0f0000
)

// question is one call put to both filters.
type question struct {
	arch   seccomp.Arch
	number uint32
	args   [6]uint64
}

// asker puts every question to both filters and sorts the differences.
type asker struct {
	t            *testing.T
	ours, theirs []unix.SockFilter
	rules        []specs.LinuxSyscall
	def          uint32
	newest       map[seccomp.Arch]uint32
	own          func(q question, ours, theirs uint32) string // differences that this profile is meant to have
	asked        int
	what         string // the profile, for the error
	seen         map[string]int
}

// difference returns why the two filters may differ here, or "".
func (a *asker) difference(q question, ours, theirs uint32) string {
	if a.own != nil {
		if why := a.own(q, ours, theirs); why != "" {
			return why
		}
	}
	number := q.number
	switch {
	case ours == uint32(seccomp.Errno(unix.ENOSYS)) && theirs == a.def && number > a.newest[q.arch]:
		return "newer than all that the profile names: runc adds ENOSYS to libseccomp's filter itself"
	case q.arch == seccomp.X32 && nameOf(seccomp.X32, number) == "" && nameOf(seccomp.AMD64, number&^x32Bit) != "":
		return "amd64 call that x32 does not have: the kernel refuses it"
	case q.arch == seccomp.AMD64 && 512 <= number && number <= 547:
		return "x32 call without the x32 bit: the kernel refuses it"
	case q.arch == seccomp.X32 && slices.ContainsFunc(q.args[:], func(v uint64) bool { return v>>32 != 0 }):
		return "libseccomp compares 32 bits of an x32 argument, the registers have 64"
	case theirs == a.def && unknown(q.arch, number):
		return "libseccomp 2.5.4 does not know the call"
	}
	return ""
}

func nameOf(arch seccomp.Arch, number uint32) string {
	for n, nr := range seccomp.Names(arch) {
		if nr == number {
			return n
		}
	}
	return ""
}

// unknown reports whether libseccomp has no name for a call that berth has one for.
func unknown(arch seccomp.Arch, number uint32) bool {
	ours := nameOf(arch, number)
	_, err := scmp.ScmpSyscall(int32(number)).GetNameByArch(arches[arch].scmp)
	return ours != "" && err != nil
}

func (a *asker) ask(q question) {
	a.t.Helper()
	d := &cbpf.Data{Number: q.number, Arch: arches[q.arch].audit, Args: q.args}
	ours, _, err := cbpf.Run(a.ours, d)
	if err != nil {
		a.t.Fatal(err)
	}
	theirs, _, err := cbpf.Run(a.theirs, d)
	if err != nil {
		a.t.Fatal(err)
	}
	a.asked++
	if ours == theirs {
		return
	}
	why := a.difference(q, ours, theirs)
	if why == "" {
		a.t.Fatalf("%s %s (%#x) %#x: ours %#x, libseccomp's %#x\n%s", q.arch, nameOf(q.arch, q.number), q.number, q.args, ours, theirs, a.what)
	}
	a.seen[why]++
}

// corners are the values of an argument at which a rule may change its mind.
func (a *asker) corners(index uint) []uint64 {
	list := []uint64{0, 1, 0x7fffffff, 0xffffffff, 1 << 32, ^uint64(0)}
	for _, r := range a.rules {
		for _, c := range r.Args {
			if c.Index == index {
				for _, v := range []uint64{c.Value, c.ValueTwo} {
					list = append(list, v-1, v, v+1, v|1<<32, v&0xffffffff)
				}
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func (a *asker) askAll(covered []seccomp.Arch) {
	inArgs := map[string][6]bool{"socketcall": {true}, "ipc": {true}}
	for _, r := range a.rules {
		for _, n := range r.Names {
			set := inArgs[n]
			for _, c := range r.Args {
				set[c.Index] = true
			}
			inArgs[n] = set
		}
	}
	for _, arch := range covered {
		a.newest[arch] = newest(arch, a.rules)
	}
	for _, arch := range covered {
		for n := range uint32(last) {
			number := n
			if arch == seccomp.X32 {
				number |= x32Bit
			}
			a.ask(question{arch: arch, number: number})
		}
		for name, number := range seccomp.Names(arch) {
			if arch == seccomp.ARM && number >= private {
				a.ask(question{arch: arch, number: number})
			}
			for index, yes := range inArgs[name] {
				if !yes {
					continue
				}
				for _, v := range a.corners(uint(index)) {
					for _, w := range []uint64{0, v} {
						q := question{arch, number, [6]uint64{w, w, w, w, w, w}}
						q.args[index] = v
						a.ask(q)
					}
				}
			}
		}
	}
}

// newest is the highest number that the profile names, ranges that stand apart excepted.
func newest(arch seccomp.Arch, rules []specs.LinuxSyscall) (n uint32) {
	for _, r := range rules {
		for _, name := range r.Names {
			if nr, ok := seccomp.Number(arch, name); ok && nr&^x32Bit < 512 {
				n = max(n, nr)
			}
		}
	}
	return n
}

func (a *asker) report() {
	for why, n := range a.seen {
		a.t.Logf("%6d of %d: %s", n, a.asked, why)
	}
}

// berth's default filter and Docker 29's default profile through libseccomp.
func TestDefault(t *testing.T) {
	socketcall, _ := seccomp.Number(seccomp.I386, "socketcall")
	for _, native := range []seccomp.Arch{seccomp.AMD64, seccomp.ARM64} {
		for _, caps := range []capability.Set{
			0, capability.Default(), capability.DockerDefault(), capability.DockerDefault() | capability.SysAdmin,
			capability.SysPtrace | capability.SysTime | capability.BPF, capability.Known(),
		} {
			t.Run(fmt.Sprintf("%s/%#x", native, uint64(caps)), func(t *testing.T) {
				f, err := seccomp.Compile(seccomp.DefaultProfile(), seccomp.Target{Arch: native, Caps: caps, Kernel: seccomp.OldestKernel()})
				if err != nil {
					t.Fatal(err)
				}
				p := moby.DefaultProfile()
				rules := selected(p, native.String(), caps)
				a := &asker{
					t: t, ours: f.Instructions(), rules: rules, def: uint32(seccomp.Errno(unix.EPERM)), newest: map[seccomp.Arch]uint32{}, seen: map[string]int{},
					theirs: reference(t, p.DefaultAction, p.DefaultErrnoRet, rules, family(native)),
				}
				a.own = func(q question, ours, theirs uint32) string {
					if q.arch == seccomp.I386 && q.number == socketcall && uint32(q.args[0]) == 1 && ours == uint32(seccomp.Errno(unix.ENOSYS)) {
						return "socketcall(SYS_SOCKET) is refused: its address family cannot be seen"
					}
					return ""
				}
				a.askAll(family(native))
				a.report()
			})
		}
	}
}

// document is a random profile as Docker's JSON.
func document(r *rand.Rand) []byte {
	pick := func(list []string) string { return list[r.IntN(len(list))] }
	calls := []string{"read", "write", "clone", "execve", "personality", "ioctl", "nothing", "mmap2", "kexec_load", "getpid", "openat", "rt_sigreturn", "chown32", "removexattr", "bind", "accept4", "shmat", "semop"}
	acts := []string{"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_LOG", "SCMP_ACT_TRAP"}
	ops := []string{"SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"}
	values := []uint64{0, 1, 2, 0x7f, 0x7e020000, 1<<32 - 1}
	def := pick(acts[:2])
	type object = map[string]any
	var rules []object
	// One action per call: what libseccomp makes of contradictions is not
	// specified. And one rule per call if it has several conditions: libseccomp
	// 2.5.4 forgets the other rules when the first condition of such a one holds
	// and the second does not.
	action := map[string]string{}
	conditions := map[string]int{}
	for range 1 + r.IntN(25) {
		act := pick(acts)
		n := r.IntN(3)
		var names []string
		for range 1 + r.IntN(4) {
			call := pick(calls)
			if by := slices.Index(calls, call); n > 0 && by >= slices.Index(calls, "bind") {
				continue // conditions on what is also an operation of socketcall or ipc: libseccomp passes them over, berth does not
			}
			if action[call] == "" {
				action[call] = act
			}
			if action[call] == act && !slices.Contains(names, call) && (conditions[call] == 0 || conditions[call] == 1 && n < 2) {
				names = append(names, call)
				conditions[call] = max(conditions[call], n)
			}
		}
		if names == nil {
			continue
		}
		var args []object
		for index := range n {
			v := values[r.IntN(len(values))]
			arg := object{"index": index, "value": v, "op": pick(ops)}
			if arg["op"] == "SCMP_CMP_MASKED_EQ" {
				arg["valueTwo"] = v & values[r.IntN(len(values))]
			}
			args = append(args, arg)
		}
		rules = append(rules, object{"names": names, "action": act, "args": args})
	}
	b, err := json.Marshal(object{
		"defaultAction": def, "architectures": []string{"SCMP_ARCH_X86_64", "SCMP_ARCH_X86"}, "syscalls": rules,
	})
	if err != nil {
		panic(err)
	}
	return b
}

// Both compilers on random profiles; Docker's own code reads them for libseccomp.
// X32 is left out: with it libseccomp 2.5.4 now and then forgets to load the
// number before it compares (as with seed 78).
func TestRandomProfiles(t *testing.T) {
	covered := []seccomp.Arch{seccomp.AMD64, seccomp.I386}
	for seed := range uint64(200) {
		doc := document(rand.New(rand.NewPCG(seed, 7)))
		p, err := seccomp.Parse(doc)
		if err != nil {
			t.Fatal(err)
		}
		f, err := seccomp.Compile(p, seccomp.Target{Arch: seccomp.AMD64, Kernel: seccomp.OldestKernel()})
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := moby.LoadProfile(string(doc), &specs.Spec{})
		if err != nil {
			t.Fatal(err)
		}
		a := &asker{
			t: t, ours: f.Instructions(), rules: theirs.Syscalls, newest: map[seccomp.Arch]uint32{}, seen: map[string]int{},
			def:    uint32(seccomp.Errno(unix.EPERM)),
			theirs: reference(t, theirs.DefaultAction, theirs.DefaultErrnoRet, theirs.Syscalls, covered),
		}
		a.what = fmt.Sprintf("seed %d: %s", seed, doc)
		a.askAll(covered)
	}
}

// Every number of berth's table that libseccomp knows is libseccomp's too.
func TestTable(t *testing.T) {
	for arch, names := range arches {
		checked := 0
		for name, want := range seccomp.Names(arch) {
			got, err := scmp.GetSyscallFromNameByArch(name, names.scmp)
			if err != nil || got < 0 { // not known, or known for other architectures only
				continue
			}
			checked++
			if uint32(got) != want {
				t.Errorf("%s %s = %d, libseccomp says %d", arch, name, want, got)
			}
		}
		t.Logf("%s: %d calls compared", arch, checked)
		if checked < 290 {
			t.Errorf("%s: only %d calls compared", arch, checked)
		}
	}
}
