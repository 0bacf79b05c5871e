package dockerfile

// Excerpt shows the lines from line to endLine, counted from 1, with those around
// them, as an Error at that place does: for a step that failed while it was done.
func (f *File) Excerpt(line, endLine int) string {
	e := &Error{File: f.Name, Line: line, EndLine: max(line, endLine), lines: f.lines, marked: map[int]bool{}}
	for l := line; l <= e.EndLine; l++ {
		e.marked[l] = true
	}
	return e.Excerpt()
}

// Original is the instruction that begins at a line, as it was written: lines
// that go on are joined, comments in between left out, and of a here-document
// there is the line that opens it. "" if none begins there.
func (f *File) Original(line int) string {
	for _, n := range f.tree.AST.Children {
		if n.StartLine == line {
			return n.Original
		}
	}
	return ""
}
