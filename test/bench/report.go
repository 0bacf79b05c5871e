package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// result is what a row found out about one contender.
type result struct {
	name    string
	rival   bool // a whole engine that is not berth
	samples int
	figures figures
}

// table collects the lines of the report, one for each bar.
type table struct {
	lines  [][]string
	missed int
}

func find(results []result, name string) (result, bool) {
	i := slices.IndexFunc(results, func(r result) bool { return r.name == name })
	if i < 0 {
		return result{}, false
	}
	return results[i], true
}

// add judges a row.
func (t *table) add(r row, results []result) {
	for _, b := range r.bars {
		line := []string{r.name + ": " + string(b.of), "-", others(results, b.of), "-", b.String(), "missed"}
		ours, ok := find(results, "berth")
		if ok {
			line[1] = number(ours.figures[b.of])
		}
		if value, known := b.value(results); known && ok {
			if b.against != "" {
				line[3] = ratio(value)
			}
			if b.holds(value) {
				line[5] = "held"
			}
		} else if ok {
			line[5] = "not compared"
		}
		if line[5] == "missed" {
			t.missed++
		}
		t.lines = append(t.lines, line)
	}
}

// value is what the bar limits: berth's figure or its ratio to another's.
func (b bar) value(results []result) (float64, bool) {
	ours, ok := find(results, "berth")
	if !ok {
		return 0, false
	}
	if b.against == "" {
		return ours.figures[b.of], true
	}
	if b.against != rivals {
		other, ok := find(results, b.against)
		return ours.figures[b.of] / other.figures[b.of], ok
	}
	least := 0.
	for _, r := range results {
		if v := r.figures[b.of]; r.rival && (least == 0 || v < least) {
			least = v
		}
	}
	return ours.figures[b.of] / least, least > 0
}

func (b bar) holds(value float64) bool {
	if b.atLeast {
		return value >= b.limit
	}
	return value <= b.limit
}

func (b bar) String() string {
	word := "at most"
	if b.atLeast {
		word = "at least"
	}
	switch {
	case b.against == "":
		return fmt.Sprintf("%s %s", word, number(b.limit))
	case b.limit < 1:
		return fmt.Sprintf("%s 1/%.0f of %s", word, 1/b.limit, b.against)
	}
	return fmt.Sprintf("%s %gx %s", word, b.limit, b.against)
}

// others lists the peers' figures.
func others(results []result, of metric) string {
	var list []string
	for _, r := range results {
		if r.name != "berth" {
			list = append(list, r.name+" "+number(r.figures[of]))
		}
	}
	return strings.Join(list, ", ")
}

// number has three digits that count.
func number(v float64) string {
	switch {
	case v == float64(int64(v)) || v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// ratio writes small ones as fractions, as the bars do.
func ratio(v float64) string {
	if v < 0.5 {
		return fmt.Sprintf("1/%.1f", 1/v)
	}
	return fmt.Sprintf("%.2f", v)
}

// print writes the table in Markdown.
func (t *table) print(w io.Writer) {
	head := []string{"what", "berth", "peers", "ratio", "bar", "held?"}
	fmt.Fprintf(w, "| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat("---|", len(head)))
	for _, line := range t.lines {
		fmt.Fprintf(w, "| %s |\n", strings.Join(line, " | "))
	}
	fmt.Fprintf(w, "\n%d of %d bars missed.\n", t.missed, len(t.lines))
}
