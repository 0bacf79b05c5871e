package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"oras.land/oras-go/v2/registry/remote/errcode"

	"berth/internal/errdefs"
	"berth/internal/reference"
)

// maxErrorBody is how much of an error's body is read.
const maxErrorBody = 64 << 10

// Answer is a registry's refusal.
type Answer struct {
	Status  int
	Code    string // "MANIFEST_UNKNOWN"; "" if the body was none of a registry's
	Message string
	Wait    time.Duration // how long the registry wants us to wait; 0 if it does not say
}

// Error returns the refusal in Docker's form: "manifest unknown: manifest unknown".
func (a *Answer) Error() string {
	if a.Code == "" {
		return fmt.Sprintf("the registry answers %d %s", a.Status, http.StatusText(a.Status))
	}
	code := strings.ToLower(strings.ReplaceAll(a.Code, "_", " "))
	if a.Message == "" {
		return code
	}
	return code + ": " + a.Message
}

// wait says in words how long to wait.
func (a *Answer) wait() string {
	if a.Wait == 0 {
		return "wait"
	}
	return "wait " + a.Wait.Round(time.Second).String()
}

// answer reads the refusal out of a response.
func answer(resp *http.Response) *Answer {
	a := &Answer{Status: resp.StatusCode}
	a.Wait, _ = retryAfter(resp, time.Now())
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	var doc struct {
		Errors []struct{ Code, Message string }
	}
	if err == nil && json.Unmarshal(body, &doc) == nil && len(doc.Errors) > 0 {
		a.Code, a.Message = printable(doc.Errors[0].Code), printable(doc.Errors[0].Message)
	}
	return a
}

// printable keeps a registry from writing control sequences to the user's terminal.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\uFFFD' {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), 500)]
}

// refused turns a refusal of the document ref of n into an error in Docker's words.
func refused(n reference.Named, ref string, a *Answer) error {
	switch {
	case a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden, a.Code == "DENIED", a.Code == "UNAUTHORIZED", a.Code == "NAME_UNKNOWN":
		kind := errdefs.Unauthorized
		if a.Code == "NAME_UNKNOWN" {
			kind = errdefs.NotFound
		}
		return errdefs.New(kind, "pull access denied for %s, repository does not exist or may require 'berth login': %w", n.FamiliarName(), a)
	case a.Status == http.StatusNotFound:
		sep := ":"
		if strings.Contains(ref, ":") {
			sep = "@"
		}
		return errdefs.New(errdefs.NotFound, "manifest for %s%s%s not found: %w", n.FamiliarName(), sep, ref, a)
	case a.Status == http.StatusTooManyRequests:
		return errdefs.New(errdefs.Unavailable, "cannot pull %s: too many requests: %w", n.FamiliarName(), a).
			WithHint("the registry limits how often you may pull: %s, or log in", a.wait())
	case a.Status >= 500:
		return errdefs.New(errdefs.Unavailable, "cannot pull %s: %w", n.FamiliarName(), a).WithHint("the registry has a problem: %s and try again; what was downloaded is kept", a.wait())
	}
	return errdefs.New(errdefs.Internal, "cannot pull %s: %w", n.FamiliarName(), a)
}

// unreachable is for everything that is not an answer of the registry.
func unreachable(n reference.Named, err error) error {
	var e *errdefs.Error
	if errors.As(err, &e) {
		return errdefs.Wrap(e, "pull", n.FamiliarName())
	}
	var resp *errcode.ErrorResponse // of the token server
	if errors.As(err, &resp) {
		a := &Answer{Status: resp.StatusCode}
		if len(resp.Errors) > 0 {
			a.Code, a.Message = printable(resp.Errors[0].Code), printable(resp.Errors[0].Message)
		}
		return refused(n, "", a)
	}
	return (&errdefs.Error{Kind: errdefs.Unavailable, Op: "reach the registry of", Subject: n.FamiliarName(), Err: withoutQuery(err)}).
		WithHint("check the name, the network and, if you need one, the proxy (HTTPS_PROXY)")
}

// withoutQuery takes the query, which may hold a signature, out of the error that net/http makes.
func withoutQuery(err error) error {
	var e *url.Error
	if !errors.As(err, &e) {
		return err
	}
	if u, perr := url.Parse(e.URL); perr == nil {
		e.URL = place(u)
	}
	return err
}
