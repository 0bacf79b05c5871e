package progress

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"berth/internal/image/transfer"
)

func TestBar(t *testing.T) {
	for _, c := range []struct {
		current, total int64
		width          int
		want           string
	}{
		{1616000, 28570000, 200, "[==>                                                ]  1.616MB/28.57MB"},
		{0, 100, 200, "[>                                                  ]       0B/100B"},
		{100, 100, 200, "[==================================================>]     100B/100B"},
		{50, 100, 80, "     50B/100B"},
		{50, 0, 200, "     50B"},
		{101, 100, 200, "    101B"},
	} {
		if got := bar(c.current, c.total, c.width); got != c.want {
			t.Errorf("bar(%d, %d, %d) = %q, want %q", c.current, c.total, c.width, got, c.want)
		}
	}
}

// screen is a terminal that understands what a Printer writes.
type screen struct {
	rows []string
	y    int
}

func (s *screen) Write(b []byte) (int, error) {
	for rest := string(b); rest != ""; {
		switch {
		case rest[0] == '\n':
			s.y++
			rest = rest[1:]
		case rest[0] == '\r':
			rest = rest[1:]
		case strings.HasPrefix(rest, "\x1b["):
			end := strings.IndexAny(rest, "ABK")
			n := 0
			for _, c := range rest[2:end] {
				n = 10*n + int(c-'0')
			}
			switch rest[end] {
			case 'A':
				s.y -= n
			case 'B':
				s.y += n
			case 'K':
				s.rows[s.y] = ""
			}
			rest = rest[end+1:]
		default:
			end := strings.IndexAny(rest+"\n", "\n\r\x1b")
			for len(s.rows) <= s.y {
				s.rows = append(s.rows, "")
			}
			s.rows[s.y] += rest[:end]
			rest = rest[end:]
		}
		for len(s.rows) <= s.y {
			s.rows = append(s.rows, "")
		}
	}
	return len(b), nil
}

func events() []transfer.Event {
	return []transfer.Event{
		{ID: "latest", Status: transfer.PullingFrom, Detail: "library/busybox"},
		{ID: "aaaaaaaaaaaa", Status: transfer.Pulling},
		{ID: "bbbbbbbbbbbb", Status: transfer.Pulling},
		{ID: "bbbbbbbbbbbb", Status: transfer.Waiting},
		{ID: "aaaaaaaaaaaa", Status: transfer.Downloading, Current: 50, Total: 100},
		{ID: "aaaaaaaaaaaa", Status: transfer.Downloading, Current: 60, Total: 100},
		{ID: "bbbbbbbbbbbb", Status: transfer.Downloading, Current: 10, Total: 100},
		{ID: "aaaaaaaaaaaa", Status: transfer.Complete},
		{ID: "bbbbbbbbbbbb", Status: transfer.Downloading, Current: 20, Total: 100},
		{Status: transfer.DigestIs, Detail: "sha256:1"},
		{Status: transfer.Importing, Current: 1},
		{Status: transfer.Importing, Current: 2},
	}
}

func TestTerminal(t *testing.T) {
	s := &screen{}
	p := New(s, func() (int, int) { return 60, 24 })
	p.now = func() time.Time { return time.Unix(0, 0) } // no time passes: bars are drawn late, and all the same at the end
	for _, e := range events() {
		p.Event(e)
	}
	p.Line("done")
	p.Close()
	want := []string{
		"latest: Pulling from library/busybox",
		"aaaaaaaaaaaa: Pull complete",
		"bbbbbbbbbbbb: Downloading      20B/100B",
		"Digest: sha256:1",
		"Importing       2B",
		"done",
		"",
	}
	if got := strings.Join(s.rows, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("the screen shows\n%s", got)
	}
}

func TestPlain(t *testing.T) {
	var b bytes.Buffer
	p := New(&b, nil)
	for _, e := range events() {
		p.Event(e)
	}
	p.Line("done")
	want := "latest: Pulling from library/busybox\naaaaaaaaaaaa: Pulling fs layer\nbbbbbbbbbbbb: Pulling fs layer\nbbbbbbbbbbbb: Waiting\naaaaaaaaaaaa: Pull complete\nDigest: sha256:1\ndone\n"
	if b.String() != want {
		t.Errorf("%s", b.String())
	}
}

func TestLowTerminal(t *testing.T) {
	var b bytes.Buffer
	p := New(&b, func() (int, int) { return 20, 3 })
	for _, id := range []string{"1", "2", "3", "4", "5"} {
		p.Event(transfer.Event{ID: id, Status: transfer.Pulling})
	}
	p.Event(transfer.Event{ID: "1", Status: transfer.Complete}) // has left the screen
	p.Event(transfer.Event{ID: "5", Status: transfer.Downloading, Current: 1, Total: 1000})
	if strings.Contains(b.String(), "[5A") || strings.Contains(b.String(), "[3A") {
		t.Errorf("the cursor goes above the screen: %q", b.String())
	}
	for _, l := range strings.Split(b.String(), "\r") {
		if len(strings.TrimPrefix(l, "\x1b[2K")) > 20 {
			t.Errorf("a line wraps: %q", l)
		}
	}
}
