package transfer

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"berth/internal/atomicfile"
	"berth/internal/errdefs"
	"berth/internal/filelock"
	"berth/internal/oci"
)

// spool is a blob on its way from the network to the unpacker. The download
// goes into a file, and the unpacker reads the file as far as it got: neither
// waits for the other's pace, and if this process dies, the file stays for the
// next one to go on with. It is never synced: what a power cut takes from it,
// its digest tells.
type spool struct {
	d    oci.Descriptor
	file *os.File
	path string         // "" for a file without a name
	lock *filelock.Lock // keeps other processes out of the file
	kept int64          // bytes that an earlier process had left

	mu    sync.Mutex
	more  *sync.Cond // something below changed
	parts *ranges    // the bytes in the file
	front int64      // those from the start without a gap
	err   error      // why there will be no more; io.EOF: the blob is complete
}

// errDigest is the cause when a blob is not what its descriptor says.
var errDigest = errors.New("digest does not match the content")

// openSpool opens the partial file of a blob. If another process, or another
// layer of the same image, is at it, a nameless file is used instead.
func (s *Store) openSpool(d oci.Descriptor) (*spool, error) {
	dir := s.images.PartialDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	p := &spool{d: d, parts: divide(d.Size, s.rangesFrom, s.rangeSize)}
	p.more = sync.NewCond(&p.mu)
	path := filepath.Join(dir, d.Digest.Hex())
	lock, err := filelock.TryExclusive(path)
	switch {
	case err == nil:
		p.path, p.lock, p.file = path, lock, lock.File()
		return p, p.resume()
	case !errors.Is(err, filelock.ErrLocked):
		return nil, err
	}
	p.file, err = atomicfile.Nameless(dir)
	return p, err
}

// resume takes over what is in the file already.
func (p *spool) resume() error {
	info, err := p.file.Stat()
	if err != nil {
		return err
	}
	if err := p.parts.load(p.file, info.Size()); err != nil {
		return err
	}
	p.front, p.kept = p.parts.front(), p.parts.got()
	if !p.parts.tabled() {
		return p.file.Truncate(p.kept) // of a file that is too long, the rest is nothing of ours
	}
	if end := p.d.Size + p.parts.tableSize(); info.Size() > end {
		err = p.file.Truncate(end)
	}
	return errors.Join(err, p.parts.create(p.file))
}

// fill downloads the rest and compares the digest, which is computed while the
// bytes arrive. It tells progress through on.
func (p *spool) fill(ctx context.Context, src Source, atOnce int, on func(have int64)) error {
	sum, hashed := sha256.New(), make(chan error, 1)
	go func() {
		_, err := io.CopyN(sum, &spoolReader{p: p}, p.d.Size)
		hashed <- err
	}()
	err := p.download(ctx, src, atOnce, on)
	if err != nil {
		p.finish(err) // the hash need not wait for more
		<-hashed
		return err
	}
	if err = <-hashed; err == nil && oci.DigestOfSum(sum.Sum(nil)) != p.d.Digest {
		err = (&errdefs.Error{Kind: errdefs.InvalidArgument, Op: "verify", Subject: string(p.d.Digest), Err: errDigest}).
			WithHint("the registry, or something between it and you, changed the content: nothing was stored")
	}
	p.finish(err)
	return err
}

// write puts bytes of the blob into the file and counts them.
func (p *spool) write(b []byte, at int64) (got int64, err error) {
	if _, err := p.file.WriteAt(b, at); err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	first, last := p.parts.add(at, int64(len(b)))
	if front := p.parts.front(); front != p.front {
		p.front = front
		p.more.Broadcast()
	}
	if p.parts.tabled() && p.path != "" {
		err = p.parts.update(p.file, first, last)
	}
	return p.parts.got(), err
}

// finish tells readers that no more will come. Of several reasons the first
// counts; finish reports whether this one was it.
func (p *spool) finish(err error) (first bool) {
	if err == nil {
		err = io.EOF
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err, first = err, true
	}
	p.more.Broadcast()
	return first
}

// complete reports whether the whole blob is here and verified.
func (p *spool) complete() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Is(p.err, io.EOF)
}

// end returns why there will be no more, nil if the blob is complete.
func (p *spool) end() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if errors.Is(p.err, io.EOF) {
		return nil
	}
	return p.err
}

// spoolReader reads a spool from its start while it grows.
type spoolReader struct {
	p  *spool
	at int64
	on func(at int64) // nil: nobody wants to know
}

// Read waits until there is something to read.
func (r *spoolReader) Read(b []byte) (int, error) {
	p := r.p
	p.mu.Lock()
	for p.front == r.at && p.err == nil {
		p.more.Wait()
	}
	have, err := p.front, p.err
	p.mu.Unlock()
	// The end counts even if there is more to read: after a failed download
	// nobody wants to unpack the rest.
	if err != nil && (have == r.at || !errors.Is(err, io.EOF)) {
		return 0, err
	}
	n, err := p.file.ReadAt(b[:min(int64(len(b)), have-r.at)], r.at)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // somebody cut the file
	}
	r.at += int64(n)
	if r.on != nil {
		r.on(r.at)
	}
	return n, err
}

// remove ends the spool and deletes its file.
func (p *spool) remove() error {
	var err error
	if p.path != "" {
		err = os.Remove(p.path)
	}
	return errors.Join(err, p.file.Close())
}

// keep ends the spool and leaves its file to a later pull, unless it is
// empty or the disk is full.
func (p *spool) keep(cause error) error {
	if p.parts.got() == 0 || errors.Is(cause, unix.ENOSPC) || errors.Is(cause, unix.EDQUOT) {
		return p.remove()
	}
	return p.file.Close()
}
