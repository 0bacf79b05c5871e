package engine

import (
	"context"
	"slices"
	"strings"
	"time"

	"berth/internal/container/events"
	"berth/internal/errdefs"
)

// Event is one thing that happened.
type Event struct {
	Time   time.Time
	Type   string // "container", "image", "volume", "network"
	Action string // "create", "start", "die", ...
	ID     string
	Attr   map[string]string
}

// Events calls yield for every event between since and until (zero: now and never).
func (s *System) Events(ctx context.Context, since, until time.Time, f Filters, yield func(Event) error) error {
	for key := range f {
		switch key {
		case "type", "event", "container", "image", "volume", "network", "label", "scope", "daemon":
		default:
			return errdefs.New(errdefs.InvalidArgument, "invalid filter '%s'", key).
				WithHint("events are filtered by type, event, container, image, volume, network, label and scope")
		}
	}
	return s.e.events.Read(ctx, since, until, func(e events.Event) error {
		if !selectsEvent(f, &e) {
			return nil
		}
		return yield(Event(e))
	})
}

// selectsEvent applies Docker's rules: values of one key are alternatives,
// labels must all match, and a filter for one type of object lets no other pass.
func selectsEvent(f Filters, e *events.Event) bool {
	if v := f["type"]; len(v) > 0 && !slices.Contains(v, e.Type) {
		return false
	}
	if v := f["scope"]; len(v) > 0 && !slices.Contains(v, "local") {
		return false
	}
	// "exec_start: sh -c x" is found as exec_start.
	action, _, _ := strings.Cut(e.Action, ":")
	if v := f["event"]; len(v) > 0 && !slices.Contains(v, e.Action) && !slices.Contains(v, action) {
		return false
	}
	for _, kind := range [...]string{events.Container, events.Volume, events.Network} {
		if v := f[kind]; len(v) > 0 && !(e.Type == kind && slices.ContainsFunc(v, func(ref string) bool { return isActor(e, ref) })) {
			return false
		}
	}
	if v := f["image"]; len(v) > 0 && !slices.ContainsFunc(v, func(ref string) bool { return isOfImage(e, ref) }) {
		return false
	}
	return hasLabels(e.Attr, f["label"])
}

// isActor reports whether a user means an event's object by ref.
func isActor(e *events.Event, ref string) bool {
	return ref != "" && (strings.HasPrefix(e.ID, ref) || e.Attr["name"] == strings.TrimPrefix(ref, "/"))
}

// isOfImage reports whether an event is about an image, or about a container of
// it; the tag may be left out.
func isOfImage(e *events.Event, ref string) bool {
	name := e.Attr["image"]
	if e.Type == events.Image {
		name = e.Attr["name"]
		if e.ID == ref || strings.HasPrefix(strings.TrimPrefix(e.ID, "sha256:"), strings.TrimPrefix(ref, "sha256:")) && ref != "" {
			return true
		}
	}
	repository := name
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		repository = name[:i]
	}
	return name != "" && (name == ref || repository == ref)
}
