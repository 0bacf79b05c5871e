package transfer

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

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
	sum  hash.Hash
	kept int64 // bytes that an earlier process had left

	mu   sync.Mutex
	more *sync.Cond // something below changed
	have int64      // bytes in the file
	err  error      // why there will be no more; io.EOF: the blob is complete
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
	p := &spool{d: d, sum: sha256.New()}
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
	p.file, err = nameless(dir)
	return p, err
}

// nameless returns a new file that no directory lists: it ends with its descriptor.
func nameless(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o600)
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) {
		return f, err
	}
	f, err = os.CreateTemp(dir, ".spool-*") // file systems without O_TMPFILE
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}

// resume takes over what is in the file already.
func (p *spool) resume() error {
	n, err := io.Copy(p.sum, io.LimitReader(p.file, p.d.Size))
	if err != nil {
		return err
	}
	p.have, p.kept = n, n
	return p.file.Truncate(n) // of a file that is too long, the rest is nothing of ours
}

// fill downloads the rest. It tells progress through on.
func (p *spool) fill(ctx context.Context, src Source, on func(have int64)) error {
	err := p.download(ctx, src, on)
	if err == nil && oci.DigestOfSum(p.sum.Sum(nil)) != p.d.Digest {
		err = (&errdefs.Error{Kind: errdefs.InvalidArgument, Op: "verify", Subject: string(p.d.Digest), Err: errDigest}).
			WithHint("the registry, or something between it and you, changed the content: nothing was stored")
	}
	p.finish(err)
	return err
}

func (p *spool) download(ctx context.Context, src Source, on func(have int64)) error {
	body, err := src.Blob(ctx, p.d, p.have)
	if err != nil {
		return err
	}
	defer body.Close()
	buf := make([]byte, 128<<10)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			if _, err := p.file.WriteAt(buf[:n], p.have); err != nil {
				return err
			}
			p.sum.Write(buf[:n]) //nolint:errcheck // a hash never fails
			p.mu.Lock()
			p.have += int64(n)
			p.mu.Unlock()
			p.more.Broadcast()
			on(p.have)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
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
	on func(at int64)
}

// Read waits until there is something to read.
func (r *spoolReader) Read(b []byte) (int, error) {
	p := r.p
	p.mu.Lock()
	for p.have == r.at && p.err == nil {
		p.more.Wait()
	}
	have, err := p.have, p.err
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
	r.on(r.at)
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
	if p.have == 0 || errors.Is(cause, unix.ENOSPC) || errors.Is(cause, unix.EDQUOT) {
		return p.remove()
	}
	return p.file.Close()
}
