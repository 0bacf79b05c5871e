// Package events provides the journal of what happened: containers created,
// started, ended, images pulled, volumes made. Without a daemon there is nobody
// to ask, so that every process of berth writes what it does to one file, and
// the events command reads that.
//
// The file is STATE/events.log, one JSON document per line in the shape of
// Docker's events. It is on the run-time tmpfs: an event costs an open and a
// write, wears no disk, and is not lost when the disk is full. A reboot empties it.
//
// Several processes append at once. O_APPEND makes each write(2) go to the end
// whole, and each line begins with the same text, so that even a line that a
// full file system cut short takes no other with it.
package events

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/container/linefile"
	"berth/internal/errdefs"
	"berth/internal/jsontext"
)

// Types of the objects that events are about.
const (
	Container = "container"
	Image     = "image"
	Volume    = "volume"
	Network   = "network"
)

// Event is one thing that happened.
type Event struct {
	Time   time.Time         // zero: when it is appended
	Type   string            // Container, Image, Volume or Network
	Action string            // "create", "start", "die", ... as Docker's
	ID     string            // of the object
	Attr   map[string]string // "name", "image", "exitCode", labels, ...
}

// Journal is the file of events.
type Journal struct {
	path string
	max  int64
}

// defaultMax is the size at which the journal starts a new file; one older file is kept.
const defaultMax = 4 << 20

const (
	filePerm = 0o600
	dirPerm  = 0o700
)

// Open returns the journal of a state root. It does no I/O.
func Open(stateRoot string) *Journal {
	return &Journal{path: filepath.Join(stateRoot, "events.log"), max: defaultMax}
}

// Append writes events, oldest first, by one open and one write.
func (j *Journal) Append(events ...Event) error {
	var room [1024]byte
	text := room[:0]
	for i := range events {
		text = appendEvent(text, &events[i], time.Now())
	}
	fd, err := j.open()
	if err != nil {
		return errdefs.Wrap(&os.PathError{Op: "open", Path: j.path, Err: err}, "record", "an event")
	}
	defer unix.Close(fd)
	for {
		_, err = unix.Write(fd, text)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return errdefs.Wrap(&os.PathError{Op: "write", Path: j.path, Err: err}, "record", "an event")
	}
	// With O_APPEND the position after a write is the end of the file.
	if size, err := unix.Seek(fd, 0, unix.SEEK_CUR); err == nil && size > j.max {
		j.rotate(fd)
	}
	return nil
}

func (j *Journal) open() (int, error) {
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_APPEND | unix.O_CLOEXEC
	fd, err := unix.Open(j.path, flags, filePerm)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(j.path), dirPerm); err != nil {
			return -1, err
		}
		fd, err = unix.Open(j.path, flags, filePerm)
	}
	return fd, err
}

// rotate makes the full journal the older one. Of several processes that find
// it full one does so: it holds the file's lock and sees that it still has the
// name. That it fails is no failure of the event, which is written.
func (j *Journal) rotate(fd int) {
	var mine, named unix.Stat_t
	if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) != nil || unix.Fstat(fd, &mine) != nil || unix.Stat(j.path, &named) != nil || mine.Ino != named.Ino {
		return
	}
	unix.Rename(j.path, j.path+".1") //nolint:errcheck // see above
}

// begin is the text that each line begins with.
const begin = `{"Type":"`

// appendEvent writes an event as Docker does, without the fields that only its
// oldest clients read.
func appendEvent(b []byte, e *Event, now time.Time) []byte {
	t := e.Time
	if t.IsZero() {
		t = now
	}
	b = append(b, begin...)
	b = jsontext.AppendEscaped(b, e.Type)
	b = jsontext.AppendString(append(b, `","Action":`...), e.Action)
	b = jsontext.AppendString(append(b, `,"Actor":{"ID":`...), e.ID)
	b = append(b, `,"Attributes":{`...)
	for i, k := range slices.Sorted(maps.Keys(e.Attr)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = jsontext.AppendString(append(jsontext.AppendString(b, k), ':'), e.Attr[k])
	}
	b = strconv.AppendInt(append(b, `}},"scope":"local","time":`...), t.Unix(), 10)
	b = strconv.AppendInt(append(b, `,"timeNano":`...), t.UnixNano(), 10)
	return append(b, "}\n"...)
}

// Read calls yield for the events from since on, oldest first; a zero since
// begins with what happens from now on. It waits for more until the time
// until, or for ever if that is zero.
func (j *Journal) Read(ctx context.Context, since, until time.Time, yield func(Event) error) error {
	o := linefile.Options{Tail: 0, Follow: true}
	if !since.IsZero() {
		o.Tail, o.Since = -1, since
	}
	if !until.IsZero() {
		o.Follow = until.After(time.Now())
	}
	if o.Follow && !until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, until, linefile.ErrStop)
		defer cancel()
	}
	err := linefile.Read(ctx, j.path, o, func(line []byte) error {
		e, ok := parse(line)
		if !ok || e.Time.Before(since) {
			return nil
		}
		if !until.IsZero() && e.Time.After(until) {
			return nil // events of several writers are nearly, not quite, in order
		}
		return yield(e)
	})
	if errors.Is(err, linefile.ErrStop) {
		return nil
	}
	return err
}

// parse reads a line. If an unfinished line stands before it, that is passed over.
func parse(line []byte) (Event, bool) {
	e, ok := parseEvent(line)
	if ok {
		return e, true
	}
	if i := bytes.LastIndex(line, []byte(begin)); i > 0 {
		return parseEvent(line[i:])
	}
	return e, false
}

func parseEvent(line []byte) (e Event, ok bool) {
	d := jsontext.NewDecoder(line)
	for more := d.Open('{'); more; more = d.More('}') {
		switch string(d.Key()) {
		case "Type":
			e.Type = d.Text()
		case "Action":
			e.Action = d.Text()
		case "Actor":
			parseActor(&d, &e)
		case "timeNano":
			e.Time = time.Unix(0, d.Int())
		default:
			d.Skip()
		}
	}
	return e, d.Err() == nil && d.End() && e.Type != "" && e.Action != ""
}

func parseActor(d *jsontext.Decoder, e *Event) {
	for more := d.Open('{'); more; more = d.More('}') {
		switch string(d.Key()) {
		case "ID":
			e.ID = d.Text()
		case "Attributes":
			e.Attr = map[string]string{}
			for more := d.Open('{'); more; more = d.More('}') {
				k := string(d.Key())
				e.Attr[k] = d.Text()
			}
		default:
			d.Skip()
		}
	}
}
