// Package linefile provides reading of a file of lines that other processes
// append to and rotate, from a given number of lines before its end and, if
// wanted, for as long as it grows. A container's log and the journal of events
// are such files.
//
// To rotate is to start the file anew under its name and keep the old one under
// the next number: log, log.1 (older), log.2 (oldest). Numbers move, inodes do
// not: a reader holds its file open, so that its inode number cannot be given
// to another file, and finds its place again by it.
//
// Invariants: a line is seen once and in order, however often the file is
// rotated meanwhile; a line without its newline is not seen until that is
// written. Only a reader that is slower than the oldest file's removal misses
// lines: it goes on with the oldest that is left.
package linefile

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"time"

	"berth/internal/errdefs"
)

// ErrStop is returned by a yield function that wants no more lines.
var ErrStop = errors.New("no more lines wanted")

// Options say which lines are read.
type Options struct {
	Tail   int         // only the last so many lines of what is there at first; -1: all
	Since  time.Time   // files that were not changed since are passed over; lines are not looked at
	Follow bool        // wait for more lines
	Ended  func() bool // with Follow: reports that nothing will be written any more; nil: never
}

// maxLine bounds what a line without an end can cost; what is longer is passed over.
const maxLine = 1 << 20

// Read calls yield for each line, without its newline, which is valid during
// the call only. A file that does not exist has no lines.
func Read(ctx context.Context, path string, o Options, yield func(line []byte) error) error {
	var w *watch
	if o.Follow {
		w = newWatch(ctx, path) // before the first look, so that no change is missed
		defer w.close()
	}
	r := &reader{path: path, yield: yield, ctx: ctx, buf: make([]byte, 32<<10), follow: o.Follow}
	defer r.close()
	if err := r.start(o); err != nil {
		return errdefs.Wrap(err, "read", path)
	}
	for {
		ended := !o.Follow || o.Ended != nil && o.Ended() // asked before the last look
		err := r.drain()
		if errors.Is(err, ErrStop) {
			return nil
		}
		if err != nil || ended {
			return err
		}
		if err := w.wait(ctx); err != nil {
			return err
		}
	}
}

// reader is at one place of one file.
type reader struct {
	ctx   context.Context //nolint:containedctx // a reader lives as long as one call of Read
	path  string
	yield func([]byte) error
	queue []*os.File // files to be read after this one
	file  *os.File   // nil: none yet
	at    int64      // offset of the next line in file
	buf   []byte

	follow bool
	end    int64 // without follow: where the newest file ended at first, so that a flood is not read for ever
}

func (r *reader) close() {
	if r.file != nil {
		r.file.Close()
	}
	for _, f := range r.queue {
		f.Close()
	}
}

// numbered returns the name of the nth older file; 0 is the file itself.
func numbered(path string, n int) string {
	if n == 0 {
		return path
	}
	return path + "." + strconv.Itoa(n)
}

// openAll opens the file and its older ones, newest first. A rotation in
// between only moves them to higher numbers: one that is met again is left out.
func openAll(path string) (files []*os.File, err error) {
	var seen []os.FileInfo
	const mayMiss = 2 // in the middle of a rotation one number is free
	for n, missed := 0, 0; missed < mayMiss; n++ {
		f, err := os.Open(numbered(path, n))
		if errors.Is(err, fs.ErrNotExist) {
			missed++
			continue
		}
		if err != nil {
			return files, err
		}
		fi, err := f.Stat()
		if err != nil || known(seen, fi) {
			f.Close()
			continue
		}
		missed = 0
		files, seen = append(files, f), append(seen, fi)
	}
	return files, nil
}

func known(seen []os.FileInfo, fi os.FileInfo) bool {
	for _, s := range seen {
		if os.SameFile(s, fi) {
			return true
		}
	}
	return false
}

// start opens the files and finds the first line.
func (r *reader) start(o Options) error {
	files, err := openAll(r.path)
	r.queue = files
	if err != nil {
		return err
	}
	var at int64
	need, take := o.Tail, 0
	for ; take < len(files); take++ {
		fi, err := files[take].Stat()
		if err != nil {
			return err
		}
		if take == 0 {
			r.end = fi.Size()
		}
		if take > 0 && (need == 0 || fi.ModTime().Before(o.Since)) {
			break
		}
		if o.Tail < 0 {
			continue
		}
		found := 0
		if at, found, err = back(files[take], fi.Size(), need, r.buf); err != nil {
			return err
		}
		if need -= found; need == 0 {
			take++
			break
		}
	}
	for _, f := range files[take:] {
		f.Close()
	}
	r.queue = files[:take]
	slices.Reverse(r.queue) // oldest first
	r.shift()
	if o.Tail >= 0 {
		r.at = at
	}
	return nil
}

// shift goes on to the next file of the queue.
func (r *reader) shift() bool {
	if len(r.queue) == 0 {
		return false
	}
	if r.file != nil {
		r.file.Close()
	}
	r.file, r.queue, r.at = r.queue[0], r.queue[1:], 0
	return true
}

// back returns the offset of the need-th line from the end, and how many lines
// lie behind it if the file has fewer.
func back(f io.ReaderAt, size int64, need int, buf []byte) (at int64, found int, err error) {
	if need == 0 {
		return lastLineEnd(f, size, buf)
	}
	for end := size; end > 0; {
		begin := max(end-int64(len(buf)), 0)
		block := buf[:end-begin]
		if _, err := f.ReadAt(block, begin); err != nil && !errors.Is(err, io.EOF) {
			return 0, 0, err
		}
		for i := bytes.LastIndexByte(block, '\n'); i >= 0; i = bytes.LastIndexByte(block[:i], '\n') {
			// The newline ends one line and stands before the next.
			if found == need {
				return begin + int64(i) + 1, found, nil
			}
			found++
		}
		end = begin
	}
	return 0, found, nil
}

// lastLineEnd returns the offset behind the last newline.
func lastLineEnd(f io.ReaderAt, size int64, buf []byte) (int64, int, error) {
	for end := size; end > 0; {
		begin := max(end-int64(len(buf)), 0)
		if _, err := f.ReadAt(buf[:end-begin], begin); err != nil && !errors.Is(err, io.EOF) {
			return 0, 0, err
		}
		if i := bytes.LastIndexByte(buf[:end-begin], '\n'); i >= 0 {
			return begin + int64(i) + 1, 0, nil
		}
		end = begin
	}
	return 0, 0, nil
}

// drain reads all lines up to the end of the newest file.
func (r *reader) drain() error {
	for {
		if r.file != nil {
			if err := r.lines(); err != nil {
				return err
			}
		}
		if r.shift() {
			continue
		}
		if !r.follow {
			return nil
		}
		next, err := r.successor()
		if err != nil || next == nil {
			return err
		}
		// What was written between the last look and the rotation.
		if r.file != nil {
			if err := r.lines(); err != nil {
				next.Close()
				return err
			}
		}
		r.queue = append(r.queue, next)
		r.shift()
	}
}

// lines reads the whole lines that are left in the present file.
func (r *reader) lines() error {
	have := 0 // bytes in buf, from offset r.at
	for {
		if err := r.ctx.Err(); err != nil {
			return context.Cause(r.ctx)
		}
		room := r.buf[have:]
		if left := r.end - r.at - int64(have); !r.follow && len(r.queue) == 0 {
			room = room[:min(int64(len(room)), max(left, 0))]
		}
		n, err := r.file.ReadAt(room, r.at+int64(have))
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		atEnd := have+n < len(r.buf)
		have += n
		used, err := r.split(r.buf[:have])
		r.at += int64(used)
		if err != nil || atEnd {
			return err // an unfinished line is read again: it may be taken back
		}
		have = copy(r.buf, r.buf[used:have])
		switch {
		case have < len(r.buf):
		case len(r.buf) < maxLine:
			r.buf = append(r.buf, make([]byte, len(r.buf))...)
		default:
			r.at += int64(have)
			have = 0
		}
	}
}

// split yields the whole lines of text and returns their length.
func (r *reader) split(text []byte) (used int, err error) {
	for {
		i := bytes.IndexByte(text[used:], '\n')
		if i < 0 {
			return used, nil
		}
		line := text[used : used+i]
		used += i + 1
		if err := r.yield(line); err != nil {
			return used, err
		}
	}
}
