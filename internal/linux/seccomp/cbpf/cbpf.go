// Package cbpf interprets seccomp filters outside the kernel.
//
// A filter in the kernel answers with what it does to the caller; here it
// answers with a number, so that a filter can be questioned about any call on
// any architecture, with any arguments. Tests compare filters with it, and
// diagnostics can say what a container's filter thinks of a call.
//
// It runs the part of classic BPF that the kernel admits for seccomp
// (seccomp_check_filter in kernel/seccomp.c) as far as compilers use it: loads of
// words, arithmetic with constants, jumps, return of a constant.
package cbpf

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Data is a call as a filter sees it: struct seccomp_data.
type Data struct {
	Number             uint32
	Arch               uint32 // AUDIT_ARCH_*
	InstructionPointer uint64
	Args               [6]uint64
}

// word returns the 32 bits at an offset of the little-endian structure.
func (d *Data) word(offset uint32) (uint32, bool) {
	half := func(v uint64) (uint32, bool) {
		if offset%8 == 4 {
			return uint32(v >> 32), true
		}
		return uint32(v), true
	}
	switch {
	case offset%4 != 0 || offset >= 64:
		return 0, false
	case offset == 0:
		return d.Number, true
	case offset == 4:
		return d.Arch, true
	case offset < 16:
		return half(d.InstructionPointer)
	}
	return half(d.Args[(offset-16)/8])
}

// Run returns the filter's answer (SECCOMP_RET_*) to a call, and how many
// instructions it took. An error means that the kernel would have refused to
// install the filter.
func Run(code []unix.SockFilter, d *Data) (answer uint32, steps int, err error) {
	var acc uint32
	for pc := 0; pc < len(code); pc++ {
		i := code[pc]
		steps++
		switch i.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			var ok bool
			if acc, ok = d.word(i.K); !ok {
				return 0, steps, fmt.Errorf("instruction %d loads from offset %d", pc, i.K)
			}
		case unix.BPF_RET | unix.BPF_K:
			return i.K, steps, nil
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			acc &= i.K
		case unix.BPF_ALU | unix.BPF_OR | unix.BPF_K:
			acc |= i.K
		case unix.BPF_JMP | unix.BPF_JA:
			if i.K >= uint32(len(code)) {
				return 0, steps, fmt.Errorf("instruction %d jumps beyond the end", pc)
			}
			pc += int(i.K)
		default:
			taken, err := compare(i, acc)
			if err != nil {
				return 0, steps, fmt.Errorf("instruction %d: %w", pc, err)
			}
			if taken {
				pc += int(i.Jt)
			} else {
				pc += int(i.Jf)
			}
		}
	}
	return 0, steps, fmt.Errorf("the filter ends without an answer")
}

func compare(i unix.SockFilter, acc uint32) (bool, error) {
	switch i.Code {
	case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
		return acc == i.K, nil
	case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
		return acc > i.K, nil
	case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
		return acc >= i.K, nil
	case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
		return acc&i.K != 0, nil
	}
	return false, fmt.Errorf("opcode %#x is not one of seccomp's", i.Code)
}

// Check returns an error unless the kernel would accept the filter: every
// opcode known, every jump inside, every load aligned, a return at the end.
func Check(code []unix.SockFilter) error {
	if len(code) == 0 || len(code) > unix.BPF_MAXINSNS {
		return fmt.Errorf("%d instructions", len(code))
	}
	var d Data
	for pc, i := range code {
		left := uint32(len(code) - pc - 1)
		switch i.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			if _, ok := d.word(i.K); !ok {
				return fmt.Errorf("instruction %d loads from offset %d", pc, i.K)
			}
		case unix.BPF_RET | unix.BPF_K, unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, unix.BPF_ALU | unix.BPF_OR | unix.BPF_K:
		case unix.BPF_JMP | unix.BPF_JA:
			if i.K >= left {
				return fmt.Errorf("instruction %d jumps beyond the end", pc)
			}
		default:
			if _, err := compare(i, 0); err != nil {
				return fmt.Errorf("instruction %d: %w", pc, err)
			}
			if uint32(i.Jt) >= left || uint32(i.Jf) >= left {
				return fmt.Errorf("instruction %d jumps beyond the end", pc)
			}
		}
	}
	if code[len(code)-1].Code != unix.BPF_RET|unix.BPF_K {
		return fmt.Errorf("the filter does not end with a return")
	}
	return nil
}
