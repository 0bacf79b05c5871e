package network

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"berth/internal/errdefs"
)

// reserveAddress takes the next free address after the one given out last, so
// that an address is not used again at once, while neighbours still remember who
// had it. A link per address is the reservation; see reserve.
func (s *Store) reserveAddress(c Settings, id string) (netip.Addr, error) {
	base := binary.BigEndian.Uint32(c.Subnet.Addr().AsSlice())
	size := uint32(1) << (32 - c.Subnet.Bits())
	hint := s.lastOffset()
	for i := uint32(1); i < size; i++ {
		offset := (hint+i-2)%(size-3) + 2 // .0 is the net, .1 the gateway, the last the broadcast address
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], base+offset)
		addr := netip.AddrFrom4(b)
		err := reserve(filepath.Join(s.addressDir(), addr.String()), id)
		if err == nil {
			os.Remove(s.hintFile())
			os.Symlink(strconv.FormatUint(uint64(offset), 10), s.hintFile())
			return addr, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return netip.Addr{}, errdefs.Wrap(err, "reserve", "an address")
		}
	}
	return netip.Addr{}, errdefs.New(errdefs.Exhausted, "no address is left in %s", c.Subnet).WithHint("remove containers that are not needed")
}

func (s *Store) hintFile() string { return filepath.Join(s.state, "last") }

// lastOffset is only a hint: a lost value costs a longer search.
func (s *Store) lastOffset() uint32 {
	n, err := strconv.ParseUint(owner(s.hintFile()), 10, 32)
	if err != nil || n < 1 {
		return 1
	}
	return uint32(n)
}

// MAC returns the hardware address that belongs to an address: locally
// administered, and the same whenever the address is.
func MAC(a netip.Addr) []byte {
	b := a.As4()
	return append([]byte{0x02, 0x42}, b[:]...)
}
