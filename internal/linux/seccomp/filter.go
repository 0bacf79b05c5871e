package seccomp

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Filter is a compiled filter as the kernel reads it: an array of struct
// sock_filter (8 bytes each) in native byte order. A child that installs it
// passes a struct sock_fprog with its length in instructions and its address.
type Filter []byte

const instructionSize = 8

// Len returns the number of instructions.
func (f Filter) Len() int { return len(f) / instructionSize }

// Instructions returns the filter decoded.
func (f Filter) Instructions() []unix.SockFilter {
	list := make([]unix.SockFilter, 0, f.Len())
	for b := []byte(f); len(b) >= instructionSize; b = b[instructionSize:] {
		list = append(list, unix.SockFilter{
			Code: binary.NativeEndian.Uint16(b), Jt: b[2], Jf: b[3], K: binary.NativeEndian.Uint32(b[4:]),
		})
	}
	return list
}

// Fprog returns the structure that seccomp(2) takes; it points to code.
func Fprog(code []unix.SockFilter) unix.SockFprog {
	return unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
}

func encode(code []unix.SockFilter) Filter {
	b := make([]byte, 0, len(code)*instructionSize)
	for _, i := range code {
		b = binary.NativeEndian.AppendUint16(b, i.Code)
		b = append(b, i.Jt, i.Jf)
		b = binary.NativeEndian.AppendUint32(b, i.K)
	}
	return b
}
