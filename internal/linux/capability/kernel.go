package capability

import (
	"encoding/binary"

	"berth/internal/errdefs"

	"golang.org/x/sys/unix"
)

// LastCap returns the number of the newest capability that the running kernel
// has. PR_CAPBSET_READ fails with EINVAL for a number beyond it (prctl(2)), so
// two calls settle it on a kernel of our own age; nothing is read from /proc.
func LastCap() int {
	n := lastKnown
	if !supported(n) {
		for n > 0 && !supported(n) {
			n--
		}
		return n
	}
	for n < 63 && supported(n+1) {
		n++
	}
	return n
}

func supported(n int) bool {
	_, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(n), 0, 0, 0)
	return err == nil
}

// Supported is every capability that the running kernel has.
func Supported() Set { return 1<<(LastCap()+1) - 1 }

// Held returns the capabilities that the calling thread may use and hand on:
// its permitted set, by one capget(2). Root in a container or a restricted
// service has fewer than Supported.
func Held() (Set, error) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData // version 3 has two words of each set
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return 0, errdefs.Wrap(err, "read", "the capabilities of this process")
	}
	return Set(data[0].Permitted) | Set(data[1].Permitted)<<32, nil
}

// Header returns struct __user_cap_header_struct of capset(2), version 3, for
// the calling thread itself.
func Header() [8]byte {
	var b [8]byte
	binary.NativeEndian.PutUint32(b[:], unix.LINUX_CAPABILITY_VERSION_3)
	return b
}

// Data returns the pair of struct __user_cap_data_struct that capset(2) takes:
// the low words of effective, permitted and inheritable, then the high words.
//
// Engines that filled the inheritable set let any program with inheritable
// file capabilities regain what its user had lost (CVE-2022-24769 and its
// siblings): a container's is empty.
func Data(effective, permitted, inheritable Set) [24]byte {
	var b [24]byte
	for i, s := range [...]Set{effective, permitted, inheritable} {
		binary.NativeEndian.PutUint32(b[4*i:], uint32(s))
		binary.NativeEndian.PutUint32(b[12+4*i:], uint32(s>>32))
	}
	return b
}
