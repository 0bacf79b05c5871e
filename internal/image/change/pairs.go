package change

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/internal/oci"
)

// pairs reads "name=value name2=value2" or, the old form, "name the rest".
func (e *editor) pairs(instruction, rest string) ([][2]string, error) {
	words := fields(rest)
	if len(words) == 0 {
		return nil, invalid("%s requires at least one argument", instruction)
	}
	if !strings.Contains(words[0], "=") {
		value := strings.TrimSpace(strings.TrimPrefix(rest, words[0]))
		if value == "" {
			return nil, invalid("%s must have two arguments", instruction)
		}
		return e.pair(nil, instruction, words[0], value)
	}
	var list [][2]string
	for _, w := range words {
		name, value, ok := strings.Cut(w, "=")
		if !ok {
			return nil, invalid("Syntax error - can't find = in %q. Must be of the form: name=value", w)
		}
		var err error
		if list, err = e.pair(list, instruction, name, value); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (e *editor) pair(list [][2]string, instruction, name, value string) ([][2]string, error) {
	name, err := e.expand(name)
	if err != nil {
		return nil, err
	}
	if name == "" {
		return nil, invalid("%s names can not be blank", instruction)
	}
	if value, err = e.expand(value); err != nil {
		return nil, err
	}
	return append(list, [2]string{name, value}), nil
}

func (e *editor) env(rest string) error {
	list, err := e.pairs("ENV", rest)
	if err != nil {
		return err
	}
	for _, p := range list {
		e.c.Env = setEnv(e.c.Env, p[0], p[1])
	}
	return nil
}

// setEnv replaces a variable at its place, or adds it.
func setEnv(env []string, name, value string) []string {
	env = slices.Clone(env)
	for i, v := range env {
		if have, _, _ := strings.Cut(v, "="); have == name {
			env[i] = name + "=" + value
			return env
		}
	}
	return append(env, name+"="+value)
}

func (e *editor) label(rest string) error {
	list, err := e.pairs("LABEL", rest)
	if err != nil {
		return err
	}
	labels := maps.Clone(e.c.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	for _, p := range list {
		labels[p[0]] = p[1]
	}
	e.c.Labels = labels
	return nil
}

// expose reads ports: "80", "53/udp", "8000-8010/tcp".
func (e *editor) expose(rest string) error {
	ports := maps.Clone(e.c.ExposedPorts)
	if ports == nil {
		ports = map[string]struct{}{}
	}
	for _, w := range fields(rest) {
		word, err := e.expand(w)
		if err != nil {
			return err
		}
		number, proto, err := oci.CutProtocol(word)
		if err != nil {
			return invalid("%v", err)
		}
		first, last, err := oci.ParsePortRange(number)
		if err != nil || first == 0 {
			return invalid("invalid containerPort: %s", word)
		}
		for p := int(first); p <= int(last); p++ {
			ports[strconv.Itoa(p)+"/"+proto] = struct{}{}
		}
	}
	e.c.ExposedPorts = ports
	return nil
}

// healthcheck reads "NONE" or "[--option=value...] CMD command".
func (e *editor) healthcheck(rest string) error {
	h := &oci.Healthcheck{}
	for strings.HasPrefix(rest, "--") {
		word := rest
		if i := strings.IndexAny(rest, " \t"); i >= 0 {
			word = rest[:i]
		}
		rest = strings.TrimSpace(rest[len(word):])
		if err := healthOption(h, word); err != nil {
			return err
		}
	}
	kind, command := split(rest)
	switch {
	case kind == "NONE" && command == "":
		h = &oci.Healthcheck{Test: []string{"NONE"}}
	case kind == "NONE":
		return invalid("HEALTHCHECK NONE takes no arguments")
	case kind != "CMD":
		return invalid("Unknown type %q in HEALTHCHECK (try CMD)", kind)
	case command == "":
		return invalid("Missing command after HEALTHCHECK CMD")
	default:
		if words, ok := jsonForm(command); ok {
			h.Test = append([]string{"CMD"}, words...)
		} else {
			h.Test = []string{"CMD-SHELL", command}
		}
	}
	e.c.Healthcheck = h
	return nil
}

func healthOption(h *oci.Healthcheck, word string) error {
	name, value, _ := strings.Cut(strings.TrimPrefix(word, "--"), "=")
	var to *time.Duration
	switch name {
	case "interval":
		to = &h.Interval
	case "timeout":
		to = &h.Timeout
	case "start-period":
		to = &h.StartPeriod
	case "start-interval":
		to = &h.StartInterval
	case "retries":
		n, err := strconv.ParseUint(value, 10, 31)
		if err != nil {
			return invalid("--retries must be a number, not %q", value)
		}
		h.Retries = int(n)
		return nil
	default:
		return invalid("unknown flag: --%s", name)
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 || d > 0 && d < time.Millisecond {
		return invalid("--%s must be a duration of at least 1ms, not %q", name, value)
	}
	*to = d
	return nil
}
