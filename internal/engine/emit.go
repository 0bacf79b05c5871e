package engine

import (
	"maps"
	"strconv"

	"berth/internal/container"
	"berth/internal/container/events"
)

// emit writes an event of a container to the journal. The journal tells what
// happened; nothing depends on it, so a failure (a full disk) is only logged.
func (e *Engine) emit(kind, action, id string, st container.State) {
	attributes := maps.Clone(st.Labels)
	if attributes == nil {
		attributes = map[string]string{}
	}
	if st.Image != "" { // an image's event has none
		attributes["image"] = st.Image
	}
	if st.Name != "" {
		attributes["name"] = st.Name
	}
	if action == "die" {
		attributes["exitCode"] = strconv.Itoa(st.ExitCode)
	}
	if err := e.events.Append(events.Event{Type: kind, Action: action, ID: id, Attr: attributes}); err != nil {
		e.opt.Log.Warn("write an event", "action", action, "container", id, "error", err)
	}
}
