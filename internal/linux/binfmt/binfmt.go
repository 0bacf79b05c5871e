// Package binfmt provides the knowledge which foreign programs this machine can
// run by an emulator.
//
// When execve(2) meets a file that is no program of this processor, the kernel
// looks through the handlers of binfmt_misc (Documentation/admin-guide/binfmt-misc.rst).
// A handler has a pattern for the first bytes of a file and an interpreter, such
// as qemu-aarch64-static, which is then executed in place of the file, with the
// file's path as an argument. /proc/sys/fs/binfmt_misc has a file for each:
//
//	enabled
//	interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P
//	flags: POCF
//	offset 0
//	magic 7f454c460201010000000000000000000200b700
//	mask ffffffffffffff00fffffffffffffffffeffffff
//
// The flag F ("fix binary") says that the interpreter was opened when the handler
// was registered. Without it the interpreter is looked for where the program
// runs: in a container, where it is not.
package binfmt

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"berth/internal/errdefs"
)

// dir is where the kernel shows the handlers.
const dir = "/proc/sys/fs/binfmt_misc"

// Handler is an enabled handler that goes by the first bytes of a file.
type Handler struct {
	Name        string // of its file
	Interpreter string // a path of the host
	Fixed       bool   // the interpreter is at hand in every container
	offset      int
	magic, mask []byte
}

// maxPattern is more than the kernel compares: the first 256 bytes of a file.
const maxPattern = 256

// For returns the handler for the programs of an architecture, by its name in the
// Go tool chain; nil if there is none, as on a machine without binfmt_misc.
func For(architecture string) (*Handler, error) { return find(dir, architecture) }

func find(dir, architecture string) (*Handler, error) {
	start, ok := header(architecture)
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	switch {
	case !ok || errors.Is(err, os.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case strings.TrimSpace(string(status)) != "enabled":
		return nil, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var found *Handler
	for _, e := range entries {
		if e.Name() == "status" || e.Name() == "register" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if errors.Is(err, os.ErrNotExist) {
			continue // taken away just now
		}
		if err != nil {
			return nil, err
		}
		h, err := parse(text)
		if err != nil {
			return nil, errdefs.Wrap(err, "read", filepath.Join(dir, e.Name()))
		}
		if h != nil && h.takes(start) && (found == nil || h.Fixed && !found.Fixed) {
			h.Name, found = e.Name(), h
		}
	}
	return found, nil
}

// parse reads the file of a handler; nil for one that is disabled or goes by the
// ending of a file's name.
func parse(text []byte) (*Handler, error) {
	h := &Handler{}
	enabled := false
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		var err error
		switch key {
		case "enabled":
			enabled = true
		case "interpreter":
			h.Interpreter = value
		case "flags:":
			h.Fixed = strings.Contains(value, "F")
		case "offset":
			h.offset, err = strconv.Atoi(value)
		case "magic":
			h.magic, err = hex.DecodeString(value)
		case "mask":
			h.mask, err = hex.DecodeString(value)
		}
		if err != nil {
			return nil, errdefs.New(errdefs.Internal, "its %s is %.80q", key, value)
		}
	}
	switch {
	case !enabled || h.magic == nil:
		return nil, nil
	case h.mask != nil && len(h.mask) != len(h.magic), h.offset < 0, h.offset > maxPattern, len(h.magic) > maxPattern:
		return nil, errdefs.New(errdefs.Internal, "its pattern of %d bytes at %d has a mask of %d", len(h.magic), h.offset, len(h.mask))
	}
	return h, nil
}

// takes reports whether the kernel gives a file that begins so to the handler.
func (h *Handler) takes(start []byte) bool {
	if h.offset+len(h.magic) > len(start) {
		return false
	}
	for i, want := range h.magic {
		mask := byte(0xff)
		if h.mask != nil {
			mask = h.mask[i]
		}
		if (start[h.offset+i]^want)&mask != 0 {
			return false
		}
	}
	return true
}

// machine is how the programs of an architecture begin (elf(5)).
type machine struct {
	number uint16 // e_machine
	wide   bool   // 64 bits
	big    bool   // the high byte first
}

var machines = map[string]machine{
	"386": {3, false, false}, "amd64": {62, true, false}, "arm": {40, false, false}, "arm64": {183, true, false}, "loong64": {258, true, false},
	"mips": {8, false, true}, "mipsle": {8, false, false}, "mips64": {8, true, true}, "mips64le": {8, true, false},
	"ppc64": {21, true, true}, "ppc64le": {21, true, false}, "riscv64": {243, true, false}, "s390x": {22, true, true},
}

// header returns the first bytes of a program.
func header(architecture string) ([]byte, bool) {
	m, ok := machines[architecture]
	if !ok {
		return nil, false
	}
	class, order, write := byte(1), byte(1), binary.AppendByteOrder(binary.LittleEndian)
	if m.wide {
		class = 2
	}
	if m.big {
		order, write = 2, binary.BigEndian
	}
	const executable, version = 2, 1
	b := append([]byte("\x7fELF"), class, order, version)
	b = append(b, bytes.Repeat([]byte{0}, 16-len(b))...)
	b = write.AppendUint16(b, executable)
	b = write.AppendUint16(b, m.number)
	return write.AppendUint32(b, version), true
}
