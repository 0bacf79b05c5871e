package printer

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"berth/internal/build/progress"
)

// screen is a terminal that knows what tty uses: lines, the cursor up, erasing,
// and that a line which is too long wraps.
type screen struct {
	t             *testing.T
	width, height int
	cells         []string // all lines ever, the last height of them are visible
	row           int
	writes        int
}

func (s *screen) Write(p []byte) (int, error) {
	s.writes++
	if !strings.HasPrefix(string(p), "\x1b[?25l") || !strings.HasSuffix(string(p), "\x1b[?25h") {
		s.t.Errorf("a write that does not hide and show the cursor: %q", p)
	}
	seq := regexp.MustCompile(`^\x1b\[(\??[0-9]*)([a-zA-Z])`)
	text := string(p)
	col := 0
	for text != "" {
		if m := seq.FindStringSubmatch(text); m != nil {
			text = text[len(m[0]):]
			n, _ := strconv.Atoi(m[1])
			switch m[2] {
			case "A":
				if s.row -= n; s.row < len(s.cells)-s.height || s.row < 0 {
					s.t.Fatalf("the cursor left the top of the screen")
				}
			case "K":
				s.line(s.row)
				s.cells[s.row] = string([]rune(s.cells[s.row])[:col])
			case "J":
				s.line(s.row)
				s.cells = s.cells[:s.row+1]
				s.cells[s.row] = ""
			case "m", "h", "l":
			default:
				s.t.Fatalf("unknown sequence %q", m[0])
			}
			continue
		}
		r, n := utf8.DecodeRuneInString(text)
		text = text[n:]
		switch r {
		case '\r':
			col = 0
		case '\n':
			s.row++
			s.line(s.row)
		default:
			if col += runeWidth(r); col > s.width {
				s.t.Fatalf("a line of more than %d columns in %q", s.width, p)
			}
			s.line(s.row)
			old := []rune(s.cells[s.row])
			if col <= len(old) {
				old[col-1] = r
			} else {
				old = append(old, r)
			}
			s.cells[s.row] = string(old)
		}
	}
	return len(p), nil
}

func (s *screen) line(n int) {
	for len(s.cells) <= n {
		s.cells = append(s.cells, "")
	}
}

func (s *screen) text() string { return strings.TrimRight(strings.Join(s.cells, "\n"), "\n") }

func newScreen(t *testing.T, width, height int) *screen {
	return &screen{t: t, width: width, height: height}
}

func (s *screen) size() (int, int) { return s.width, s.height }

func TestTTY(t *testing.T) {
	s := newScreen(t, 50, 24)
	sideBySide(errors.New("no")).play(newTTY(s, s.size, true))
	want := `[+] Building 1.5s (2/2) FINISHED
 => ERROR [a 2/2] RUN make                   1.5s
 => [b 2/2] RUN go                           0.3s`
	if s.text() != want {
		t.Errorf("got\n%s", s.text())
	}
	if s.writes > 17 {
		t.Errorf("%d writes for 1.5 seconds", s.writes)
	}
}

func TestTTYWhileRunning(t *testing.T) {
	s := newScreen(t, 40, 24)
	d := newTTY(s, s.size, false)
	for _, e := range sideBySide(nil).events[:7] {
		d.event(e)
	}
	d.event(&progress.Transfer{ID: id("[a 2/2] RUN makeRUN make"), Name: "layer", Current: 500, Total: 1000, Started: at(0), Time: at(10)})
	d.tick(at(1200))
	want := `[+] Building 1.2s (0/2)
 => [a 2/2] RUN make               1.2s
 => => layer 500B / 1kB            1.2s
 => => # one
 => => # two
 => => # red
 => [b 2/2] RUN go                 1.2s
 => => # 100%`
	if s.text() != want {
		t.Errorf("got\n%s", s.text())
	}
	n := s.writes
	d.tick(at(1210))
	if s.writes != n {
		t.Error("drew the same picture again")
	}
}

// However many steps, the picture stays on the screen, and those at work in it.
func TestTTYSmallScreen(t *testing.T) {
	s := newScreen(t, 30, 6)
	d := newTTY(s, s.size, true)
	r := &recording{}
	for i := range 20 {
		name := fmt.Sprintf("step %d 日本語日本語日本語日本語", i)
		r.start(i*200, progress.Vertex{Name: name})
		for j := range 5 {
			r.output(i*200+j*10, name, progress.Stdout, fmt.Sprintf("line\t%d\x1b[2J\n", j))
		}
		if i > 0 {
			r.finish(i*200+150, name, progress.Finished{Cached: i%2 == 0})
		}
		for _, e := range r.events {
			d.event(e)
		}
		r.events = nil
		d.tick(at(i*200 + 160))
		if text := s.text(); !strings.Contains(text, "step 0 ") {
			t.Fatalf("the step at work is not shown:\n%s", text)
		}
	}
	d.end(at(5000))
	if n := strings.Count(s.text(), " => "); n != 20 {
		t.Errorf("%d lines at the end", n)
	}
}

// A window that became narrower has wrapped the old lines.
func TestRows(t *testing.T) {
	if n := rows([]string{"", strings.Repeat("x", 40), "\x1b[34m" + strings.Repeat("x", 41) + "\x1b[0m"}, 20); n != 1+2+3 {
		t.Errorf("%d rows", n)
	}
}

func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"a\tb":                       "a       b",
		"\x1b[1;31mred\x1b[0m":       "red",
		"\x1b]0;title\aafter":        "after",
		"\x1b]8;;http://x\x1b\\link": "link",
		"bell\a\b\x7f":               "bell",
		"bad\xff":                    "bad?",
		"\x1b":                       "",
		"\x1b[":                      "",
		"\u202eevil":                 "evil",
		"\u009b2Jx":                  "2Jx",
	} {
		if got := visible([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzVisible(f *testing.F) {
	f.Add([]byte("a\tb\x1b[31mc\x1b]0;t\a\xff\u200d日"))
	f.Fuzz(func(t *testing.T, line []byte) {
		s := visible(line)
		for _, r := range s {
			if r < ' ' || r >= 0x7f && r < 0xa0 {
				t.Fatalf("%q shows the control character %U", line, r)
			}
		}
		if w := textWidth(cut(s, 10)); w > 10 {
			t.Fatalf("%q: %d columns after cutting at 10", line, w)
		}
	})
}
