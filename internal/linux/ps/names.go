package ps

import (
	"os"
	"strconv"
	"strings"
)

// names finds the name of a user or group in the host's file, as ps run on the
// host would. Other sources (NSS: LDAP, systemd) are not asked: that would load
// their libraries into this process.
type names struct {
	file string
	list map[uint32]string // nil: not read yet
}

// of returns the name of an id, or the number. As in ps, a name that does not
// fit in eight characters ends in "+".
func (n *names) of(id uint32) string {
	if n.list == nil {
		text, _ := os.ReadFile(n.file) // without it there are only numbers
		n.list = parseNames(string(text))
	}
	name, ok := n.list[id]
	switch {
	case !ok:
		return strconv.FormatUint(uint64(id), 10)
	case len(name) > 8:
		return name[:7] + "+"
	}
	return name
}

// parseNames reads lines "name:password:id:...", as in passwd(5) and group(5). The first of an id counts.
func parseNames(text string) map[uint32]string {
	list := map[uint32]string{}
	for line := range strings.Lines(text) {
		f := strings.SplitN(line, ":", 4)
		if len(f) < 4 || f[0] == "" || f[0][0] == '#' {
			continue
		}
		id, err := strconv.ParseUint(strings.TrimSpace(f[2]), 10, 32)
		if err != nil {
			continue
		}
		if _, ok := list[uint32(id)]; !ok {
			list[uint32(id)] = clean([]byte(f[0]))
		}
	}
	return list
}
