package cli

// nearest returns the name closest to typed, if it is close enough to be a slip
// of the fingers: at most a third of its letters changed, added, left out or
// swapped with their neighbour. Of two as near, the one as long as typed is it.
func nearest(typed string, names []string) string {
	best, bestDistance := "", 1+max(len(typed)/3, 1)
	for _, name := range names {
		d := distance(typed, name)
		if d < bestDistance || d == bestDistance && best != "" && len(name) == len(typed) && len(best) != len(typed) {
			best, bestDistance = name, d
		}
	}
	return best
}

// distance counts the edits between a and b (optimal string alignment): three
// rows of the table are kept, since a swap looks two rows back.
func distance(a, b string) int {
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}
