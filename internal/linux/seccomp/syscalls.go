package seccomp

// The table of system calls (syscalls_table.go) is one string with all names in
// order, the place where each begins, and each one's number per architecture.
// It is constant data: nothing is built when the program starts, and a name is
// found by binary search.

// Numbers below privateSlot stand for themselves; the private calls of 32-bit
// arm, far off at 0x0f0000, follow them, so that a small array indexed by slot
// holds every call of an architecture.
const (
	privateSlot = 600
	numSlots    = privateSlot + 8
)

// The calls whose structures in X32 differ from those of AMD64 have numbers of
// their own there.
const (
	firstX32 = 512
	lastX32  = 547
)

// absent marks a call that an architecture does not have.
const absent = -1

func nameAt(i int) string { return tableNames[tableOffsets[i]:tableOffsets[i+1]] }

// find returns the place of a name in the table.
func find(name string) (int, bool) {
	lo, hi := 0, len(tableSlots)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		switch have := nameAt(mid); {
		case have == name:
			return mid, true
		case have < name:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return 0, false
}

// numberOf returns the number that the kernel sees for a slot.
func (a Arch) numberOf(slot int) uint32 {
	switch {
	case slot >= privateSlot:
		return armPrivate + uint32(slot-privateSlot)
	case a == X32:
		return x32Bit + uint32(slot)
	}
	return uint32(slot)
}

// Number returns the number of a system call on an architecture.
func Number(a Arch, name string) (uint32, bool) {
	i, ok := find(name)
	if !ok || tableSlots[i][a] == absent {
		return 0, false
	}
	return a.numberOf(int(tableSlots[i][a])), true
}

// Names calls yield for every system call that an architecture has.
func Names(a Arch) func(yield func(name string, number uint32) bool) {
	return func(yield func(string, uint32) bool) {
		for i := range tableSlots {
			if slot := tableSlots[i][a]; slot != absent && !yield(nameAt(i), a.numberOf(int(slot))) {
				return
			}
		}
	}
}
