package seccomp

import (
	"encoding/binary"
	"io"
	"os"
	"slices"
	"testing"

	moby "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	scmp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"

	"berth/internal/linux/capability"
	"berth/internal/linux/seccomp"
)

// The architectures under three names.
var arches = map[seccomp.Arch]struct {
	scmp  scmp.ScmpArch
	audit uint32
}{
	seccomp.AMD64: {scmp.ArchAMD64, unix.AUDIT_ARCH_X86_64},
	seccomp.I386:  {scmp.ArchX86, unix.AUDIT_ARCH_I386},
	seccomp.X32:   {scmp.ArchX32, unix.AUDIT_ARCH_X86_64},
	seccomp.ARM64: {scmp.ArchARM64, unix.AUDIT_ARCH_AARCH64},
	seccomp.ARM:   {scmp.ArchARM, unix.AUDIT_ARCH_ARM},
}

func family(a seccomp.Arch) []seccomp.Arch {
	if a == seccomp.ARM64 {
		return []seccomp.Arch{seccomp.ARM64, seccomp.ARM}
	}
	return []seccomp.Arch{seccomp.AMD64, seccomp.I386, seccomp.X32}
}

// selected returns the rules of a Docker profile that are in force for a
// container, by a reading of the format independent of berth's.
func selected(p *moby.Seccomp, arch string, caps capability.Set) (rules []specs.LinuxSyscall) {
	held := caps.Names()
	for _, s := range p.Syscalls {
		in, ex := s.Includes, s.Excludes
		skip := false
		if in != nil {
			skip = len(in.Arches) > 0 && !slices.Contains(in.Arches, arch)
			for _, c := range in.Caps {
				skip = skip || !slices.Contains(held, c)
			}
		}
		if ex != nil {
			skip = skip || slices.Contains(ex.Arches, arch)
			for _, c := range ex.Caps {
				skip = skip || slices.Contains(held, c)
			}
		}
		if !skip {
			rules = append(rules, s.LinuxSyscall)
		}
	}
	return rules
}

func action(t *testing.T, a specs.LinuxSeccompAction, errno *uint) scmp.ScmpAction {
	t.Helper()
	code := int16(unix.EPERM)
	if errno != nil {
		code = int16(*errno)
	}
	switch a {
	case specs.ActAllow:
		return scmp.ActAllow
	case specs.ActErrno:
		return scmp.ActErrno.SetReturnCode(code)
	case specs.ActKillProcess:
		return scmp.ActKillProcess
	case specs.ActKill, specs.ActKillThread:
		return scmp.ActKillThread
	case specs.ActLog:
		return scmp.ActLog
	case specs.ActTrap:
		return scmp.ActTrap
	}
	t.Fatal(a)
	return 0
}

func operator(t *testing.T, o specs.LinuxSeccompOperator) scmp.ScmpCompareOp {
	t.Helper()
	i := slices.Index([]specs.LinuxSeccompOperator{specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpEqualTo,
		specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpMaskedEqual}, o)
	if i < 0 {
		t.Fatal(o)
	}
	return []scmp.ScmpCompareOp{scmp.CompareNotEqual, scmp.CompareLess, scmp.CompareLessOrEqual, scmp.CompareEqual,
		scmp.CompareGreaterEqual, scmp.CompareGreater, scmp.CompareMaskedEqual}[i]
}

// reference returns libseccomp's filter, built as runc builds it.
func reference(t *testing.T, def specs.LinuxSeccompAction, defErrno *uint, rules []specs.LinuxSyscall, covered []seccomp.Arch) []unix.SockFilter {
	t.Helper()
	defAction := action(t, def, defErrno)
	f, err := scmp.NewFilter(defAction)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Release()
	for _, a := range covered {
		if err := f.AddArch(arches[a].scmp); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Contains(covered, seccomp.AMD64) {
		if err := f.RemoveArch(scmp.ArchAMD64); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range rules {
		act := action(t, r.Action, r.ErrnoRet)
		if act == defAction {
			continue
		}
		for _, name := range r.Names {
			nr, err := scmp.GetSyscallFromName(name)
			if err != nil {
				continue
			}
			for _, conditions := range conditions(t, r.Args) {
				if conditions == nil {
					err = f.AddRule(nr, act)
				} else {
					err = f.AddRuleConditional(nr, act, conditions)
				}
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
		}
	}
	return export(t, f)
}

// conditions splits a rule that compares one argument twice into several.
func conditions(t *testing.T, args []specs.LinuxSeccompArg) [][]scmp.ScmpCondition {
	t.Helper()
	if len(args) == 0 {
		return [][]scmp.ScmpCondition{nil}
	}
	var all []scmp.ScmpCondition
	seen, repeated := map[uint]bool{}, false
	for _, a := range args {
		c, err := scmp.MakeCondition(a.Index, operator(t, a.Op), a.Value, a.ValueTwo)
		if a.Op != specs.OpMaskedEqual {
			c, err = scmp.MakeCondition(a.Index, operator(t, a.Op), a.Value)
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
		repeated = repeated || seen[a.Index]
		seen[a.Index] = true
	}
	if !repeated {
		return [][]scmp.ScmpCondition{all}
	}
	var each [][]scmp.ScmpCondition
	for i := range all {
		each = append(each, all[i:i+1])
	}
	return each
}

func export(t *testing.T, f *scmp.ScmpFilter) (code []unix.SockFilter) {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := f.ExportBPF(file); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	for {
		var i unix.SockFilter
		if err := binary.Read(file, binary.NativeEndian, &i); err == io.EOF {
			return code
		} else if err != nil {
			t.Fatal(err)
		}
		code = append(code, i)
	}
}
