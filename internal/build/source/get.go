package source

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"berth/internal/buildinfo"
	"berth/internal/errdefs"
	"berth/internal/oci"
)

// GetOptions say how a file is fetched.
type GetOptions struct {
	// Checksum is what the content must be; "" is not checked.
	Checksum oci.Digest
	// MaxSize is the most bytes that are taken; 0 is no limit.
	MaxSize int64
	// Progress is told how many bytes are here, and how many there will be (-1
	// if the server does not say). It may be nil.
	Progress func(done, total int64)
	// Client fetches; nil is one that gives up on a silent server.
	Client *http.Client
}

// IsURL reports whether a source of ADD is the URL of a file.
func IsURL(s string) bool {
	scheme, _, ok := strings.Cut(s, "://")
	return ok && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https"))
}

// Get fetches the file at address into a directory of its own below tmpdir,
// which Close removes. Tree.File is its name: the last element of the URL's
// path. It is readable by its owner alone, and has the time that the server
// says it was changed, or the beginning of 1970 (Dockerfile reference, "ADD").
func Get(ctx context.Context, address, tmpdir string, o GetOptions) (*Tree, error) {
	u, err := url.Parse(address)
	if err != nil || !IsURL(address) || u.Host == "" {
		return nil, errdefs.New(errdefs.InvalidArgument, "%q is not a URL that can be fetched", Redact(address)).
			WithHint("write http:// or https:// and a host")
	}
	if o.Checksum != "" {
		if _, err := oci.ParseDigest(string(o.Checksum)); err != nil {
			return nil, err
		}
	}
	t, err := private(tmpdir)
	if err != nil {
		return nil, err
	}
	t.File = fileName(u)
	sum, err := o.fetch(ctx, u, filepath.Join(t.dir, "files", t.File))
	if err != nil {
		return nil, errors.Join(errdefs.Wrap(err, "fetch", u.Redacted()), t.Close())
	}
	t.Origin = &Origin{URL: WithoutUser(address), Digest: sum}
	return t, nil
}

// fileName is what the file of a URL is called in a directory.
func fileName(u *url.URL) string {
	switch name := path.Base(u.Path); {
	case name == "." || name == "/" || name == "..":
		return "__unnamed__"
	case strings.ContainsRune(name, 0) || len(name) > 255:
		return "download"
	default:
		return name
	}
}

// fetch writes what is at u into a new file, and returns its digest.
func (o *GetOptions) fetch(ctx context.Context, u *url.URL, into string) (oci.Digest, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("User-Agent", "berth/"+buildinfo.Version)
	// The bytes as they are: a client that unpacks on its own would change the checksum.
	req.Header.Set("Accept-Encoding", "identity")
	client := o.Client
	if client == nil {
		client = newClient()
		defer client.CloseIdleConnections()
	}
	res, err := client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // the URL stands in front already, without its password
		}
		if cause := context.Cause(ctx); cause != nil {
			return "", &errdefs.Error{Kind: errdefs.Cancelled, Err: cause}
		}
		return "", &errdefs.Error{Kind: errdefs.Unavailable, Err: err}
	}
	defer res.Body.Close()
	if err := checkStatus(res); err != nil {
		return "", err
	}
	if o.MaxSize > 0 && res.ContentLength > o.MaxSize {
		return "", tooLarge(o.MaxSize)
	}
	f, err := os.OpenFile(into, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	sum, err := o.receive(f, res, cancel)
	if err = errors.Join(err, f.Close()); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return "", cause
		}
		return "", err
	}
	if o.Checksum != "" && sum != o.Checksum {
		return "", errdefs.New(errdefs.Conflict, "digest mismatch %s: %s", sum, o.Checksum).
			WithHint("the file is not the one that --checksum names: check where it comes from before you change the checksum")
	}
	changed := time.Unix(0, 0)
	if at, err := http.ParseTime(res.Header.Get("Last-Modified")); err == nil {
		changed = at
	}
	return sum, os.Chtimes(into, changed, changed)
}

func checkStatus(res *http.Response) error {
	if res.StatusCode >= 200 && res.StatusCode < 300 {
		return nil
	}
	kind := errdefs.Unavailable
	switch res.StatusCode {
	case http.StatusNotFound, http.StatusGone:
		kind = errdefs.NotFound
	case http.StatusUnauthorized:
		kind = errdefs.Unauthorized
	case http.StatusForbidden:
		kind = errdefs.Forbidden
	}
	return errdefs.New(kind, "invalid response status %d %s", res.StatusCode, http.StatusText(res.StatusCode))
}

// silence is how long a server may send nothing.
const silence = 2 * time.Minute

// receive writes the answer to f and returns its digest.
func (o *GetOptions) receive(f *os.File, res *http.Response, cancel context.CancelCauseFunc) (oci.Digest, error) {
	watch := time.AfterFunc(silence, func() {
		cancel(errdefs.New(errdefs.Unavailable, "the server sent nothing for %v", silence))
	})
	defer watch.Stop()
	h := sha256.New()
	buf := make([]byte, 128<<10)
	for done := int64(0); ; {
		n, err := res.Body.Read(buf)
		watch.Reset(silence)
		h.Write(buf[:n])
		if _, werr := f.Write(buf[:n]); werr != nil {
			return "", werr
		}
		if done += int64(n); o.MaxSize > 0 && done > o.MaxSize {
			return "", tooLarge(o.MaxSize)
		}
		if o.Progress != nil && n > 0 {
			o.Progress(done, res.ContentLength)
		}
		if errors.Is(err, io.EOF) {
			return oci.DigestOfSum(h.Sum(nil)), nil
		}
		if err != nil {
			return "", &errdefs.Error{Kind: errdefs.Unavailable, Err: err}
		}
	}
}

func tooLarge(limit int64) error {
	return errdefs.New(errdefs.Exhausted, "the file is larger than %d bytes", limit)
}

// newClient waits for an answer for a minute; how long the answer itself takes is receive's matter.
func newClient() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // it is what net/http documents
	t.ResponseHeaderTimeout = time.Minute
	return &http.Client{Transport: t}
}
