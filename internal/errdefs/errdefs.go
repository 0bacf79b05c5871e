// Package errdefs provides the one error type that crosses package borders.
//
// An error of berth tells four things: what was tried (Op), on which thing
// (Subject), why it failed (Err), and, where it is known, what the user can do
// next (Hint). Its Kind lets each door translate it: the CLI to an exit code,
// the Docker API to an HTTP status, CRI to a gRPC code. Packages below the
// doors never choose those numbers.
//
// Callers test kinds with errors.Is(err, errdefs.NotFound): every Kind is
// itself an error value that an Error of that kind matches.
package errdefs

import (
	"errors"
	"fmt"
)

// Kind classifies an error by what the caller can do about it.
type Kind int

const (
	// Internal is a failure that no input explains: an I/O error, a kernel refusal, a bug.
	Internal Kind = iota
	// NotFound: the named object does not exist.
	NotFound
	// AlreadyExists: the name or object to create is taken.
	AlreadyExists
	// InvalidArgument: the input itself is wrong, whatever the state of the system.
	InvalidArgument
	// Conflict: the input is right but the object's present state forbids it.
	Conflict
	// Unauthorized: credentials are missing or wrong.
	Unauthorized
	// Forbidden: the caller is known and may not do this.
	Forbidden
	// Unavailable: a needed service or peer cannot be reached now.
	Unavailable
	// Unsupported: this build, kernel or object cannot do it at all.
	Unsupported
	// Exhausted: a limit is reached: disk, memory, addresses, ports.
	Exhausted
	// Cancelled: the caller gave up, or a deadline passed.
	Cancelled
	// NotExecutable: the container's program exists and cannot be executed (exit code 126).
	NotExecutable
	// NoCommand: the container's program does not exist (exit code 127).
	NoCommand
)

var kindText = [...]string{
	"internal error", "not found", "already exists", "invalid argument", "conflict", "unauthorized",
	"forbidden", "unavailable", "unsupported", "exhausted", "cancelled", "not executable", "no such command",
}

// String returns the kind in words.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindText) {
		return fmt.Sprintf("kind %d", int(k))
	}
	return kindText[k]
}

// Error makes a Kind usable as the target of errors.Is.
func (k Kind) Error() string { return k.String() }

// Error is an error with a kind, a subject and, often, a next step.
type Error struct {
	Kind    Kind
	Op      string // the verb, as in "cannot <Op> <Subject>"; may be empty
	Subject string // the file, id, name or reference; may be empty
	Err     error  // the cause; may be nil
	Hint    string // one line the user can act on; printed by the CLI only
}

// Error returns "cannot <op> <subject>: <cause>", leaving out what is empty.
func (e *Error) Error() string {
	cause := ""
	if e.Err != nil {
		cause = e.Err.Error()
	}
	head := e.Subject
	if e.Op != "" {
		head = "cannot " + e.Op
		if e.Subject != "" {
			head += " " + e.Subject
		}
	}
	switch {
	case head == "" && cause == "":
		return e.Kind.String()
	case cause == "":
		return head + ": " + e.Kind.String()
	case head == "":
		return cause
	}
	return head + ": " + cause
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is this error's Kind.
func (e *Error) Is(target error) bool {
	k, ok := target.(Kind)
	return ok && k == e.Kind
}

// New returns an error of kind k whose text is the formatted message; %w wraps.
func New(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Err: fmt.Errorf(format, args...)}
}

// Wrap returns "cannot <op> <subject>: <err>", keeping the kind and hint of err
// when it has them (else Internal). It returns nil for a nil err.
func Wrap(err error, op, subject string) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: KindOf(err), Op: op, Subject: subject, Err: err}
}

// WithHint returns e with the next step set. It serves chained construction.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// KindOf returns the kind of the first Error in err's chain that has one other
// than Internal, or Internal.
func KindOf(err error) Kind {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			var k Kind
			if errors.As(err, &k) {
				return k
			}
			return Internal
		}
		if e.Kind != Internal {
			return e.Kind
		}
		err = e.Err
	}
	return Internal
}

// HintOf returns the first hint in err's chain, or "".
func HintOf(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}
