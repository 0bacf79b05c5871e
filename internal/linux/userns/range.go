package userns

import (
	"math"
	"strconv"
	"strings"

	"berth/internal/errdefs"
)

// Range is what a user namespace maps: its ids 0 to Count-1 are the host's
// users from UID on and the host's groups from GID on.
type Range struct {
	UID   uint32 `json:"UID"`
	GID   uint32 `json:"GID"`
	Count uint32 `json:"Count"`
}

// nobody is the id as which the kernel shows an owner that is not in the map
// (/proc/sys/kernel/overflowuid).
const nobody = 65534

// ParseRange reads "UID:GID:COUNT", three decimal numbers.
func ParseRange(s string) (Range, error) {
	var n [3]uint32
	parts := strings.Split(s, ":")
	if len(parts) != len(n) {
		return Range{}, malformed(s, "it has not three numbers")
	}
	for i, p := range parts {
		v, err := strconv.ParseUint(p, 10, 32)
		if err != nil {
			return Range{}, malformed(s, strconv.Quote(p)+" is no number from 0 to 4294967295")
		}
		n[i] = uint32(v)
	}
	r := Range{UID: n[0], GID: n[1], Count: n[2]}
	switch {
	case r.Count == 0:
		return Range{}, malformed(s, "no id is left for the container's root")
	case r.UID == 0 || r.GID == 0:
		return Range{}, malformed(s, "the container's root would be the host's")
	// The last number is none: (uid_t)-1 means "leave as it is" in chown(2).
	case uint64(r.UID)+uint64(r.Count) > math.MaxUint32 || uint64(r.GID)+uint64(r.Count) > math.MaxUint32:
		return Range{}, malformed(s, "it ends beyond the last id, 4294967294")
	}
	return r, nil
}

func malformed(s, why string) error {
	return errdefs.New(errdefs.InvalidArgument, "invalid id range %q: %s", s, why).
		WithHint("write UID:GID:COUNT, the first user and group of the host and how many, as in 100000:100000:65536")
}

// String returns the range as ParseRange reads it.
func (r Range) String() string {
	return strconv.FormatUint(uint64(r.UID), 10) + ":" + strconv.FormatUint(uint64(r.GID), 10) + ":" + strconv.FormatUint(uint64(r.Count), 10)
}

// Host returns the host's ids of a user and a group inside.
func (r Range) Host(uid, gid uint32) (hostUID, hostGID uint32, err error) {
	for _, id := range [...]uint32{uid, gid} {
		if id >= r.Count {
			return 0, 0, errdefs.New(errdefs.InvalidArgument, "the id %d is not one of the container's %d ids", id, r.Count).
				WithHint("give it a longer range: --userns UID:GID:COUNT")
		}
	}
	return r.UID + uid, r.GID + gid, nil
}

// Inside returns what the host's ids are inside. An id that is not in the range
// is nobody's there, as the kernel has it.
func (r Range) Inside(hostUID, hostGID uint32) (uid, gid uint32) {
	uid, gid = nobody, nobody
	if n := hostUID - r.UID; hostUID >= r.UID && n < r.Count {
		uid = n
	}
	if n := hostGID - r.GID; hostGID >= r.GID && n < r.Count {
		gid = n
	}
	return uid, gid
}
