package seccomp

import "slices"

// test sends a call to yes or no by a condition on one of its arguments. An
// argument has 64 bits and the accumulator 32, so the two halves are compared
// one after the other. On a narrow architecture only the low half exists.
func (a *assembler) test(c Arg, narrow bool, yes, no label) label {
	switch c.Op {
	case NotEqual:
		c.Op = Equal
		return a.test(c, narrow, no, yes)
	case Less:
		c.Op = GreaterOrEqual
		return a.test(c, narrow, no, yes)
	case LessOrEqual:
		c.Op = Greater
		return a.test(c, narrow, no, yes)
	case Equal:
		c.Op, c.Value, c.ValueTwo = MaskedEqual, ^uint64(0), c.Value
		return a.test(c, narrow, yes, no)
	case MaskedEqual:
		l := a.masked(c.Index, 0, uint32(c.Value), uint32(c.ValueTwo), yes, no)
		if narrow {
			return l
		}
		return a.masked(c.Index, 4, uint32(c.Value>>32), uint32(c.ValueTwo>>32), l, no)
	}
	op := uint16(opAbove)
	if c.Op == GreaterOrEqual {
		op = opAtLeast
	}
	low := a.load(argOffset(c.Index, 0), a.branch(op, uint32(c.Value), yes, no))
	if narrow {
		return low
	}
	high := uint32(c.Value >> 32)
	return a.load(argOffset(c.Index, 4), a.branch(opAbove, high, yes, a.branch(opEqual, high, low, no)))
}

// argOffset is the place of the low (0) or high (4) half of an argument in
// seccomp_data; all of berth's architectures are little-endian.
func argOffset(index uint8, half uint32) uint32 { return offArgs + 8*uint32(index) + half }

// masked compares half an argument under a mask.
func (a *assembler) masked(index uint8, half, mask, want uint32, yes, no label) label {
	switch {
	case want&^mask != 0:
		return no
	case mask == 0:
		return yes
	}
	l := a.branch(opEqual, want, yes, no)
	if mask != ^uint32(0) {
		l = a.and(mask, l)
	}
	return a.load(argOffset(index, half), l)
}

// alternative is one way for a call with given arguments to get an action: all
// conditions hold.
type alternative struct {
	args   []Arg
	action Action
}

// alternatives splits a rule that has two conditions on one argument.
func (r *Rule) alternatives(list []alternative) []alternative {
	var seen uint8
	for i, c := range r.Args {
		if seen&(1<<c.Index) != 0 {
			for i := range r.Args {
				list = append(list, alternative{r.Args[i : i+1], r.Action})
			}
			return list
		}
		seen |= 1 << r.Args[i].Index
	}
	return append(list, alternative{r.Args, r.Action})
}

// chain tries the alternatives in order; the first that holds decides.
func (a *assembler) chain(list []alternative, narrow bool, otherwise Action) label {
	if l, ok := a.ranges(list, narrow, otherwise); ok {
		return l
	}
	next := a.ret(otherwise)
	for i := len(list) - 1; i >= 0; i-- {
		l := a.ret(list[i].action)
		for j := len(list[i].args) - 1; j >= 0; j-- {
			l = a.test(list[i].args[j], narrow, l, next)
		}
		next = l
	}
	return next
}

// ranges compiles alternatives that each compare one and the same argument with
// a number to a binary search: socket(2) is allowed for some 30 address
// families, which make a dozen ranges. It declines what does not fit.
func (a *assembler) ranges(list []alternative, narrow bool, otherwise Action) (label, bool) {
	if len(list) < 3 {
		return 0, false
	}
	index := list[0].args[0].Index
	cuts := append(make([]uint64, 0, 2*len(list)+1), 0)
	for _, l := range list {
		c := l.args[0]
		if len(l.args) != 1 || c.Index != index || c.Op == MaskedEqual || c.Value > 1<<32-1 {
			return 0, false
		}
		cuts = append(cuts, c.Value, c.Value+1)
	}
	low, ok := a.written(list)
	if !ok {
		low = a.search(split(cuts, func(v uint64) label { return a.ret(decide(list, v, otherwise)) }))
		low = a.load(argOffset(index, 0), low)
		a.lows = append(a.lows, lowHalf{list, low})
	}
	if narrow {
		return low, true
	}
	// Beyond 32 bits no comparison changes any more.
	beyond := a.ret(decide(list, 1<<32, otherwise))
	return a.load(argOffset(index, 4), a.branch(opEqual, 0, low, beyond)), true
}

// lowHalf is a search over the low half of an argument. All architectures share it.
type lowHalf struct {
	list []alternative
	at   label
}

// written returns where the low half of the same alternatives stands already.
func (a *assembler) written(list []alternative) (label, bool) {
	for _, l := range a.lows {
		if slices.EqualFunc(l.list, list, func(x, y alternative) bool { return x.action == y.action && &x.args[0] == &y.args[0] }) {
			return l.at, true
		}
	}
	return 0, false
}

// decide returns what alternatives with one condition each say to a value.
func decide(list []alternative, v uint64, otherwise Action) Action {
	for _, l := range list {
		if l.args[0].holds(v) {
			return l.action
		}
	}
	return otherwise
}

// holds evaluates the condition.
func (c Arg) holds(v uint64) bool {
	switch c.Op {
	case Equal:
		return v == c.Value
	case NotEqual:
		return v != c.Value
	case Less:
		return v < c.Value
	case LessOrEqual:
		return v <= c.Value
	case Greater:
		return v > c.Value
	case GreaterOrEqual:
		return v >= c.Value
	}
	return v&c.Value == c.ValueTwo
}
