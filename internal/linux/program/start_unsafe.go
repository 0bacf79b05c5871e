package program

import (
	"encoding/binary"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
)

// cloneArgs is struct clone_args of clone3(2), Linux 5.7 layout.
type cloneArgs struct {
	flags, pidfd          uint64
	_                     uint64 // child_tid
	parentTID, exitSignal uint64
	stack, stackSize      uint64
	_, _, _               uint64 // tls, set_tid, set_tid_size
	cgroup                uint64
}

// child is what the cloned child writes to. It lies in a shared mapping, so a
// failure is told to the parent by writing it here.
type child struct {
	again   cloneArgs      // of the second child; cloneRun knows that it comes first
	second  int            // the second child's pid or negated errno, and that it comes next
	next    uintptr        // the op that the child that runs now begins with
	ops     unsafe.Pointer // *op, already resolved but for registers
	n       uintptr
	data    unsafe.Pointer // the data area, for the calls that the child performs itself
	errno   uintptr        // of the failed call, 0: none failed
	failed  uintptr        // its index
	stepped uintptr        // last errno remembered by OrNext
	regs    [maxRegs]uintptr
}

// stackSize is ample for runChild, which calls nothing but RawSyscall6.
const stackSize = 16 << 10

// StartOptions are the parent's side of a start.
type StartOptions struct {
	CloneFlags uint64 // CLONE_NEW*; the flags for memory and signals are added
	FDs        []int  // what FD(i) in the program means
	Cgroup     int    // directory of a v2 cgroup to be born in, or -1
	// OwnMemory gives the child a copy of the memory instead of sharing it:
	// slower by the copying of page tables, and needed to join a time
	// namespace, which the kernel allows to nobody who shares memory.
	OwnMemory bool
	// NoWait gives the child its own memory too, and returns at once: for a
	// program that waits for its starter. How it ends is not reported.
	NoWait bool
	// ParentTID, when not nil, receives the child's pid before the child runs.
	ParentTID *int32
}

// Started is a child that has become its program.
type Started struct {
	PID   int
	PIDFD int // owned by the caller
}

// Failure tells which call of a program failed.
type Failure struct {
	Index int
	Errno unix.Errno
}

// Error returns the call's index and errno; whoever wrote the program knows the words.
func (f *Failure) Error() string { return "step " + itoa(f.Index) + ": " + f.Errno.Error() }

// Unwrap returns the errno.
func (f *Failure) Unwrap() error { return f.Errno }

func itoa(i int) string {
	if i < 10 {
		return string(rune('0' + i))
	}
	return itoa(i/10) + string(rune('0'+i%10))
}

// Start clones a child that runs the program, and returns when the child has
// called execve or failed; a failed child is reaped. With a second child (Clone)
// it is that one, and the first is reaped. The program's data area
// belongs to the child from here on: a Program can be started once.
//
// The child shares memory with the caller until its execve (CLONE_VM) unless
// told otherwise, and the calling thread sleeps that long (CLONE_VFORK); other threads go on. Needs
// Linux 5.7.
//
// Preconditions: none on the thread. Children are born of the calling thread's
// namespaces, so a caller that changed them has locked the thread.
func (p *Program) Start(o StartOptions) (Started, error) {
	// One mapping for what is shared and, above it, a stack for each child.
	const childSize = (unsafe.Sizeof(child{}) + 63) &^ 63
	twice := p.clones()
	shared, err := unix.Mmap(-1, 0, int(childSize+stackSize*(1+uintptr(twice))), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return Started{}, os.NewSyscallError("mmap", err)
	}
	defer unix.Munmap(shared)
	c := (*child)(unsafe.Pointer(unsafe.SliceData(shared)))
	c.ops, c.n, c.data = unsafe.Pointer(unsafe.SliceData(p.ops)), uintptr(len(p.ops)), unsafe.Pointer(unsafe.SliceData(p.data))
	p.resolve(o.FDs)
	var pidfd int32 = -1
	args := &cloneArgs{
		flags:      o.CloneFlags | unix.CLONE_VFORK | unix.CLONE_PIDFD | unix.CLONE_CLEAR_SIGHAND,
		pidfd:      uint64(uintptr(unsafe.Pointer(&pidfd))),
		exitSignal: uint64(unix.SIGCHLD),
		stack:      uint64(uintptr(unsafe.Pointer(c)) + childSize),
		stackSize:  stackSize,
	}
	c.again = cloneArgs{flags: unix.CLONE_VFORK | unix.CLONE_PARENT, stack: args.stack + stackSize, stackSize: stackSize}
	if o.NoWait {
		args.flags &^= unix.CLONE_VFORK
	} else if !o.OwnMemory {
		args.flags |= unix.CLONE_VM
		c.again.flags |= unix.CLONE_VM
	}
	if o.Cgroup >= 0 {
		args.flags |= unix.CLONE_INTO_CGROUP
		args.cgroup = uint64(o.Cgroup)
	}
	if o.ParentTID != nil {
		args.flags |= unix.CLONE_PARENT_SETTID
		args.parentTID = uint64(uintptr(unsafe.Pointer(o.ParentTID)))
	}

	// No signal may run a Go handler in the child: it has the parent's memory.
	// The child empties its own mask before execve.
	runtime.LockOSThread()
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^uint64(0)
	}
	unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old)
	pid := int(cloneRun(args, unsafe.Sizeof(*args), c))
	unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	runtime.UnlockOSThread()
	runtime.KeepAlive(p)
	runtime.KeepAlive(o.ParentTID)

	if pid < 0 {
		return Started{}, errdefs.Wrap(unix.Errno(-pid), "clone", "the container's first process")
	}
	if c.second != 0 {
		unix.Close(int(pidfd))
		reap(pid)
		if pid = c.second; pid < 0 {
			return Started{}, &Failure{Index: int(c.next) - 1, Errno: unix.Errno(-pid)}
		}
		// Our child, too, and not reaped by anybody else: the pid is still its own.
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil && c.errno == 0 {
			unix.Kill(pid, unix.SIGKILL)
			reap(pid)
			return Started{}, os.NewSyscallError("pidfd_open", err)
		}
		pidfd = int32(fd)
	}
	if c.errno != 0 {
		unix.Close(int(pidfd))
		reap(pid)
		return Started{}, &Failure{Index: int(c.failed), Errno: unix.Errno(c.errno)}
	}
	return Started{PID: pid, PIDFD: int(pidfd)}, nil
}

// clones returns how often the program goes on in a second child.
func (p *Program) clones() (n int) {
	for i := range p.ops {
		if p.ops[i].nr == opClone {
			n++
		}
	}
	return n
}

func reap(pid int) {
	for {
		if _, err := unix.Wait4(pid, nil, unix.WALL, nil); err != unix.EINTR {
			return
		}
	}
}

// resolve replaces offsets by addresses and descriptor indexes by descriptors,
// in place, so that the child has only registers left to look up.
func (p *Program) resolve(fds []int) {
	base := uint64(uintptr(unsafe.Pointer(unsafe.SliceData(p.data))))
	for i := range p.ops {
		o := &p.ops[i]
		for j, k := range o.kinds {
			switch k {
			case dataOffset:
				if o.nr >= opStore {
					continue // the child's own calls take offsets
				}
				o.args[j] += base
			case descriptor:
				o.args[j] = uint64(fds[o.args[j]])
			default:
				continue
			}
			o.kinds[j] = immediate
		}
	}
	for _, r := range p.relocs {
		binary.NativeEndian.PutUint64(p.data[r:], base+binary.NativeEndian.Uint64(p.data[r:]))
	}
	p.relocs = nil
}

// cloneRun calls clone3; in the child, on the new stack, it calls runChild. It
// returns the pid, or the negated errno. If runChild returns, cloneRun clones the
// second child from c.again, which calls runChild likewise, and ends the first.
//
//go:noescape
func cloneRun(args *cloneArgs, size uintptr, c *child) (pid uintptr)

// runChild walks the program, and returns only to go on in a second child. It runs in the child, on a small foreign stack,
// with the runtime out of bounds: no call that may grow the stack, allocate,
// lock or be preempted.
//
//lint:ignore U1000 cloneRun calls it
//go:nosplit
//go:norace
func runChild(c *child) {
	for i := c.next; i < c.n; i++ {
		o := (*op)(unsafe.Add(c.ops, i*unsafe.Sizeof(op{})))
		var a [6]uintptr
		for j := 0; j < 6; j++ {
			a[j] = uintptr(o.args[j])
			if o.kinds[j] == register {
				a[j] = c.regs[o.args[j]%maxRegs]
			}
		}
		var r, e uintptr
		switch o.nr {
		case opStore:
			*(*uint32)(unsafe.Add(c.data, a[0])) = uint32(a[1])
		case opExpect:
			if uintptr(*(*byte)(unsafe.Add(c.data, a[0]))) != a[1] {
				e = a[2]
			}
		case opFail:
			if e = a[0]; c.stepped != 0 {
				e = c.stepped
			}
		case opClone:
			c.again.flags |= uint64(a[0])
			c.next = i + 1
			return
		default:
			r1, _, errno := syscall.RawSyscall6(uintptr(o.nr), a[0], a[1], a[2], a[3], a[4], a[5])
			r, e = r1, uintptr(errno)
		}
		if e == 0 {
			if o.save != 0 {
				c.regs[o.save-1] = r
			}
			i += uintptr(o.skipOK)
			continue
		}
		switch o.policy {
		case ignored:
			continue
		case steps:
			if c.stepped == 0 || c.stepped == uintptr(unix.ENOENT) {
				c.stepped = e
			}
			continue
		case jumps:
			i = uintptr(o.target) - 1
			continue
		case jumpsFor:
			if e == uintptr(o.errnos[0]) || e == uintptr(o.errnos[1]) {
				i = uintptr(o.target) - 1
				continue
			}
		}
		c.failed, c.errno = i, e
		for {
			syscall.RawSyscall6(unix.SYS_EXIT_GROUP, 1, 0, 0, 0, 0, 0)
		}
	}
	c.failed, c.errno = c.n, uintptr(unix.ENOEXEC) // ran off the end without an execve
	for {
		syscall.RawSyscall6(unix.SYS_EXIT_GROUP, 1, 0, 0, 0, 0, 0)
	}
}
