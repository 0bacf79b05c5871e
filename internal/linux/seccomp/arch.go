package seccomp

import "golang.org/x/sys/unix"

// Arch is a set of system call numbers: a processor architecture, or one of the
// older or smaller ones that its kernel serves too.
type Arch uint8

// The architectures that berth runs on and those their kernels also serve.
const (
	AMD64 Arch = iota
	I386       // 32-bit programs on AMD64
	X32        // 64-bit registers, 32-bit pointers, on AMD64; see compiler.x32
	ARM64
	ARM // 32-bit programs on ARM64
	numArches
)

// archSet is a set of Arch: bit n is Arch(n).
type archSet uint8

// otherArch stands for every architecture that berth does not run on.
const otherArch archSet = 1 << 7

func setOf(a Arch) archSet { return 1 << a }

func (s archSet) has(a Arch) bool { return s&setOf(a) != 0 }

// String returns the architecture's name as profiles write it in their conditions.
func (a Arch) String() string {
	return [...]string{"amd64", "x86", "x32", "arm64", "arm"}[a]
}

// archNamed returns the set holding the architecture of that name in a
// condition ("amd64") or of that constant in a list ("SCMP_ARCH_X86_64").
func archNamed(name string) archSet {
	switch name {
	case "amd64", "SCMP_ARCH_X86_64":
		return setOf(AMD64)
	case "x86", "SCMP_ARCH_X86":
		return setOf(I386)
	case "x32", "SCMP_ARCH_X32":
		return setOf(X32)
	case "arm64", "SCMP_ARCH_AARCH64":
		return setOf(ARM64)
	case "arm", "SCMP_ARCH_ARM":
		return setOf(ARM)
	}
	return otherArch
}

// family returns the architectures that a kernel of architecture a serves.
func (a Arch) family() archSet {
	switch a {
	case AMD64:
		return setOf(AMD64) | setOf(I386) | setOf(X32)
	case ARM64:
		return setOf(ARM64) | setOf(ARM)
	}
	return setOf(a)
}

// audit returns the value that the kernel puts in seccomp_data.arch. X32 has
// none of its own: its calls come as AMD64 with a bit set in the number.
func (a Arch) audit() uint32 {
	switch a {
	case I386:
		return unix.AUDIT_ARCH_I386
	case ARM64:
		return unix.AUDIT_ARCH_AARCH64
	case ARM:
		return unix.AUDIT_ARCH_ARM
	}
	return unix.AUDIT_ARCH_X86_64
}

// narrow reports whether arguments have 32 bits only.
func (a Arch) narrow() bool { return a == I386 || a == ARM }

// x32Bit is set in the number of every X32 call.
const x32Bit = 0x40000000

// armPrivate is where the calls that only 32-bit arm has begin (arch/arm/include/uapi/asm/unistd.h).
const armPrivate = 0x0f0000
