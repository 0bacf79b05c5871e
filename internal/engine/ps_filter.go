package engine

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/oci"
)

// psFilter selects containers for ps by Docker's rules: values of one key are
// alternatives, but for labels, which must all match; keys must all match.
type psFilter struct {
	e        *Engine
	values   Filters
	patterns map[string][]*pattern // of name and id
	exited   []int
	images   map[string]bool // ids of the ancestors and of what was made from them
	before   time.Time       // created before; zero: any
	since    time.Time
	publish  []oci.Ports
	expose   []oci.Ports
}

// newPsFilter checks the filters. states are where before and since are looked up.
func (e *Engine) newPsFilter(f Filters, states []container.State) (*psFilter, error) {
	p := &psFilter{e: e, values: f, patterns: map[string][]*pattern{}}
	for key, values := range f {
		for _, v := range values {
			if err := p.add(key, v, states); err != nil {
				return nil, err
			}
		}
	}
	if refs := f["ancestor"]; len(refs) > 0 {
		return p, p.addAncestors(refs)
	}
	return p, nil
}

func (p *psFilter) add(key, value string, states []container.State) (err error) {
	switch key {
	case "ancestor", "label", "network", "volume", "is-task":
	case "name", "id":
		p.patterns[key] = append(p.patterns[key], compilePattern(value))
	case "status":
		err = oneOf(key, value, "created", "restarting", "running", "removing", "paused", "exited", "dead")
	case "health":
		err = oneOf(key, value, "none", "starting", "healthy", "unhealthy")
	case "exited":
		code, cerr := strconv.Atoi(value)
		if cerr != nil {
			return errdefs.New(errdefs.InvalidArgument, "invalid filter 'exited=%s': not an exit code", value)
		}
		p.exited = append(p.exited, code)
	case "before":
		p.before, err = p.created(value, states)
	case "since":
		p.since, err = p.created(value, states)
	case "publish":
		p.publish, err = appendPorts(p.publish, key, value)
	case "expose":
		p.expose, err = appendPorts(p.expose, key, value)
	default:
		return errdefs.New(errdefs.InvalidArgument, "invalid filter '%s'", key).
			WithHint("containers are filtered by ancestor, before, exited, expose, health, id, label, name, network, publish, since, status and volume")
	}
	return err
}

func oneOf(key, value string, known ...string) error {
	if slices.Contains(known, value) {
		return nil
	}
	return errdefs.New(errdefs.InvalidArgument, "Unrecognised filter value for %s: %s", key, value).WithHint("known are %s", strings.Join(known, ", "))
}

// created returns when the container that a user means was created.
func (p *psFilter) created(ref string, states []container.State) (time.Time, error) {
	id, err := p.e.store.Resolve(ref)
	if err != nil {
		return time.Time{}, err
	}
	for i := range states {
		if states[i].ID == id {
			return states[i].Created, nil
		}
	}
	st, err := p.e.store.LoadState(id) // made since the list was read
	return st.Created, err
}

// addAncestors finds the images and everything committed from them. An image
// that does not exist selects nothing, as in Docker.
func (p *psFilter) addAncestors(refs []string) error {
	p.images = map[string]bool{}
	shelf, err := p.e.shelf()
	if err != nil {
		return err
	}
	var walk func(id oci.Digest)
	walk = func(id oci.Digest) {
		if p.images[id.String()] {
			return
		}
		p.images[id.String()] = true
		for _, child := range shelf.children[id] {
			walk(child)
		}
	}
	for _, ref := range refs {
		if img, err := p.e.images.Resolve(ref); err == nil {
			walk(img.ID)
		}
	}
	return nil
}

// selects reports whether a container passes all filters. Those that need more
// than the state come last.
func (p *psFilter) selects(s *container.State) (bool, error) {
	if len(p.values) == 0 {
		return true, nil
	}
	if !p.matches("id", s.ID) || !p.matches("name", s.Name) || !p.anyOf("status", string(s.Status)) || !p.anyOf("health", "none") {
		return false, nil
	}
	if len(p.exited) > 0 && (s.Status.Live() || s.StartedAt.IsZero() || !slices.Contains(p.exited, s.ExitCode)) {
		return false, nil
	}
	if p.images != nil && !p.images[s.ImageID] || !hasLabels(s.Labels, p.values["label"]) {
		return false, nil
	}
	if !p.before.IsZero() && !s.Created.Before(p.before) || !p.since.IsZero() && !s.Created.After(p.since) {
		return false, nil
	}
	if nets := p.values["network"]; len(nets) > 0 && !onNetwork(s, nets) {
		return false, nil
	}
	if len(p.publish)+len(p.expose)+len(p.values["volume"]) == 0 {
		return true, nil
	}
	return p.selectsRecord(s.ID)
}

// matches reports whether a text is one of the values of a key, or holds a
// match of one. A name is tried with Docker's leading slash, too.
func (p *psFilter) matches(key, text string) bool {
	if len(p.patterns[key]) == 0 {
		return true
	}
	for _, pat := range p.patterns[key] {
		if pat.find(text) || key == "name" && pat.find("/"+text) {
			return true
		}
	}
	return false
}

func (p *psFilter) anyOf(key, text string) bool {
	return len(p.values[key]) == 0 || slices.Contains(p.values[key], text)
}

// hasLabels reports whether labels has all of "key" and "key=value".
func hasLabels(labels map[string]string, want []string) bool {
	return !slices.ContainsFunc(want, func(l string) bool {
		key, value, exact := strings.Cut(l, "=")
		v, ok := labels[key]
		return !ok || exact && v != value
	})
}

func onNetwork(s *container.State, names []string) bool {
	for _, want := range names {
		if s.NetworkMode == want {
			return true
		}
		for name, end := range s.Network.Networks {
			if name == want || end.NetworkID != "" && strings.HasPrefix(end.NetworkID, want) {
				return true
			}
		}
	}
	return false
}

// selectsRecord applies the filters that need the container's configuration.
func (p *psFilter) selectsRecord(id string) (bool, error) {
	rec, err := p.e.store.Load(id)
	if errdefs.KindOf(err) == errdefs.NotFound {
		return false, nil // removed since
	}
	if err != nil {
		return false, err
	}
	volumes := p.values["volume"]
	mounted := len(volumes) == 0 || slices.ContainsFunc(rec.Mounts, func(m container.MountPoint) bool {
		return slices.Contains(volumes, m.Name) || slices.Contains(volumes, m.Source) || slices.Contains(volumes, m.Destination)
	})
	return mounted && anyPort(p.publish, rec.HostConfig.PortBindings) && anyPort(p.expose, rec.Config.ExposedPorts), nil
}

// appendPorts adds a publish or expose filter: "80", "8000-8010/udp".
func appendPorts(list []oci.Ports, key, value string) ([]oci.Ports, error) {
	p, err := oci.ParsePorts(value)
	if err != nil {
		return nil, errdefs.New(errdefs.InvalidArgument, "invalid filter '%s=%s': not a port or range of ports", key, value).
			WithHint("write it as 80, 80/udp or 8000-8010/tcp")
	}
	return append(list, p), nil
}

// anyPort reports whether one of the ports ("80/tcp") is in one of the ranges; no ranges select all.
func anyPort[V any](ranges []oci.Ports, ports map[string]V) bool {
	for spec := range ports {
		port, proto, err := oci.ParsePort(spec)
		if err == nil && slices.ContainsFunc(ranges, func(r oci.Ports) bool { return r.First <= port && port <= r.Last && r.Protocol == proto }) {
			return true
		}
	}
	return len(ranges) == 0
}
