package capability

import (
	"strings"

	"berth/internal/errdefs"
)

// all is the word that means every capability in --cap-add and --cap-drop.
const all = "ALL"

// Adjust returns what --cap-add and --cap-drop make of base, by Docker's rules:
//
//	add ALL     every available capability but those dropped by name
//	drop ALL    exactly those added by name
//	otherwise   base without the dropped ones, then with the added ones
//
// available is what can be given at all (see Held): asking for more by name is
// an error, and what base has more than that is left out silently, so that a
// default container starts on a machine whose own root is restricted.
func Adjust(base, available Set, add, drop []string) (Set, error) {
	added, addAll, err := split(add)
	if err != nil {
		return 0, err
	}
	dropped, dropAll, err := split(drop)
	if err != nil {
		return 0, err
	}
	if missing := added &^ available; missing != 0 {
		return 0, errdefs.New(errdefs.InvalidArgument,
			"capability not supported by your kernel or not available in the current environment: %s", missing).
			WithHint("this process may give: %s", available)
	}
	switch {
	case addAll:
		return available &^ dropped, nil
	case dropAll:
		return added, nil
	}
	return base&available&^dropped | added, nil
}

// split returns the capabilities in a list of flags and whether ALL is among them.
func split(list []string) (set Set, hasAll bool, err error) {
	for _, name := range list {
		if strings.EqualFold(name, all) {
			hasAll = true
			continue
		}
		one, err := Parse(name)
		if err != nil {
			return 0, false, err
		}
		set |= one
	}
	return set, hasAll, nil
}
