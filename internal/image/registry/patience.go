package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"berth/internal/image/registry/hosts"
)

const (
	// maxTries is how often one request is sent.
	maxTries = 6
	// maxPatience is how long a registry may make us wait before one request.
	// One that wants more is not waited for: the user decides.
	maxPatience = 2 * time.Minute
	// mirrorTries and mirrorPatience are those with a mirror: after it there is
	// another host to ask.
	mirrorTries, mirrorPatience = 2, 2 * time.Second
	// dialPatience is how long a connection may take; mirrorPatience bounds it too.
	dialPatience = 30 * time.Second
	// firstWait is the wait after the first failure; it doubles with each further one.
	firstWait = 250 * time.Millisecond
)

// patient sends a request again when the registry is busy (429, 408 and 5xx) or
// a connection broke before there was an answer. It waits as long as the
// registry says (Retry-After, RFC 9110, 10.2.3), else a little longer each time.
// What still fails then, or fails otherwise, is the caller's to judge.
type patient struct {
	base     http.RoundTripper
	host     string
	notice   func(string)
	tries    int
	patience time.Duration
}

// newPatient returns what may be expected of a host.
func newPatient(base http.RoundTripper, at hosts.Host, notice func(string)) *patient {
	if at.Mirror() {
		return &patient{base, at.Addr, notice, mirrorTries, mirrorPatience}
	}
	return &patient{base, at.Addr, notice, maxTries, maxPatience}
}

// RoundTrip sends req, several times if that may help.
func (p *patient) RoundTrip(req *http.Request) (*http.Response, error) {
	for try := 1; ; try++ {
		resp, err := p.base.RoundTrip(req)
		if try == p.tries || !again(req, resp, err) {
			return resp, err
		}
		wait, why := firstWait<<(try-1), fmt.Sprint(err)
		wait += rand.N(wait / 4) // many clients that failed together must not come back together
		if err == nil {
			why = fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
			if said, ok := retryAfter(resp, time.Now()); ok {
				if wait = said; wait > p.patience {
					return resp, nil
				}
			}
			io.CopyN(io.Discard, resp.Body, maxErrorBody) //nolint:errcheck // to use the connection again
			resp.Body.Close()                             //nolint:errcheck // nothing more is read from it
		}
		if p.notice != nil && wait >= time.Second {
			p.notice(fmt.Sprintf("%s: %s: trying again in %s", p.host, printable(why), wait.Round(time.Second)))
		}
		if err := sleep(req.Context(), wait); err != nil {
			return nil, err
		}
		if req.GetBody != nil {
			if req.Body, err = req.GetBody(); err != nil {
				return nil, err
			}
		}
	}
}

// again reports whether to send a request once more.
func again(req *http.Request, resp *http.Response, err error) bool {
	if req.Context().Err() != nil || req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		return false // nobody waits for it, or its body is gone
	}
	if err == nil {
		return resp.StatusCode == http.StatusRequestTimeout || resp.StatusCode == http.StatusTooManyRequests ||
			resp.StatusCode >= 500 && resp.StatusCode != http.StatusNotImplemented
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return false // the kernel has tried for long enough
	}
	var timeout net.Error
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) ||
		errors.Is(err, syscall.EPIPE) || errors.As(err, &timeout) && timeout.Timeout()
}

// retryAfter reads the header, which holds seconds or a date.
func retryAfter(resp *http.Response, now time.Time) (time.Duration, bool) {
	v := resp.Header.Get("Retry-After")
	if n, err := strconv.ParseInt(v, 10, 32); err == nil && n >= 0 {
		return time.Duration(n) * time.Second, true
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, t.Sub(now)), true
	}
	return 0, false
}

// sleep waits, unless ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
