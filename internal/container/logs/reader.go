package logs

import (
	"bytes"
	"context"
	"errors"
	"time"

	"berth/internal/container/linefile"
	"berth/internal/jsontext"
)

// Selection says which lines of a log are wanted.
type Selection struct {
	Tail           int // only the last n of what is there at first; -1: all
	Since, Until   time.Time
	Stdout, Stderr bool
	Follow         bool
	Ended          func() bool // with Follow: reports that nothing will be written any more
}

// Line is a line of output, or a part of a very long one.
type Line struct {
	Time   time.Time
	Stderr bool
	Data   []byte // with its newline, if it had one; valid during the call of yield
}

// Read calls yield for the selected lines of the log at path, oldest first.
func Read(ctx context.Context, path string, s Selection, yield func(Line) error) error {
	if s.Follow && !s.Until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, s.Until, linefile.ErrStop)
		defer cancel()
	}
	var d decoder
	err := linefile.Read(ctx, path, linefile.Options{Tail: s.Tail, Since: s.Since, Follow: s.Follow, Ended: s.Ended}, func(text []byte) error {
		line, ok := d.decode(text)
		switch {
		case !ok || line.Time.Before(s.Since):
			return nil
		case !s.Until.IsZero() && line.Time.After(s.Until):
			return linefile.ErrStop
		case line.Stderr && !s.Stderr || !line.Stderr && !s.Stdout:
			return nil
		}
		return yield(line)
	})
	if errors.Is(err, linefile.ErrStop) {
		return nil
	}
	return err
}

// decoder reads records; it keeps its buffers.
type decoder struct {
	json jsontext.Decoder
	data []byte
}

// decode returns the line of a record. A record that the loss of power or a
// full disk damaged is not one.
func (d *decoder) decode(text []byte) (line Line, ok bool) {
	text = bytes.TrimLeft(text, "\x00") // blocks that were never written
	d.json.Reset(text)
	seen := 0
	for more := d.json.Open('{'); more; more = d.json.More('}') {
		switch string(d.json.Key()) {
		case "log":
			d.data = append(d.data[:0], d.json.Bytes()...)
			seen++
		case "stream":
			line.Stderr = string(d.json.Bytes()) == "stderr"
		case "time":
			line.Time = d.json.Time()
			seen++
		default:
			d.json.Skip()
		}
	}
	line.Data = d.data
	return line, d.json.Err() == nil && d.json.End() && seen == 2
}
