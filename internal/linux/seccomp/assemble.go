package seccomp

import "golang.org/x/sys/unix"

// assembler puts a filter together from its end to its beginning. Classic BPF
// jumps forward only, so in this order every target is known when the jump to
// it is written, and equal endings can be shared.
type assembler struct {
	code []unix.SockFilter // reversed
	rets []label           // the latest return for each action
	lows []lowHalf         // searches over arguments written so far
}

// label is a place in the reversed code.
type label int

// Offsets in struct seccomp_data, which a filter loads from.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16 // six of 64 bits
)

// Opcodes; the conditional jumps compare the accumulator with the constant K.
const (
	opLoad    = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	opAnd     = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	opReturn  = unix.BPF_RET | unix.BPF_K
	opJump    = unix.BPF_JMP | unix.BPF_JA
	opEqual   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	opAtLeast = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	opAbove   = unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K
)

func (a *assembler) emit(code uint16, jt, jf uint8, k uint32) label {
	a.code = append(a.code, unix.SockFilter{Code: code, Jt: jt, Jf: jf, K: k})
	return label(len(a.code) - 1)
}

// far is how far a conditional jump may reach: 255, less what branch itself may insert.
const far = 250

// distance is the number of instructions between one added now and l.
func (a *assembler) distance(l label) int { return len(a.code) - int(l) - 1 }

// ret returns from the filter; a return within easy reach is used again.
func (a *assembler) ret(action Action) label {
	for i, l := range a.rets {
		if a.code[l].K == uint32(action) {
			if a.distance(l) > far/2 {
				a.rets[i] = a.emit(opReturn, 0, 0, uint32(action))
			}
			return a.rets[i]
		}
	}
	l := a.emit(opReturn, 0, 0, uint32(action))
	a.rets = append(a.rets, l)
	return l
}

// near returns l, or a stepping stone to it that a conditional jump can reach.
func (a *assembler) near(l label) label {
	if a.distance(l) <= far {
		return l
	}
	if i := a.code[l]; i.Code == opReturn {
		return a.ret(Action(i.K))
	}
	return a.emit(opJump, 0, 0, uint32(a.distance(l)))
}

// branch goes to yes if the accumulator compares so with k, else to no.
func (a *assembler) branch(op uint16, k uint32, yes, no label) label {
	if yes == no {
		return yes
	}
	yes = a.near(yes)
	no = a.near(no)
	return a.emit(op, uint8(a.distance(yes)), uint8(a.distance(no)), k)
}

// load reads a word of seccomp_data and goes on at next.
func (a *assembler) load(offset uint32, next label) label {
	a.follow(next)
	return a.emit(opLoad, 0, 0, offset)
}

// and masks the accumulator and goes on at next.
func (a *assembler) and(mask uint32, next label) label {
	a.follow(next)
	return a.emit(opAnd, 0, 0, mask)
}

// follow makes sure that the next instruction added falls through to l.
func (a *assembler) follow(l label) {
	if d := a.distance(l); d > 0 {
		a.emit(opJump, 0, 0, uint32(d))
	}
}
