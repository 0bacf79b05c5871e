package bootstrap

import (
	"strconv"
	"strings"

	"berth/internal/errdefs"
)

// CheckTmpfs refuses options ("size=64m,mode=1700,exec") that a tmpfs (tmpfs(5))
// would refuse, or would not understand, when it is mounted.
func CheckTmpfs(list string) error {
	o, err := parseOptions(strings.Split(list, ","))
	if err != nil {
		return err
	}
	for _, s := range o.data {
		if key, value, _ := strings.Cut(s, "="); !tmpfsOption(key, value) {
			return errdefs.New(errdefs.InvalidArgument, "invalid tmpfs option %q", s).
				WithHint("there are size=64m (or 10%%), nr_inodes=1k, mode=1777, uid=0, gid=0 and the flags of mount(8): ro, exec, suid, dev, noatime")
		}
	}
	return nil
}

func tmpfsOption(key, value string) bool {
	switch key {
	case "size", "nr_blocks", "nr_inodes":
		if key == "size" && strings.HasSuffix(value, "%") {
			n, err := strconv.ParseUint(strings.TrimSuffix(value, "%"), 10, 31)
			return err == nil && n > 0
		}
		digits := strings.TrimRight(value, "kKmMgG")
		base := 10
		if strings.HasPrefix(digits, "0") {
			base = 8
		}
		_, err := strconv.ParseUint(digits, base, 63)
		return err == nil && len(value)-len(digits) <= 1
	case "mode":
		_, err := strconv.ParseUint(value, 8, 12)
		return err == nil
	case "uid", "gid":
		_, err := strconv.ParseUint(value, 10, 32)
		return err == nil
	case "mpol":
		return value != ""
	}
	return false
}
