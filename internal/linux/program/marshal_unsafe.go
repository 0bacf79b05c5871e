package program

import (
	"encoding/binary"
	"unsafe"

	"berth/internal/errdefs"
)

const (
	wireMagic  = 0x62657274
	headerSize = 16
	opSize     = int(unsafe.Sizeof(op{}))
)

// Marshal returns the program as bytes for another process of the same
// executable on the same machine: memory as it is, no versions. The words for
// errors stay behind.
//
//	magic u32 | ops u32 | relocations u32 | data bytes u32 | ops | data | relocations
func (p *Program) Marshal() []byte {
	e := binary.NativeEndian
	b := make([]byte, 0, headerSize+len(p.ops)*opSize+4*len(p.relocs)+len(p.data))
	for _, n := range []int{wireMagic, len(p.ops), len(p.relocs), len(p.data)} {
		b = e.AppendUint32(b, uint32(n))
	}
	b = append(b, unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(p.ops))), len(p.ops)*opSize)...)
	b = append(b, p.data...)
	for _, r := range p.relocs {
		b = e.AppendUint32(b, r)
	}
	return b
}

// Unmarshal reads what Marshal wrote and checks that no op can leave the
// program's own memory. Nothing is copied: b belongs to the program from here on.
//
// Preconditions: b begins at an address that is a multiple of 8.
func Unmarshal(b []byte) (*Program, error) {
	e := binary.NativeEndian
	bad := func(why string) (*Program, error) {
		return nil, errdefs.New(errdefs.Internal, "malformed start program: %s", why)
	}
	if len(b) < headerSize || e.Uint32(b) != wireMagic {
		return bad("no header")
	}
	if uintptr(unsafe.Pointer(unsafe.SliceData(b)))%8 != 0 {
		return bad("not aligned")
	}
	nOps, nRelocs, nData := uint64(e.Uint32(b[4:])), uint64(e.Uint32(b[8:])), uint64(e.Uint32(b[12:]))
	if uint64(len(b)) != headerSize+nOps*uint64(opSize)+4*nRelocs+nData {
		return bad("wrong length")
	}
	b = b[headerSize:]
	p := &Program{ops: unsafe.Slice((*op)(unsafe.Pointer(unsafe.SliceData(b))), nOps)}
	b = b[nOps*uint64(opSize):]
	p.data = b[:nData:nData]
	p.relocs = make([]uint32, nRelocs)
	for i := range p.relocs {
		p.relocs[i] = e.Uint32(b[nData+4*uint64(i):])
	}
	if why := p.check(); why != "" {
		return bad(why)
	}
	return p, nil
}

// check returns what is wrong with the program, or "".
func (p *Program) check() string {
	clones := 0
	for i := range p.ops {
		o := &p.ops[i]
		if o.save > maxRegs || o.policy > jumpsFor {
			return "bad op"
		}
		if (o.policy == jumps || o.policy == jumpsFor) && int(o.target) <= i {
			return "backward jump"
		}
		for j, k := range o.kinds {
			switch {
			case k > descriptor:
				return "bad argument kind"
			case k == dataOffset && o.args[j] >= uint64(len(p.data)):
				return "address outside the data"
			case k == register && o.args[j] >= maxRegs:
				return "bad register"
			}
		}
		if o.nr == opStore && o.args[0]+4 > uint64(len(p.data)) {
			return "store outside the data"
		}
		if o.nr == opClone {
			clones++
		}
	}
	for _, r := range p.relocs {
		if uint64(r)+8 > uint64(len(p.data)) || binary.NativeEndian.Uint64(p.data[r:]) >= uint64(len(p.data)) {
			return "bad relocation"
		}
	}
	if clones > 1 { // there is one more stack
		return "more than one second child"
	}
	return ""
}
