package copy

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
)

// pathError is an error at a file below the directory that is walked. Each
// directory on the way back puts its name in front, so that a path is put
// together only if there is something to report.
type pathError struct {
	path string
	err  error
}

func (e *pathError) Error() string { return printable(e.path) + ": " + e.err.Error() }
func (e *pathError) Unwrap() error { return e.err }

// within says that err happened in name.
func within(name string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*pathError); ok { //nolint:errorlint // the outermost one alone is a path being put together
		return &pathError{name + "/" + e.path, e.err}
	}
	// The name stands in front already.
	var p *os.PathError
	if errors.As(err, &p) && p.Path == name {
		err = os.NewSyscallError(p.Op, p.Err)
	}
	return &pathError{name, err}
}

// printable shows a name as it is, unless it holds what a terminal would act on.
func printable(name string) string {
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}

// explain gives an error of COPY or ADD its subject, and that of a full disk its kind.
func explain(err error, verb, subject string) error {
	if err == nil {
		return nil
	}
	e := &errdefs.Error{Kind: errdefs.KindOf(err), Op: verb, Subject: printable(subject), Err: err}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		e.Kind = errdefs.Exhausted
		return e.WithHint("free some disk space (`berth system df` shows what berth uses) and try again")
	}
	return e
}
