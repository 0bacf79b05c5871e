package cgroup

import (
	"strconv"
	"strings"

	"berth/internal/errdefs"
)

// maxListed bounds the numbers in a list: kernels are built for 8192 CPUs at most.
const maxListed = 8192

// ParseList reads a list of CPUs or memory nodes as cpuset(7) writes them,
// "0-2,4", and returns a slice that is true at the numbers named.
func ParseList(s string) ([]bool, error) {
	var set []bool
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		low, err := listed(first)
		if err != nil {
			return nil, err
		}
		high := low
		if isRange {
			if high, err = listed(last); err != nil {
				return nil, err
			}
		}
		if high < low {
			return nil, errdefs.New(errdefs.InvalidArgument, "the range %q goes backwards", part)
		}
		for len(set) <= high {
			set = append(set, false)
		}
		for i := low; i <= high; i++ {
			set[i] = true
		}
	}
	return set, nil
}

func listed(s string) (int, error) {
	s = strings.TrimSpace(s)
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n >= maxListed {
		return 0, errdefs.New(errdefs.InvalidArgument, "%q is not a number below %d", s, maxListed)
	}
	return int(n), nil
}
