package cgroup

import (
	"encoding/binary"
	"errors"
	"os"
	"strings"

	"berth/internal/errdefs"

	"golang.org/x/sys/unix"
)

// On v2 devices have no control files. A small BPF program attached to the
// group is asked at each open and mknod of a device and answers 1 (yes) or 0.
// The program is straight-line code made from the rules; its context is
//
//	struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }
//
// with the type (1 block, 2 character) in the low half of access_type and the
// access bits, those of Access, in the high half (linux/bpf.h).

// The few BPF instructions that it takes (the kernel's Documentation/bpf/standardization).
const (
	opLoad32   = 0x61 // dst = *(u32 *)(src + off)
	opAndImm   = 0x54 // dst &= imm, 32 bits
	opRshImm   = 0x74 // dst >>= imm, 32 bits
	opMovReg   = 0xbc // dst = src, 32 bits
	opMovImm   = 0xb4 // dst = imm, 32 bits
	opJumpNot  = 0x55 // if dst != imm goto +off
	opJumpIs   = 0x15 // if dst == imm goto +off
	opExit     = 0x95
	insnSize   = 8
	mostRules  = 400 // 4096 instructions is what every kernel takes
	typeBlock  = 1
	typeChar   = 2
	regResult  = 0
	regContext = 1
	regType    = 2
	regAccess  = 3
	regMajor   = 4
	regMinor   = 5
	regScratch = 1 // the context is not needed after the loads
)

// filter is a BPF program under construction.
type filter struct{ code []byte }

// add appends an instruction and returns its index.
func (f *filter) add(op, dst, src byte, off int16, imm int32) int {
	regs := dst | src<<4
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 { // the two nibbles are bit fields of a C struct
		regs = src | dst<<4
	}
	f.code = append(f.code, op, regs)
	f.code = binary.NativeEndian.AppendUint16(f.code, uint16(off))
	f.code = binary.NativeEndian.AppendUint32(f.code, uint32(imm))
	return len(f.code)/insnSize - 1
}

// land makes the jump at index from go to the next instruction.
func (f *filter) land(from int) {
	binary.NativeEndian.PutUint16(f.code[from*insnSize+2:], uint16(len(f.code)/insnSize-from-1))
}

// answer ends the program.
func (f *filter) answer(allow bool) {
	var result int32
	if allow {
		result = 1
	}
	f.add(opMovImm, regResult, 0, 0, result)
	f.add(opExit, 0, 0, 0, 0)
}

// deviceFilter compiles the rules. The last rule that matches counts, so they
// are tried from the last to the first; no match is a no.
func deviceFilter(rules []DeviceRule) []byte {
	f := filter{code: make([]byte, 0, insnSize*(6+8*len(rules)))}
	f.add(opLoad32, regType, regContext, 0, 0)
	f.add(opMovReg, regAccess, regType, 0, 0)
	f.add(opAndImm, regType, 0, 0, 0xffff)
	f.add(opRshImm, regAccess, 0, 0, 16)
	f.add(opLoad32, regMajor, regContext, 4, 0)
	f.add(opLoad32, regMinor, regContext, 8, 0)
	for i := len(rules) - 1; i >= 0; i-- {
		if f.rule(&rules[i]) {
			return f.code // old kernels refuse code that is never reached
		}
	}
	f.answer(false)
	return f.code
}

// rule adds one rule and reports whether it matches everything.
func (f *filter) rule(r *DeviceRule) bool {
	var jumps [4]int
	n := 0
	unless := func(op, reg byte, imm int64) {
		jumps[n] = f.add(op, reg, 0, 0, int32(imm))
		n++
	}
	switch r.Type {
	case 'b':
		unless(opJumpNot, regType, typeBlock)
	case 'c':
		unless(opJumpNot, regType, typeChar)
	}
	if r.Access != AllAccess {
		f.add(opMovReg, regScratch, regAccess, 0, 0)
		if r.Allow { // all that is asked for has to be allowed
			f.add(opAndImm, regScratch, 0, 0, int32(AllAccess&^r.Access))
			unless(opJumpNot, regScratch, 0)
		} else { // one that is denied is enough
			f.add(opAndImm, regScratch, 0, 0, int32(r.Access))
			unless(opJumpIs, regScratch, 0)
		}
	}
	if r.Major != Any {
		unless(opJumpNot, regMajor, r.Major)
	}
	if r.Minor != Any {
		unless(opJumpNot, regMinor, r.Minor)
	}
	f.answer(r.Allow)
	for _, from := range jumps[:n] {
		f.land(from)
	}
	return n == 0
}

// attachDevices puts a filter for the rules on the group dir, in place of those
// that are there. The new one is attached before the old ones go: the group is
// at no moment without.
func attachDevices(dir string, rules []DeviceRule) error {
	if len(rules) == 1 && rules[0].Allow && rules[0].everything() {
		rules = nil
	} else if len(rules) > mostRules {
		return refuse("--device-cgroup-rule", "%d rules are more than %d", len(rules), mostRules)
	}
	fd, err := openRetry(unix.AT_FDCWD, dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return pathError("open", dir, err)
	}
	defer unix.Close(fd)
	if err := replaceFilter(fd, rules); err != nil {
		if errors.Is(err, unix.EPERM) && inUserNamespace() {
			return nil // whoever lacks the right to restrict devices there cannot make device nodes either
		}
		return &errdefs.Error{Kind: errdefs.Internal, Op: "restrict devices of", Subject: dir, Err: err,
			Hint: "the kernel needs CONFIG_CGROUP_BPF, and we CAP_BPF or CAP_SYS_ADMIN"}
	}
	return nil
}

// replaceFilter attaches a filter for rules, none for nil, and detaches all others.
func replaceFilter(group int, rules []DeviceRule) error {
	old, err := queryFilters(group)
	if err != nil {
		return err
	}
	if rules != nil {
		prog, err := loadFilter(deviceFilter(rules))
		if err != nil {
			return err
		}
		defer unix.Close(prog) // the attachment keeps it
		if err := attachFilter(group, prog); err != nil {
			return err
		}
	}
	for _, id := range old {
		if err := detachFilter(group, id); err != nil {
			return err
		}
	}
	return nil
}

// inUserNamespace reports whether our root is not the machine's.
func inUserNamespace() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(b)), " ") != "0 0 4294967295"
}
