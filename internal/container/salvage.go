package container

import (
	"strings"

	"berth/internal/errdefs"
	"berth/internal/oci"
)

// salvage returns the best knowledge of a container whose state file is
// damaged: by a power cut, since states are not synced by default, or by an
// editor. In this order: the text as it is, if it is a state at all; the state
// before it; and the state of a container that was never started.
func (s *Store) salvage(dir int, id string, text []byte) (State, error) {
	if st, _, err := parseState(text); err == nil && st.ID == id {
		return st, nil
	}
	if before, err := readAt(dir, nextFile, nil); err == nil {
		if st, whole, err := parseState(before); err == nil && whole && st.ID == id {
			return st, nil
		}
	}
	rec, err := s.config(id)
	if err != nil {
		return State{}, errdefs.Wrap(err, "restore the state of container", id)
	}
	return InitialState(rec, s.nameOf(id)), nil
}

// InitialState returns the state of a container as it is created. The engine
// knows more of it (published ports, the network) once it has started.
func InitialState(rec *Record, name string) State {
	st := State{
		ID: rec.ID, Name: name, Created: rec.Created, Image: rec.Config.Image, ImageID: rec.ImageID,
		Command: strings.Join(append([]string{rec.Path}, rec.Args...), " "), Status: Created,
		AutoRemove: rec.HostConfig.AutoRemove, Labels: rec.Config.Labels, NetworkMode: rec.HostConfig.NetworkMode,
	}
	for port := range rec.Config.ExposedPorts {
		if n, proto, err := oci.ParsePort(port); err == nil {
			st.Ports = append(st.Ports, Port{PrivatePort: n, Type: proto})
		}
	}
	for _, m := range rec.Mounts {
		if m.Name != "" {
			st.MountNames = append(st.MountNames, m.Name)
		} else if m.Source != "" {
			st.MountNames = append(st.MountNames, m.Source)
		}
	}
	return st
}
