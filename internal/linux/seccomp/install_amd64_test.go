package seccomp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"berth/internal/linux/capability"
	"berth/internal/linux/program"

	"golang.org/x/sys/unix"
)

// A 64-bit program can make the system calls of three architectures. The
// programs here make one call by the wanted door and exit with its errno.

const loadAddress = 0x400000

// le appends little-endian values.
func le(b []byte, values ...any) []byte {
	for _, v := range values {
		b, _ = binary.Append(b, binary.LittleEndian, v)
	}
	return b
}

// by64 makes a call by the instruction syscall.
func by64(nr uint32, a, b, c uint64) []byte {
	code := le(nil, uint8(0xb8), nr, uint16(0xbf48), a, uint16(0xbe48), b, uint16(0xba48), c)
	code = append(code, 0x0f, 0x05, 0xf7, 0xd8, 0x89, 0xc7)             // syscall; neg eax; mov edi, eax
	return append(code, 0xb8, unix.SYS_EXIT_GROUP, 0, 0, 0, 0x0f, 0x05) // exit_group(edi)
}

// by32 makes a call by int 0x80, the door of i386, in a program of either size.
func by32(nr, a, b, c uint32) []byte {
	code := le(nil, uint8(0xb8), nr, uint8(0xbb), a, uint8(0xb9), b, uint8(0xba), c)
	code = append(code, 0xcd, 0x80, 0xf7, 0xd8, 0x89, 0xc3) // int 0x80; neg eax; mov ebx, eax
	return append(code, 0xb8, 252, 0, 0, 0, 0xcd, 0x80)     // exit_group(ebx)
}

// elf returns an executable of one segment holding code and data.
func elf(class32 bool, code, data []byte) []byte {
	ident := []byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	head := 64 + 56
	if class32 {
		ident[4], head = 1, 52+32
	}
	size := head + len(code) + len(data)
	b := bytes.Clone(ident)
	if class32 {
		b = le(b, uint16(2), uint16(3), uint32(1), uint32(loadAddress+head), uint32(52), uint32(0), uint32(0), uint16(52), uint16(32), uint16(1), uint16(0), uint16(0), uint16(0))
		b = le(b, uint32(1), uint32(0), uint32(loadAddress), uint32(loadAddress), uint32(size), uint32(size), uint32(7), uint32(0x1000))
	} else {
		b = le(b, uint16(2), uint16(62), uint32(1), uint64(loadAddress+head), uint64(64), uint64(0), uint32(0), uint16(64), uint16(56), uint16(1), uint16(0), uint16(0), uint16(0))
		b = le(b, uint32(1), uint32(7), uint64(0), uint64(loadAddress), uint64(loadAddress), uint64(size), uint64(size), uint64(0x1000))
	}
	return append(append(b, code...), data...)
}

// runConfined runs an executable under a filter the way a container's first
// process is started, and returns the errno it exits with.
func runConfined(t *testing.T, image []byte, f Filter) (unix.Errno, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, image, 0o755); err != nil {
		t.Fatal(err)
	}
	b := program.NewBuilder()
	b.Call("set no_new_privs", unix.SYS_PRCTL, program.Int(unix.PR_SET_NO_NEW_PRIVS), program.Int(1), program.Int(0), program.Int(0), program.Int(0))
	if f != nil {
		fprog := b.Place(make([]byte, 16))
		b.Patch(fprog, uint64(f.Len()))
		b.Point(fprog+8, b.Place(f))
		b.Call("install the filter", unix.SYS_SECCOMP, program.Int(unix.SECCOMP_SET_MODE_FILTER), program.Int(0), program.At(fprog))
	}
	b.Call("exec", unix.SYS_EXECVE, program.Str(path), program.At(b.Vector([]string{path})), program.At(b.Vector(nil)))
	child, err := b.Program().Start(program.StartOptions{Cgroup: -1})
	if err != nil {
		return 0, err
	}
	unix.Close(child.PIDFD)
	var status unix.WaitStatus
	if _, err := unix.Wait4(child.PID, &status, 0, nil); err != nil {
		t.Fatal(err)
	}
	if !status.Exited() {
		return 0, errors.New(status.Signal().String())
	}
	return unix.Errno(status.ExitStatus()), nil
}

// Row 18 of the hardening list (CVE-2026-31431): AF_ALG and AF_VSOCK are out of
// reach by every door. Without the filter the same programs get another answer.
func TestSocketDoors(t *testing.T) {
	f, err := Default(capability.DockerDefault())
	if err != nil {
		t.Fatal(err)
	}
	call := func(a Arch, name string) uint32 {
		nr, ok := Number(a, name)
		if !ok {
			t.Fatal(name)
		}
		return nr
	}
	// The arguments of socketcall lie behind the code, whose size is fixed.
	size := uint32(len(by32(0, 0, 0, 0)))
	args := func(family uint32) []byte { return le(nil, family, uint32(unix.SOCK_SEQPACKET), uint32(0)) }
	for _, c := range []struct {
		name  string
		image []byte
		want  unix.Errno
	}{
		{"AF_ALG", elf(false, by64(call(AMD64, "socket"), unix.AF_ALG, unix.SOCK_SEQPACKET, 0), nil), unix.EPERM},
		{"AF_VSOCK", elf(false, by64(call(AMD64, "socket"), unix.AF_VSOCK, unix.SOCK_STREAM, 0), nil), unix.EPERM},
		{"AF_ALG with the upper half set", elf(false, by64(call(AMD64, "socket"), 1<<32|unix.AF_ALG, unix.SOCK_SEQPACKET, 0), nil), unix.EPERM},
		{"x32 AF_ALG", elf(false, by64(call(X32, "socket"), unix.AF_ALG, unix.SOCK_SEQPACKET, 0), nil), unix.EPERM},
		{"int 0x80 AF_ALG", elf(false, by32(call(I386, "socket"), unix.AF_ALG, unix.SOCK_SEQPACKET, 0), nil), unix.EPERM},
		{"int 0x80 AF_VSOCK", elf(false, by32(call(I386, "socket"), unix.AF_VSOCK, unix.SOCK_STREAM, 0), nil), unix.EPERM},
		{"int 0x80 socketcall AF_ALG", elf(false, by32(call(I386, "socketcall"), sysSocket, loadAddress+64+56+size, 0), args(unix.AF_ALG)), unix.ENOSYS},
		{"i386 AF_ALG", elf(true, by32(call(I386, "socket"), unix.AF_ALG, unix.SOCK_SEQPACKET, 0), nil), unix.EPERM},
		{"i386 socketcall AF_ALG", elf(true, by32(call(I386, "socketcall"), sysSocket, loadAddress+52+32+size, 0), args(unix.AF_ALG)), unix.ENOSYS},
		{"i386 socketcall AF_VSOCK", elf(true, by32(call(I386, "socketcall"), sysSocket, loadAddress+52+32+size, 0), args(unix.AF_VSOCK)), unix.ENOSYS},
		{"i386 clone3", elf(true, by32(call(I386, "clone3"), 0, 0, 0), nil), unix.ENOSYS},
		{"i386 unshare", elf(true, by32(call(I386, "unshare"), unix.CLONE_NEWUSER, 0, 0), nil), unix.EPERM},
		{"i386 getpid", elf(true, by32(call(I386, "getppid"), 0, 0, 0), nil), 0},
	} {
		free, err := runConfined(t, c.image, nil)
		if err != nil {
			t.Logf("%s: this kernel has no such programs: %v", c.name, err)
			continue
		}
		got, err := runConfined(t, c.image, f)
		if c.want == 0 {
			if err != nil || got == unix.EPERM || got == unix.ENOSYS {
				t.Errorf("%s: %v, %v", c.name, got, err)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
		t.Logf("%s: without the filter errno %d, with it %d", c.name, free, got)
	}
}
