package cgroup

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bpf(2) takes structures with addresses in them; here are the four calls that
// a device filter needs. The layouts are those of union bpf_attr (linux/bpf.h).

type bpfLoad struct {
	progType uint32
	insnCnt  uint32
	insns    uint64
	license  uint64
	logLevel uint32
	logSize  uint32
	logBuf   uint64
}

type bpfAttach struct {
	target, prog uint32
	attachType   uint32
	flags        uint32
}

type bpfQuery struct {
	target, attachType uint32
	queryFlags         uint32
	attachFlags        uint32
	progIDs            uint64
	count              uint32
	_                  uint32
}

type bpfByID struct {
	id, nextID, openFlags uint32
}

func bpf(cmd int, attr unsafe.Pointer, size uintptr) (int, error) {
	for {
		r, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(cmd), uintptr(attr), size)
		switch errno {
		case 0:
			return int(r), nil
		case unix.EINTR, unix.EAGAIN: // EAGAIN: a signal interrupted the verifier
		default:
			return -1, os.NewSyscallError("bpf", errno)
		}
	}
}

// loadFilter gives a program to the kernel, which verifies it, and returns its descriptor.
func loadFilter(code []byte) (int, error) {
	license := []byte("Apache-2.0\x00") // no helper function is called, so none needs another
	var pin runtime.Pinner
	pin.Pin(&code[0])
	pin.Pin(&license[0])
	defer pin.Unpin()
	attr := bpfLoad{
		progType: unix.BPF_PROG_TYPE_CGROUP_DEVICE,
		insnCnt:  uint32(len(code) / insnSize),
		insns:    uint64(uintptr(unsafe.Pointer(&code[0]))),
		license:  uint64(uintptr(unsafe.Pointer(&license[0]))),
	}
	fd, err := bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	if err != nil && raiseMemlock() {
		fd, err = bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	}
	return fd, err
}

// raiseMemlock lifts our limit of locked memory, which programs counted against
// before Linux 5.11.
func raiseMemlock() bool {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) != nil || limit.Cur == unix.RLIM_INFINITY {
		return false
	}
	limit = unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	return unix.Setrlimit(unix.RLIMIT_MEMLOCK, &limit) == nil
}

// attachFilter adds a program to those of the group; all have to say yes.
func attachFilter(group, prog int) error {
	attr := bpfAttach{uint32(group), uint32(prog), unix.BPF_CGROUP_DEVICE, unix.BPF_F_ALLOW_MULTI}
	_, err := bpf(unix.BPF_PROG_ATTACH, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return err
}

// queryFilters returns the ids of the device programs on the group.
func queryFilters(group int) ([]uint32, error) {
	ids := make([]uint32, 64) // the kernel's own limit
	var pin runtime.Pinner
	pin.Pin(&ids[0])
	defer pin.Unpin()
	attr := bpfQuery{target: uint32(group), attachType: unix.BPF_CGROUP_DEVICE,
		progIDs: uint64(uintptr(unsafe.Pointer(&ids[0]))), count: uint32(len(ids))}
	_, err := bpf(unix.BPF_PROG_QUERY, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return ids[:min(int(attr.count), len(ids))], err
}

// detachFilter removes a program from the group.
func detachFilter(group int, id uint32) error {
	byID := bpfByID{id: id}
	prog, err := bpf(unix.BPF_PROG_GET_FD_BY_ID, unsafe.Pointer(&byID), unsafe.Sizeof(byID))
	if err != nil {
		return err
	}
	defer unix.Close(prog)
	attr := bpfAttach{uint32(group), uint32(prog), unix.BPF_CGROUP_DEVICE, 0}
	_, err = bpf(unix.BPF_PROG_DETACH, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return err
}
