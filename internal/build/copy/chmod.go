package copy

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
)

// Chmod is a parsed --chmod. The zero value changes nothing.
type Chmod struct {
	octal bool
	mode  uint32
	steps []chmodStep
}

// chmodStep is one operator of a symbolic mode, with what stands on both sides.
type chmodStep struct {
	op    byte   // '+', '-', '='
	who   uint32 // the bits that it is about
	perm  uint32 // r, w, x, s, t
	ifExe uint32 // X: only for directories and what somebody may execute
	from  []uint // u, g, o on the right: how far their bits are shifted left
}

const (
	setID    = 0o6000
	sticky   = 0o1000
	allPerms = 0o777
)

// ParseChmod reads the value of --chmod: octal ("0755"), or the symbolic modes
// of chmod(1) as setmode(3) understands them ("u=rwX,go=rX"), where nobody
// named means everybody. An empty text changes nothing.
func ParseChmod(text string) (Chmod, error) {
	if text == "" {
		return Chmod{}, nil
	}
	if n, err := strconv.ParseUint(text, 8, 32); err == nil && n <= 0o7777 && !strings.ContainsAny(text, "_+") {
		return Chmod{octal: true, mode: uint32(n)}, nil
	}
	if text[0] >= '0' && text[0] <= '9' {
		return Chmod{}, errdefs.New(errdefs.InvalidArgument, "invalid chmod parameter: '%s'. it should be octal string and between 0 and 07777", printable(text))
	}
	var c Chmod
	for clause := range strings.SplitSeq(text, ",") {
		steps, ok := parseClause(clause)
		if !ok {
			return Chmod{}, errdefs.New(errdefs.InvalidArgument, "invalid chmod parameter: '%s'", printable(text)).
				WithHint(`write it in octal ("0755") or as chmod(1) does ("u=rwX,go=rX")`)
		}
		c.steps = append(c.steps, steps...)
	}
	return c, nil
}

func parseClause(clause string) ([]chmodStep, bool) {
	ops := strings.IndexAny(clause, "+-=")
	if ops < 0 {
		return nil, false
	}
	var named uint32
	for _, b := range []byte(clause[:ops]) {
		switch b {
		case 'u':
			named |= 0o4700
		case 'g':
			named |= 0o2070
		case 'o':
			named |= 0o0007
		case 'a':
			named |= setID | allPerms
		default:
			return nil, false
		}
	}
	var steps []chmodStep
	for rest := clause[ops:]; rest != ""; {
		end := strings.IndexAny(rest[1:], "+-=") + 1
		if end == 0 {
			end = len(rest)
		}
		s, ok := parseStep(rest[0], named, rest[1:end])
		if !ok {
			return nil, false
		}
		steps, rest = append(steps, s), rest[end:]
	}
	return steps, true
}

// parseStep reads what stands on the right of an operator.
func parseStep(op byte, named uint32, perms string) (chmodStep, bool) {
	s := chmodStep{op: op, who: named}
	if named == 0 {
		s.who = setID | allPerms
	}
	special := s.who&^0o0007 != 0 // "others" alone have neither set-id bits nor a sticky one
	for _, b := range []byte(perms) {
		switch b {
		case 'r':
			s.perm |= 0o444
		case 'w':
			s.perm |= 0o222
		case 'x':
			s.perm |= 0o111
		case 'X':
			s.ifExe |= 0o111
		case 's':
			if special {
				s.perm |= setID
			}
		case 't':
			if special {
				s.perm |= sticky
				s.who |= sticky
			}
		case 'u':
			s.from = append(s.from, 6)
		case 'g':
			s.from = append(s.from, 3)
		case 'o':
			s.from = append(s.from, 0)
		default:
			return s, false
		}
	}
	return s, true
}

// Apply returns the permission bits (12 bits) that a file of the given st_mode gets.
func (c *Chmod) Apply(mode uint32) uint32 {
	perm := mode & 0o7777
	switch {
	case mode&unix.S_IFMT == unix.S_IFLNK:
		return perm // a link has no mode of its own
	case c.octal:
		return c.mode
	}
	executable := mode&unix.S_IFMT == unix.S_IFDIR || mode&0o111 != 0
	for i := range c.steps {
		perm = c.steps[i].apply(perm, executable)
	}
	return perm
}

func (s *chmodStep) apply(perm uint32, executable bool) uint32 {
	bits := s.perm
	for _, shift := range s.from {
		bits |= perm >> shift & 7 * 0o111
	}
	if executable || s.op == '-' {
		bits |= s.ifExe
	}
	bits &= s.who
	switch s.op {
	case '+':
		return perm | bits
	case '-':
		return perm &^ bits
	}
	clear := s.who
	if len(s.from) > 0 {
		clear &= allPerms // "g=u" is about rwx alone
	}
	return perm&^clear | bits
}

// parents is the mode of directories that are made on the way to the destination.
func (c *Chmod) parents() uint32 {
	if c.octal {
		return c.mode & allPerms
	}
	return 0o755
}
