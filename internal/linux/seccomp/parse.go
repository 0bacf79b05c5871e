package seccomp

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"berth/internal/errdefs"
	"berth/internal/linux/capability"

	"golang.org/x/sys/unix"
)

// maxDocument bounds a profile; Docker's default has 18 KiB.
const maxDocument = 1 << 20

// document is a profile as JSON: Docker's format, of which the seccomp section
// of an OCI specification is a part.
type document struct {
	DefaultAction   string       `json:"defaultAction"`
	DefaultErrnoRet *uint        `json:"defaultErrnoRet"`
	Architectures   []string     `json:"architectures"`
	ArchMap         []docArch    `json:"archMap"`
	Flags           []string     `json:"flags"`
	ListenerPath    string       `json:"listenerPath"`
	Syscalls        []docSyscall `json:"syscalls"`
}

type docArch struct {
	Architecture     string   `json:"architecture"`
	SubArchitectures []string `json:"subArchitectures"`
}

type docSyscall struct {
	Name     string       `json:"name"` // before Docker 1.13
	Names    []string     `json:"names"`
	Action   string       `json:"action"`
	ErrnoRet *uint        `json:"errnoRet"`
	Args     []docArg     `json:"args"`
	Includes docCondition `json:"includes"`
	Excludes docCondition `json:"excludes"`
}

type docArg struct {
	Index    uint   `json:"index"`
	Value    uint64 `json:"value"`
	ValueTwo uint64 `json:"valueTwo"`
	Op       string `json:"op"`
}

type docCondition struct {
	Caps      []string `json:"caps"`
	Arches    []string `json:"arches"`
	MinKernel string   `json:"minKernel"`
}

// Parse reads a profile in Docker's JSON format.
func Parse(data []byte) (*Profile, error) {
	p, err := parse(data)
	if err != nil {
		return nil, errdefs.New(errdefs.InvalidArgument, "malformed seccomp profile: %w", err)
	}
	return p, nil
}

func parse(data []byte) (*Profile, error) {
	if len(data) > maxDocument {
		return nil, fmt.Errorf("longer than %d bytes", maxDocument)
	}
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, err
	}
	if d.DefaultAction == "" && len(d.Syscalls) == 0 {
		return &Profile{Disabled: true}, nil
	}
	if d.ListenerPath != "" {
		return nil, errors.New("listenerPath: a filter that asks another process is not supported")
	}
	def, err := parseAction(d.DefaultAction, d.DefaultErrnoRet)
	if err != nil {
		return nil, fmt.Errorf("defaultAction: %w", err)
	}
	p := &Profile{Default: def, Rules: make([]Rule, 0, len(d.Syscalls))}
	if err := p.parseArches(&d); err != nil {
		return nil, err
	}
	if p.Flags, err = parseFlags(d.Flags); err != nil {
		return nil, err
	}
	for i := range d.Syscalls {
		r, err := parseRule(&d.Syscalls[i])
		if err != nil {
			return nil, fmt.Errorf("syscalls[%d]: %w", i, err)
		}
		p.Rules = append(p.Rules, r)
	}
	return p, nil
}

func (p *Profile) parseArches(d *document) error {
	if len(d.Architectures) > 0 && len(d.ArchMap) > 0 {
		return errors.New("both architectures and archMap are given: use one")
	}
	set := func(names []string) (s archSet, err error) {
		for _, n := range names {
			if !strings.HasPrefix(n, "SCMP_ARCH_") {
				return 0, fmt.Errorf("unknown architecture %q", n)
			}
			s |= archNamed(n)
		}
		return s, nil
	}
	var err error
	if p.arches, err = set(d.Architectures); err != nil {
		return err
	}
	for _, m := range d.ArchMap {
		one, err := set([]string{m.Architecture})
		if err != nil {
			return err
		}
		sub, err := set(m.SubArchitectures)
		if err != nil {
			return err
		}
		for a := range numArches {
			if one.has(a) {
				p.sub[a] |= sub
			}
		}
	}
	return nil
}

func parseAction(name string, errno *uint) (Action, error) {
	data := Action(unix.EPERM)
	if errno != nil {
		if *errno > 4095 { // MAX_ERRNO: the kernel caps it there
			return 0, fmt.Errorf("errno %d is out of range", *errno)
		}
		data = Action(*errno)
	}
	switch name {
	case "SCMP_ACT_ALLOW":
		return Allow, nil
	case "SCMP_ACT_ERRNO":
		return errnoAction | data, nil
	case "SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD":
		return KillThread, nil
	case "SCMP_ACT_KILL_PROCESS":
		return KillProcess, nil
	case "SCMP_ACT_TRAP":
		return Trap, nil
	case "SCMP_ACT_TRACE":
		return Trace | data, nil
	case "SCMP_ACT_LOG":
		return Log, nil
	case "SCMP_ACT_NOTIFY":
		return 0, errors.New("action SCMP_ACT_NOTIFY: a filter that asks another process is not supported")
	}
	return 0, fmt.Errorf("unknown action %q", name)
}

func parseFlags(names []string) (flags uintptr, err error) {
	for _, n := range names {
		switch n {
		case "SECCOMP_FILTER_FLAG_TSYNC":
			flags |= unix.SECCOMP_FILTER_FLAG_TSYNC
		case "SECCOMP_FILTER_FLAG_LOG":
			flags |= unix.SECCOMP_FILTER_FLAG_LOG
		case "SECCOMP_FILTER_FLAG_SPEC_ALLOW":
			flags |= unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
		default:
			return 0, fmt.Errorf("unknown flag %q", n)
		}
	}
	return flags, nil
}

func parseRule(s *docSyscall) (r Rule, err error) {
	switch {
	case s.Name != "" && len(s.Names) > 0:
		return r, errors.New("both name and names are given: use names")
	case s.Name != "":
		r.Names = s.Name
	default:
		r.Names = strings.Join(s.Names, " ")
	}
	if r.Names == "" {
		return r, errors.New("names is empty")
	}
	if r.Action, err = parseAction(s.Action, s.ErrnoRet); err != nil {
		return r, err
	}
	for _, a := range s.Args {
		op, err := parseOp(a.Op)
		if err != nil {
			return r, err
		}
		if a.Index > 5 {
			return r, fmt.Errorf("argument index %d: a call has six arguments, 0 to 5", a.Index)
		}
		r.Args = append(r.Args, Arg{uint8(a.Index), op, a.Value, a.ValueTwo})
	}
	if r.When, err = parseCondition(&s.Includes); err != nil {
		return r, fmt.Errorf("includes: %w", err)
	}
	if r.Unless, err = parseCondition(&s.Excludes); err != nil {
		return r, fmt.Errorf("excludes: %w", err)
	}
	return r, nil
}

func parseOp(name string) (Op, error) {
	switch name {
	case "SCMP_CMP_EQ":
		return Equal, nil
	case "SCMP_CMP_NE":
		return NotEqual, nil
	case "SCMP_CMP_LT":
		return Less, nil
	case "SCMP_CMP_LE":
		return LessOrEqual, nil
	case "SCMP_CMP_GT":
		return Greater, nil
	case "SCMP_CMP_GE":
		return GreaterOrEqual, nil
	case "SCMP_CMP_MASKED_EQ":
		return MaskedEqual, nil
	}
	return 0, fmt.Errorf("unknown comparison %q", name)
}

func parseCondition(d *docCondition) (c Condition, err error) {
	for _, name := range d.Caps {
		one, err := capability.Parse(name)
		if err != nil {
			one = unknownCap
		}
		c.Caps |= one
	}
	for _, name := range d.Arches {
		c.arches |= archNamed(name)
	}
	if d.MinKernel != "" {
		v, ok := parseVersion(d.MinKernel)
		if !ok || strings.Count(d.MinKernel, ".") != 1 {
			return c, fmt.Errorf("minKernel %q: want \"<version>.<revision>\"", d.MinKernel)
		}
		c.MinKernel = v
	}
	return c, nil
}
