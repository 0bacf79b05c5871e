package seccomp

import "slices"

// span is a range of values that share a destination: from its start to the
// start of the next one.
type span struct {
	from uint32
	to   label
}

// split returns the spans between sorted or unsorted cuts, merging neighbours
// with one destination. Cuts beyond 32 bits do not count.
func split(cuts []uint64, dest func(v uint64) label) []span {
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	spans := make([]span, 0, len(cuts))
	for _, c := range cuts {
		if c>>32 != 0 {
			break
		}
		if to := dest(c); len(spans) == 0 || spans[len(spans)-1].to != to {
			spans = append(spans, span{uint32(c), to})
		}
	}
	return spans
}

// search finds the accumulator's span and goes there: a binary search, whose
// leaves are a few single values in a range that otherwise has one destination.
// Most of the numbers that a profile leaves out stand alone among allowed ones;
// so each of them costs one comparison and not two.
func (a *assembler) search(spans []span) label {
	if home, ok := comb(spans); ok {
		next := spans[home].to
		for i := len(spans) - 1; i >= 0; i-- {
			if spans[i].to != spans[home].to {
				next = a.branch(opEqual, spans[i].from, spans[i].to, next)
			}
		}
		return next
	}
	mid := cut(spans)
	right := a.search(spans[mid:])
	left := a.search(spans[:mid])
	return a.branch(opAtLeast, spans[mid].from, right, left)
}

// maxTeeth bounds the comparisons one after another at a leaf.
const maxTeeth = 5

// comb reports whether all spans but single values share a destination, and
// which span has it. The last span has no end here: it is no single value.
func comb(spans []span) (home int, ok bool) {
	home = len(spans) - 1
	teeth := 0
	for i := range spans {
		if spans[i].to == spans[home].to {
			continue
		}
		if teeth++; teeth > maxTeeth || !single(spans, i) {
			return 0, false
		}
	}
	return home, true
}

// single reports whether span i has one value.
func single(spans []span, i int) bool {
	return i+1 < len(spans) && spans[i].from+1 == spans[i+1].from
}

// cut returns where to split: near the middle, and if possible between two wide
// spans, where a comparison is needed anyway.
func cut(spans []span) int {
	mid := len(spans) / 2
	for d := 0; d <= len(spans)/5; d++ {
		for _, i := range [...]int{mid - d, mid + d} {
			if i > 0 && i < len(spans)-1 && !single(spans, i) && !single(spans, i-1) {
				return i
			}
		}
	}
	return mid
}
