package system

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"berth/internal/cli/command"
	"berth/internal/cli/flagvalue"
	"berth/internal/cli/output"
	"berth/internal/engine"
	"berth/internal/errdefs"
	"berth/internal/units"
)

type eventsOptions struct {
	filters              flagvalue.Filters
	format, since, until string
}

func events(ctx context.Context, env *command.Env, o *eventsOptions) error {
	since, err := units.ParseTime(o.since, env.Now())
	if err != nil {
		return errdefs.New(errdefs.InvalidArgument, "--since: %w", err)
	}
	until, err := units.ParseTime(o.until, env.Now())
	if err != nil {
		return errdefs.New(errdefs.InvalidArgument, "--until: %w", err)
	}
	if o.format != "" && o.format != "json" { // a wrong template is told before the first event
		if _, err := output.Parse(o.format); err != nil {
			return err
		}
	}
	e, err := env.Open(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := command.Interruptible(ctx)
	defer cancel()
	err = e.System.Events(ctx, since, until, engine.Filters(o.filters), func(ev engine.Event) error {
		return printEvent(env.Out, o.format, newEventMessage(&ev))
	})
	if ctx.Err() != nil {
		return nil // Ctrl-C is how watching ends
	}
	return err
}

// eventMessage has the shape of Docker's event stream.
type eventMessage struct {
	Status   string `json:"status,omitempty"`
	ID       string `json:"id,omitempty"`
	From     string `json:"from,omitempty"`
	Type     string
	Action   string
	Actor    eventActor
	Scope    string `json:"scope"`
	Time     int64  `json:"time"`
	TimeNano int64  `json:"timeNano"`
	stamp    string
}

type eventActor struct {
	ID         string
	Attributes map[string]string
}

func newEventMessage(e *engine.Event) eventMessage {
	m := eventMessage{
		Type: e.Type, Action: e.Action, Actor: eventActor{e.ID, e.Attr}, Scope: "local",
		Time: e.Time.Unix(), TimeNano: e.Time.UnixNano(),
		stamp: e.Time.Local().Format("2006-01-02T15:04:05.000000000Z07:00"),
	}
	if e.Type == "container" || e.Type == "image" { // the fields of the API before 1.22, which tools still read
		m.Status, m.ID, m.From = e.Action, e.ID, e.Attr["image"]
	}
	return m
}

func printEvent(w io.Writer, format string, m eventMessage) error {
	if format != "" {
		return output.Execute(w, output.Format(format), m)
	}
	line := fmt.Sprintf("%s %s %s %s", m.stamp, m.Type, m.Action, m.Actor.ID)
	if len(m.Actor.Attributes) > 0 {
		var attrs []string
		for _, k := range slices.Sorted(maps.Keys(m.Actor.Attributes)) {
			attrs = append(attrs, k+"="+m.Actor.Attributes[k])
		}
		line += " (" + strings.Join(attrs, ", ") + ")"
	}
	_, err := io.WriteString(w, line+"\n")
	return err
}
