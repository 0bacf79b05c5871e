// Package seccomp compiles system call filters for containers.
//
// All containers share one kernel, and its system calls are the surface an
// attacker inside can reach. Seccomp (seccomp(2)) lets a process give the kernel
// a small program that sees the number, the architecture and the six argument
// words of every later call and answers: allow, fail with an errno, or kill. The
// program can never be taken off again, and children inherit it.
//
// The program is written in classic BPF: a few dozen opcodes, one accumulator,
// jumps forward only, no loops and no way to follow a pointer. Users do not
// write it; they write a profile, a JSON file in Docker's format that lists
// names of system calls:
//
//	profile (JSON) -- Parse --> Profile -- Compile --> Filter -- seccomp(2)
//
// Two properties of the compiled form matter. It is a binary search over ranges
// of numbers rather than a list of comparisons: the kernel walks a filter once
// for every number when it is installed (its cache of always-allowed calls), so
// a short path makes starting a container measurably faster. And a call that is
// newer than anything its profile's author could know fails with ENOSYS and not
// EPERM, because programs take ENOSYS as "use the older call".
//
// One machine runs several sets of numbers at once: an x86-64 kernel also serves
// i386 programs and the x32 variant, an arm64 kernel serves 32-bit arm. A filter
// that forgets one of them can be walked around, so each gets its own search tree.
//
// Default is the filter of a container that asks for nothing; for the usual
// capability sets it was compiled when berth was built.
//
// Called by the runtime (containers) and by workers that confine themselves.
package seccomp

//go:generate go run ./gen
