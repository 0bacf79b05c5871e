package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"berth/internal/errdefs"
	"berth/internal/image/registry/hosts"
	"berth/internal/oci"
	"berth/internal/reference"
)

// Source is a repository with all the hosts that serve it: mirrors first, the
// registry itself last. Each question goes to the first that may answer it; if
// that one cannot, whatever the reason, the next is asked. A mirror that could
// not be reached is not asked again. A download goes on at the next host where
// it ended at the one before.
//
// Each host is spoken to by a Repository of its own, with its own connections,
// certificates, header and credentials: nothing that is for one reaches another.
type Source struct {
	name reference.Named
	o    Options
	ends []*end
}

// end is one of the hosts.
type end struct {
	at   hosts.Host
	mu   sync.Mutex
	repo *Repository // once it was needed
	// out says why the host is not asked any more; nil if it is.
	out error
	// doubted are the blobs that it had wrong.
	doubted map[oci.Digest]bool
}

// OpenSource returns the hosts of name's repository, as they are configured. It
// connects to none.
func OpenSource(name reference.Named, o Options) (*Source, error) {
	list, err := o.Hosts.For(name)
	if err != nil {
		return nil, err
	}
	s := &Source{name: name.Repository(), o: o}
	for _, h := range list {
		s.ends = append(s.ends, &end{at: h, doubted: map[oci.Digest]bool{}})
	}
	return s, nil
}

// open connects to the host, once.
func (e *end) open(ctx context.Context, name reference.Named, o Options) (*Repository, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.out != nil || e.repo != nil {
		return e.repo, e.out
	}
	r, err := openAt(ctx, name, e.at, o)
	if err == nil {
		e.repo = r
	}
	return r, err
}

// fits reports whether the host may be asked.
func (e *end) fits(right func(hosts.Host) bool, d oci.Digest) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return right(e.at) && e.out == nil && !e.doubted[d]
}

func mayResolve(h hosts.Host) bool { return h.Resolve }
func mayPull(h hosts.Host) bool    { return h.Pull }

// try asks the hosts with the right, from the first of ends on, until one
// answers. It returns which did; d is the blob asked for, if it is one.
func (s *Source) try(ctx context.Context, first int, right func(hosts.Host) bool, d oci.Digest, ask func(*Repository) error) (int, error) {
	var last error
	var before []string // the mirrors that were asked in vain
	for i := first; i < len(s.ends); i++ {
		e := s.ends[i]
		if !e.fits(right, d) {
			continue
		}
		r, err := e.open(ctx, s.name, s.o)
		if err == nil {
			err = ask(r)
		}
		if err == nil {
			return i, nil
		}
		if cause := context.Cause(ctx); cause != nil {
			return 0, cause
		}
		s.passed(e, err)
		if e.at.Mirror() {
			before = append(before, fmt.Sprintf("%s (%v)", e.at.Addr, errdefs.KindOf(err)))
		}
		last = err
	}
	if last != nil && len(before) > 0 {
		last = fmt.Errorf("%w; mirrors asked before: %s", last, strings.Join(before, ", "))
	}
	if last == nil {
		return 0, errdefs.New(errdefs.InvalidArgument, "cannot pull %s: no host is allowed to serve it", s.name.FamiliarName()).
			WithHint("look at the capabilities in %s", s.ends[0].at.From)
	}
	return 0, last
}

// passed notes that a mirror did not answer.
func (s *Source) passed(e *end, err error) {
	if !e.at.Mirror() {
		return
	}
	kind := errdefs.KindOf(err)
	if kind == errdefs.NotFound {
		return // a mirror need not have everything
	}
	e.mu.Lock()
	first := e.out == nil
	if kind == errdefs.Unavailable || kind == errdefs.Unauthorized || kind == errdefs.Forbidden {
		e.out = err
	}
	e.mu.Unlock()
	if first && s.o.Notice != nil {
		s.o.Notice(fmt.Sprintf("mirror %s is passed over: %v", e.at.Addr, err))
	}
}

// Resolve asks which document a tag or digest leads to.
func (s *Source) Resolve(ctx context.Context, ref string) (d oci.Descriptor, err error) {
	_, err = s.try(ctx, 0, mayResolve, "", func(r *Repository) (err error) { d, err = r.Resolve(ctx, ref); return err })
	return d, err
}

// Manifest fetches the document of a tag or digest.
func (s *Source) Manifest(ctx context.Context, ref string) (d oci.Descriptor, doc []byte, err error) {
	right := mayPull
	if reference.ValidTag(ref) {
		right = mayResolve
	}
	_, err = s.try(ctx, 0, right, "", func(r *Repository) (err error) { d, doc, err = r.Manifest(ctx, ref); return err })
	return d, doc, err
}

// Tags lists the repository's tags.
func (s *Source) Tags(ctx context.Context) (tags []string, err error) {
	_, err = s.try(ctx, 0, mayResolve, "", func(r *Repository) (err error) { tags, err = r.Tags(ctx); return err })
	return tags, err
}

// Doubt says that a blob's bytes were wrong. The mirrors are not asked for it
// any more; Doubt reports whether any had been.
func (s *Source) Doubt(d oci.Digest) (changed bool) {
	for _, e := range s.ends {
		if e.at.Mirror() && e.fits(mayPull, d) {
			e.mu.Lock()
			e.doubted[d], changed = true, true
			e.mu.Unlock()
		}
	}
	last := s.ends[len(s.ends)-1]
	return changed && last.fits(mayPull, d)
}

// Blob returns the bytes [from, to) of a blob, as Repository's.
func (s *Source) Blob(ctx context.Context, d oci.Descriptor, from, to int64) (io.ReadCloser, bool, error) {
	r := &relay{s: s, ctx: ctx, d: d, at: from, end: to}
	whole, err := r.open(0)
	if whole {
		r.end = d.Size
	}
	return r, whole, err
}

// relay is a download that survives its hosts.
type relay struct {
	s       *Source
	ctx     context.Context //nolint:containedctx // a reader has no other way to get it
	d       oci.Descriptor
	at, end int64
	host    int
	body    io.ReadCloser
}

// open asks the hosts from the given one on for the rest.
func (r *relay) open(host int) (whole bool, err error) {
	r.host, err = r.s.try(r.ctx, host, mayPull, r.d.Digest, func(repo *Repository) (err error) {
		r.body, whole, err = repo.Blob(r.ctx, r.d, r.at, r.end)
		return err
	})
	return whole, err
}

// Read reads on, from as many hosts as it takes.
func (r *relay) Read(p []byte) (int, error) {
	// A host without ranges goes on to the blob's end: what is more than was
	// asked for is not read.
	if r.at == r.end && r.end < r.d.Size {
		return 0, io.EOF
	}
	if left := r.end - r.at; r.end < r.d.Size && int64(len(p)) > left {
		p = p[:left]
	}
	n, err := r.body.Read(p)
	r.at += int64(n)
	if err == nil || errors.Is(err, io.EOF) || r.host == len(r.s.ends)-1 || r.ctx.Err() != nil {
		return n, err
	}
	e := r.s.ends[r.host]
	r.s.passed(e, err)
	r.body.Close() //nolint:errcheck // it failed already
	if _, err := r.open(r.host + 1); err != nil {
		r.body = failed{err}
	}
	return n, nil
}

// Close ends the download.
func (r *relay) Close() error { return r.body.Close() }

// failed is what is left when no host goes on.
type failed struct{ err error }

func (f failed) Read([]byte) (int, error) { return 0, f.err }
func (f failed) Close() error             { return nil }
