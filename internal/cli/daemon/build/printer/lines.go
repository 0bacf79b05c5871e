package printer

import (
	"bytes"
	"time"
)

// maxLine is the longest line that is kept whole, in bytes. A program may write
// gigabytes without a line feed.
const maxLine = 16 << 10

// lineBuffer makes whole lines of what a program writes. A progress bar that is
// drawn over itself with carriage returns is one line: its last form.
type lineBuffer struct {
	partial []byte
	since   time.Time // when partial last grew
}

// add takes bytes and calls line for each line that they complete, without its
// end. The argument of line is valid only during the call.
func (b *lineBuffer) add(data []byte, now time.Time, line func([]byte)) {
	b.since = now
	for {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			break
		}
		b.partial = append(b.partial, data[:i]...)
		data = data[i+1:]
		b.flush(line)
	}
	for len(b.partial)+len(data) > maxLine {
		n := maxLine - len(b.partial)
		b.partial = append(b.partial, data[:n]...)
		data = data[n:]
		b.flush(line)
	}
	b.partial = append(b.partial, data...)
}

// stale reports whether an unfinished line has waited for its end for a while:
// it may be a question that nobody answers.
func (b *lineBuffer) stale(now time.Time) bool {
	return len(b.partial) > 0 && now.Sub(b.since) >= time.Second
}

// rest gives out the unfinished line.
func (b *lineBuffer) rest(line func([]byte)) {
	if len(b.partial) > 0 {
		b.flush(line)
	}
}

func (b *lineBuffer) flush(line func([]byte)) {
	text := bytes.TrimRight(b.partial, "\r")
	if i := bytes.LastIndexByte(text, '\r'); i >= 0 {
		text = text[i+1:]
	}
	line(text)
	b.partial = b.partial[:0]
}
