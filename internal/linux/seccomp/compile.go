package seccomp

import (
	"slices"
	"strings"

	"berth/internal/errdefs"

	"golang.org/x/sys/unix"
)

// Compile returns the filter of a profile for a target; nil if the profile is
// disabled.
//
// If an unconditional rule and rules with arguments name one call, the
// unconditional one wins, as with libseccomp; among rules with arguments the
// first that holds wins. Rules that repeat the default action are passed over,
// as runc does.
func Compile(p *Profile, t Target) (Filter, error) {
	if p.Disabled {
		return nil, nil
	}
	c := compiler{p: p, t: t, arches: p.covered(t.Arch)}
	c.collect()
	code := c.program()
	if len(code) > unix.BPF_MAXINSNS {
		return nil, errdefs.New(errdefs.InvalidArgument, "the seccomp profile is too large: it makes %d instructions, the kernel takes %d", len(code), unix.BPF_MAXINSNS)
	}
	return encode(code), nil
}

// verdict is what the rules say about one call.
type verdict struct {
	action  Action
	decided bool          // action holds whatever the arguments
	tried   []alternative // else these are tried, then the default holds
}

type compiler struct {
	p      *Profile
	t      Target
	arches archSet
	asm    assembler

	operations []Arg // of multiplexed calls

	verdicts []verdict // the first is the default
	of       [numArches][numSlots]uint16
	newest   [numArches]int // the highest slot that any rule names, -1: none
	dest     []label        // of each verdict in the tree being built
}

// collect finds the verdict for every call that a rule names.
func (c *compiler) collect() {
	c.verdicts = append(make([]verdict, 0, 64), verdict{action: c.p.Default, decided: true})
	for a := range numArches {
		c.newest[a] = -1
	}
	for i := range c.p.Rules {
		r := &c.p.Rules[i]
		plain := uint16(0)
		if len(r.Args) == 0 {
			plain = c.plain(r.Action)
		}
		counts := r.counts(c.t) && r.Action != c.p.Default
		for name := range strings.FieldsSeq(r.Names) {
			if at, ok := find(name); ok {
				c.apply(r, counts, plain, &tableSlots[at])
				if counts {
					c.applyMultiplexed(r, name)
				}
			}
		}
	}
}

// plain returns the verdict that is an action and nothing else.
func (c *compiler) plain(action Action) uint16 {
	for i, v := range c.verdicts {
		if v.decided && v.action == action {
			return uint16(i)
		}
	}
	c.verdicts = append(c.verdicts, verdict{action: action, decided: true})
	return uint16(len(c.verdicts) - 1)
}

// apply notes that a rule names a call and, if it counts, adds it to the
// verdict on that call, on every architecture covered.
func (c *compiler) apply(r *Rule, counts bool, plain uint16, slots *[numArches]int16) {
	for a := range numArches {
		slot := int(slots[a])
		if slot == absent || !c.arches.has(a) || a == X32 && slot < firstX32 {
			continue
		}
		if a == X32 {
			a = AMD64
		}
		if from, _ := c.apart(a); slot < from {
			c.newest[a] = max(c.newest[a], slot)
		}
		if !counts {
			continue
		}
		if len(r.Args) > 0 {
			c.try(a, slot, r.alternatives(nil)...)
		} else if at := &c.of[a][slot]; !c.verdicts[*at].decided || *at == 0 {
			*at = plain
		}
	}
}

// try adds ways to get another action than the default to the verdict on a call.
func (c *compiler) try(a Arch, slot int, ways ...alternative) {
	at := &c.of[a][slot]
	if *at == 0 {
		c.verdicts = append(c.verdicts, verdict{})
		*at = uint16(len(c.verdicts) - 1)
	}
	if v := &c.verdicts[*at]; !v.decided {
		v.tried = append(v.tried, ways...)
	}
}

// program writes the filter, last instruction first.
func (c *compiler) program() []unix.SockFilter {
	c.asm.code = make([]unix.SockFilter, 0, 512)
	entry := c.asm.ret(KillProcess) // of an architecture that is not covered
	for _, a := range [...]Arch{ARM, I386, ARM64, AMD64} {
		if !c.arches.has(a) {
			continue
		}
		tree := c.tree(a)
		if a == AMD64 {
			tree = c.x32(tree)
		}
		entry = c.asm.branch(opEqual, a.audit(), c.asm.load(offNumber, tree), entry)
	}
	c.asm.load(offArch, entry)
	slices.Reverse(c.asm.code)
	return c.asm.code
}

// x32 puts before the tree of AMD64 what is to be done with the calls of X32.
//
// Their numbers are those of AMD64 with a bit set, and where X32 has a number of
// its own it lies in a range that AMD64 does not use. So one tree serves both
// once the bit is off. It allows a few calls that X32 does not have, and that
// the kernel therefore refuses itself (Linux 5.4).
//
// Without X32 in the profile its calls are those of a foreign architecture, but
// for -1: a debugger writes that number to cancel a call.
func (c *compiler) x32(amd64 label) label {
	other := label(0)
	if c.arches.has(X32) {
		other = c.asm.and(^uint32(x32Bit), amd64)
	} else {
		other = c.asm.branch(opEqual, ^uint32(0), amd64, c.asm.ret(KillProcess))
	}
	return c.asm.branch(opAtLeast, x32Bit, other, amd64)
}

// apart returns the range of slots that stands far above the other calls of an
// architecture and never grows.
func (c *compiler) apart(a Arch) (from, to int) {
	switch {
	case a == AMD64 && c.arches.has(X32):
		return firstX32, lastX32 + 1
	case a == ARM:
		return privateSlot + 1, privateSlot + 7
	}
	return numSlots, numSlots
}

// tree writes the search over the numbers of one architecture.
func (c *compiler) tree(a Arch) label {
	c.dest = c.dest[:0]
	for range c.verdicts {
		c.dest = append(c.dest, -1)
	}
	spans := make([]span, 0, 160)
	add := func(from uint32, to label) {
		if len(spans) == 0 || spans[len(spans)-1].to != to {
			spans = append(spans, span{from, to})
		}
	}
	listed := func(from, to int) {
		for slot := from; slot < to; slot++ {
			if v := c.of[a][slot]; slot == from || v != c.of[a][slot-1] {
				add(a.numberOf(slot), c.destination(a, v))
			}
		}
		add(a.numberOf(to), c.beyond(a))
	}
	listed(0, c.newest[a]+1)
	if from, to := c.apart(a); from < numSlots {
		listed(from, to)
	}
	return c.asm.search(spans)
}

// beyond is where calls go that are newer than all that the profile names:
// newer than its author's kernel, probably. A profile that lists what is
// allowed lets them fail with ENOSYS, so that programs fall back to what they
// did before the call existed.
func (c *compiler) beyond(a Arch) label {
	if c.newest[a] >= 0 && !c.p.Default.permissive() {
		return c.asm.ret(Errno(unix.ENOSYS))
	}
	return c.destination(a, 0)
}

// destination writes the code for a verdict, once per tree.
func (c *compiler) destination(a Arch, v uint16) label {
	if c.dest[v] < 0 {
		if d := &c.verdicts[v]; d.decided {
			c.dest[v] = c.asm.ret(d.action)
		} else {
			c.dest[v] = c.asm.chain(d.tried, a.narrow(), c.p.Default)
		}
	}
	return c.dest[v]
}
