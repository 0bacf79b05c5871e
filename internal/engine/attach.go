package engine

import (
	"context"
	"io"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/runtime/monitor"
)

// Attachment is one client's connection to the stdio of a container.
type Attachment struct {
	conn  *monitor.Connection
	input io.Reader // what the program reads when the client has no input
}

// ErrDetached is returned by an attachment's Copy when in returned it: the user typed the detach keys.
var ErrDetached = errdefs.New(errdefs.Cancelled, "detached")

// Resize tells the terminal its new size.
func (a *Attachment) Resize(rows, cols uint16) error { return a.conn.Resize(rows, cols) }

// Copy moves bytes until the program ends and returns its exit code. in may be
// nil. If in.Read returns ErrDetached, Copy returns ErrDetached at once.
func (a *Attachment) Copy(_ context.Context, in io.Reader, out, errw io.Writer) (exitCode int, err error) {
	if in == nil {
		in = a.input
	}
	return a.conn.Copy(in, out, errw)
}

// Close gives up the connection; the program goes on.
func (a *Attachment) Close() error { return a.conn.Close() }

// Attach connects to a running container.
func (c *Containers) Attach(_ context.Context, ref string, o AttachOptions) (*Attachment, error) {
	st, err := c.e.runningState(ref)
	if err != nil {
		return nil, err
	}
	if st.Status == container.Paused {
		return nil, errdefs.New(errdefs.Conflict, "cannot attach to a paused container, unpause the container and try again").
			WithHint("berth unpause %s", ident.Short(st.ID))
	}
	conn, err := monitor.Connect(c.e.socket(st.ID), monitor.Streams{Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Stderr, Rows: o.Rows, Cols: o.Cols})
	if err != nil {
		return nil, errdefs.New(errdefs.Unavailable, "cannot attach to container %s: its monitor is gone: %w", ident.Short(st.ID), err).
			WithHint("the container goes on without its streams; restart it to get them back")
	}
	return &Attachment{conn: conn}, nil
}
