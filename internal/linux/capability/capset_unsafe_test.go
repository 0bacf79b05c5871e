package capability

import (
	"os"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Row 14 of the hardening list: the encoded sets reach the kernel as meant, and
// the inheritable set stays empty.
func TestCapset(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	runtime.LockOSThread() // never unlocked: the thread has lost its capabilities and ends with the goroutine
	held, err := Held()
	if err != nil {
		t.Fatal(err)
	}
	want := Default() & held
	hdr, data := Header(), Data(want, want, 0)
	if _, _, e := unix.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&hdr)), uintptr(unsafe.Pointer(&data)), 0); e != 0 {
		t.Fatal(e)
	}
	for field, w := range map[string]Set{"CapPrm": want, "CapEff": want, "CapInh": 0} {
		if got := statusSet(t, field); got != w {
			t.Errorf("%s = %#x, want %#x", field, got, w)
		}
	}
}
