// Package program provides the way into a container: a list of system calls
// that a freshly cloned child runs one after another until it becomes the
// user's program.
//
// Between clone(2) and execve(2) a child of a multi-threaded process may call
// almost nothing: no Go runtime, no allocation, no locks. Engines in Go
// therefore start a copy of themselves inside the container and let that copy
// mount, drop rights and exec; the second start costs more than everything else
// together and leaves a host binary in reach of the container. Here the parent
// writes down beforehand what the child will do, with every path and structure
// in place, and the child only walks the list:
//
//	parent (ordinary Go)                       child (no runtime)
//	b.Call("set the host name", SYS_SETHOSTNAME, Str("web"), Int(3))
//	...
//	p := b.Program()   -- Marshal -->  sent to the monitor, which owns the child
//	p.Start(...)       -- clone3  -->  for each op: resolve arguments, syscall, check
//
// A program is data: it can be sent through a file to another process, it can
// be listed (String), and it can be tested. It has no loops: jumps go forward
// only, so every program ends.
//
// Arguments are numbers, addresses inside the program's data area, descriptors
// that the starter passes along, or registers: results of earlier calls, such
// as the descriptor of an opened mount.
package program

import (
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// argKind says what an argument's number means.
type argKind uint8

const (
	immediate  argKind = iota // the value itself
	dataOffset                // an address: the data area's start plus the value
	register                  // the result saved in that register
	descriptor                // the starter's descriptor of that index
)

// Arg is one argument of a call.
type Arg struct {
	kind  argKind
	value uint64
	blob  []byte // dataOffset: to be placed in the data area
}

// Reg names a register: the saved result of a call.
type Reg uint8

// maxRegs bounds the registers of one program.
const maxRegs = 250

// Int is a number.
func Int[T ~int | ~int32 | ~int64 | ~uint | ~uint32 | ~uint64 | ~uintptr](v T) Arg {
	return Arg{kind: immediate, value: uint64(v)}
}

// Str is the address of a NUL-terminated copy of s.
func Str(s string) Arg { return Arg{kind: dataOffset, blob: append([]byte(s), 0)} }

// Bytes is the address of a copy of b.
func Bytes(b []byte) Arg { return Arg{kind: dataOffset, blob: b} }

// Result is the value saved in r.
func Result(r Reg) Arg { return Arg{kind: register, value: uint64(r)} }

// FD is the i-th descriptor passed to Start.
func FD(i int) Arg { return Arg{kind: descriptor, value: uint64(i)} }

// At is the address of a place reserved by Place.
func At(off Offset) Arg { return Arg{kind: dataOffset, value: uint64(off)} }

// Offset is a place in the data area.
type Offset uint32

// Calls that the child performs itself, without the kernel.
const (
	opStore  = 0xffff0001 // store register args[1] as 32 bits at the offset args[0]
	opExpect = 0xffff0002 // fail with errno args[2] unless the byte at offset args[0] is args[1]
	opFail   = 0xffff0003 // fail with the errno last stepped over, else with args[0]
	opClone  = 0xffff0004 // go on in a second child with the namespaces args[0]; see Clone
)

// onError says what follows a failed call.
type onError uint8

const (
	fails    onError = iota // the program ends and reports this call
	ignored                 // go on
	steps                   // remember the errno and go on (for the next way to do it)
	jumps                   // continue at op.target
	jumpsFor                // jump if the errno is one of op.errnos, else fail
)

// op is one step. Its layout is the wire format.
type op struct {
	nr     uint32
	policy onError
	save   uint8 // register+1, 0: not saved
	skipOK uint16
	kinds  [6]argKind
	_      [2]byte
	errnos [2]uint16
	target uint32 // index of the op to continue at after a tolerated error
	args   [6]uint64
}

// Builder collects the calls of a program.
type Builder struct {
	ops  []op
	what []string
	*memory
}

// memory is what the calls of a program work on.
type memory struct {
	data   []byte
	relocs []uint32 // places in data that hold an offset and need an address
	regs   int
	seen   map[string]uint64 // strings already placed
}

// NewBuilder returns an empty program under construction.
func NewBuilder() *Builder {
	m := &memory{data: make([]byte, 0, 16<<10), seen: make(map[string]uint64, 64)}
	return &Builder{ops: make([]op, 0, 256), what: make([]string, 0, 256), memory: m}
}

// Part returns a second list of calls for the same program, with the same
// registers and data: both can be added to in turn, until Append joins them.
func (b *Builder) Part() *Builder { return &Builder{memory: b.memory} }

// Append adds the calls of a part. The part must not be used afterwards.
func (b *Builder) Append(part *Builder) {
	n := len(b.ops)
	b.ops, b.what = append(b.ops, part.ops...), append(b.what, part.what...)
	for i := n; i < len(b.ops); i++ {
		if p := b.ops[i].policy; p == jumps || p == jumpsFor {
			b.ops[i].target += uint32(n)
		}
	}
}

// Step is a call just added, to be refined.
type Step struct {
	b *Builder
	i int
}

// Call adds a system call. what says it in words for an error, as in "mount /proc".
func (b *Builder) Call(what string, nr uintptr, args ...Arg) Step {
	o := op{nr: uint32(nr)}
	for i, a := range args {
		if a.kind == dataOffset {
			a = b.place(a)
		}
		o.kinds[i], o.args[i] = a.kind, a.value
	}
	b.ops = append(b.ops, o)
	b.what = append(b.what, what)
	return Step{b, len(b.ops) - 1}
}

// Save keeps the call's result in a new register.
func (s Step) Save() Reg {
	if s.b.regs == maxRegs {
		panic("program: out of registers")
	}
	s.b.regs++
	s.b.ops[s.i].save = uint8(s.b.regs)
	return Reg(s.b.regs - 1)
}

// SaveIn keeps the call's result in r, which another branch filled or will fill.
func (s Step) SaveIn(r Reg) { s.b.ops[s.i].save = uint8(r) + 1 }

// Ignore lets the program go on whatever the call's errno.
func (s Step) Ignore() { s.b.ops[s.i].policy = ignored }

// OrNext lets the program go on after an error and remembers the errno for Fail.
func (s Step) OrNext() { s.b.ops[s.i].policy = steps }

// OrSkip jumps over the next n calls after any error.
func (s Step) OrSkip(n int) {
	s.b.ops[s.i].policy, s.b.ops[s.i].target = jumps, uint32(s.i+1+n)
}

// SkipOn jumps over the next n calls after one of at most two errnos, and fails after any other.
func (s Step) SkipOn(n int, errnos ...unix.Errno) Step {
	s.b.ops[s.i].policy, s.b.ops[s.i].target = jumpsFor, uint32(s.i+1+n)
	for i, e := range errnos {
		s.b.ops[s.i].errnos[i] = uint16(e)
	}
	return s
}

// Tolerate lets the program go on after one of at most two errnos, and fail after any other.
func (s Step) Tolerate(errnos ...unix.Errno) Step { return s.SkipOn(0, errnos...) }

// ThenSkip jumps over the next n calls after success.
func (s Step) ThenSkip(n int) Step {
	s.b.ops[s.i].skipOK = uint16(n)
	return s
}

// Store writes register r as a 32-bit number to a place in the data area.
func (b *Builder) Store(at Offset, r Reg) {
	b.Call("store", opStore, At(at), Result(r))
}

// Expect fails with errno unless the byte at the place is want.
func (b *Builder) Expect(what string, at Offset, want byte, errno unix.Errno) {
	b.Call(what, opExpect, At(at), Int(uint64(want)), Int(uint64(errno)))
}

// Fail ends the program with the most telling errno stepped over by OrNext
// (any but ENOENT wins), else with errno.
func (b *Builder) Fail(what string, errno unix.Errno) { b.Call(what, opFail, Int(uint64(errno))) }

// Clone ends the child and goes on in a second one, which is the starter's child
// too (CLONE_PARENT) and has new namespaces of the kinds flags (CLONE_NEW*). They
// belong to the user namespace that the first child has joined: nobody can be
// born in an existing one, and a pid namespace belongs to where it was made.
// A program can do so once, and no jump may lead across it.
func (b *Builder) Clone(what string, flags uint64) { b.Call(what, opClone, Int(flags)) }

// Len returns the number of steps so far.
func (b *Builder) Len() int { return len(b.ops) }

// Place reserves a copy of p in the data area, 8-byte aligned.
func (b *Builder) Place(p []byte) Offset {
	b.align()
	off := len(b.data)
	b.data = append(b.data, p...)
	return Offset(off)
}

// Point makes the 8 bytes at the place hold the address of target when the program runs.
func (b *Builder) Point(at, target Offset) {
	binary.NativeEndian.PutUint64(b.data[at:], uint64(target))
	b.relocs = append(b.relocs, uint32(at))
}

// Patch writes v to the 8 bytes at the place.
func (b *Builder) Patch(at Offset, v uint64) { binary.NativeEndian.PutUint64(b.data[at:], v) }

func (b *Builder) align() {
	for len(b.data)%8 != 0 {
		b.data = append(b.data, 0)
	}
}

// Vector places a NULL-terminated array of C strings, as execve takes.
func (b *Builder) Vector(list []string) Offset {
	at := b.Place(make([]byte, 8*(len(list)+1)))
	for i, s := range list {
		b.Point(at+Offset(8*i), Offset(b.placeBlob(append([]byte(s), 0))))
	}
	return at
}

func (b *Builder) place(a Arg) Arg {
	if a.blob != nil {
		a.value, a.blob = b.placeBlob(a.blob), nil
	}
	return a
}

// placeBlob shares equal short blobs: "", "/", path names appear many times.
// Blobs are never written by a call (places that are come from Place).
func (b *Builder) placeBlob(p []byte) uint64 {
	if len(p) > 64 {
		return uint64(b.Place(p))
	}
	if off, ok := b.seen[string(p)]; ok {
		return off
	}
	off := uint64(b.Place(p))
	b.seen[string(p)] = off
	return off
}

// Program returns the finished program. The builder must not be used afterwards.
func (b *Builder) Program() *Program {
	return &Program{ops: b.ops, data: b.data, relocs: b.relocs, what: b.what}
}

// Program is a finished list of calls.
type Program struct {
	ops    []op
	data   []byte
	relocs []uint32
	what   []string // kept by the author only, not marshalled
}

// What says in words what call i does, or "" if the program was unmarshalled.
func (p *Program) What(i int) string {
	if i < 0 || i >= len(p.what) {
		return ""
	}
	return p.what[i]
}

// String lists the program, a call a line.
func (p *Program) String() string {
	var s strings.Builder
	for i, o := range p.ops {
		fmt.Fprintf(&s, "%3d %-40s nr=%d", i, p.What(i), o.nr)
		for j, k := range o.kinds {
			fmt.Fprintf(&s, " %c%#x", "iarf"[k], o.args[j])
		}
		s.WriteByte('\n')
	}
	return s.String()
}
