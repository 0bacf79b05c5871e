package registry

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"berth/internal/errdefs"
)

// TestRetryAfter waits as long as the registry says, and tells the user.
func TestRetryAfter(t *testing.T) {
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		n := 0
		h := newHost(t, false, func(w http.ResponseWriter, r *http.Request) {
			if n++; n == 2 {
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(status)
				return
			}
			io.WriteString(w, `{"schemaVersion":2}`)
		})
		var said []string
		begin := time.Now()
		_, _, err := open(t, h, Options{Notice: func(s string) { said = append(said, s) }}).Manifest(t.Context(), "1")
		if err != nil || n != 3 || time.Since(begin) < time.Second {
			t.Errorf("%d: %v after %d requests and %s", status, err, n, time.Since(begin))
		}
		if len(said) != 1 || !strings.Contains(said[0], "trying again in 1s") {
			t.Errorf("%d: said %q", status, said)
		}
	}
}

// TestTooLong does not wait for a registry that wants more than we have.
func TestTooLong(t *testing.T) {
	var n atomic.Int32
	h := newHost(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			n.Add(1)
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	begin := time.Now()
	_, _, err := open(t, h, Options{}).Manifest(t.Context(), "1")
	if errdefs.KindOf(err) != errdefs.Unavailable || !strings.Contains(errdefs.HintOf(err), "wait 1h0m0s") || n.Load() != 1 {
		t.Errorf("%v, hint %q, after %d requests", err, errdefs.HintOf(err), n.Load())
	}
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("it took %s", d)
	}
}

// TestResetBeforeAnswer sends a request again when its connection breaks.
func TestResetBeforeAnswer(t *testing.T) {
	n := 0
	h := newHost(t, false, func(w http.ResponseWriter, r *http.Request) {
		if n++; n == 2 || n == 3 {
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, `{"schemaVersion":2}`)
	})
	if _, _, err := open(t, h, Options{}).Manifest(t.Context(), "1"); err != nil || n != 4 {
		t.Errorf("%v after %d requests", err, n)
	}
}

func TestRetryAfterHeader(t *testing.T) {
	now := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"0": 0, "7": 7 * time.Second, "Thu, 29 Feb 2024 12:00:30 GMT": 30 * time.Second, "Thu, 29 Feb 2024 11:00:00 GMT": 0,
		"": -1, "-3": -1, "soon": -1, "99999999999999999999": -1,
	} {
		got, ok := retryAfter(&http.Response{Header: http.Header{"Retry-After": {header}}}, now)
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %s, %v", header, got, ok)
		}
	}
}
