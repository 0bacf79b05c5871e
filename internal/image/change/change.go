// Package change applies single Dockerfile instructions to an image's config, as
// `commit --change` and `import --change` take them.
//
// An image's config says how its containers run: program, environment, ports,
// user. A Dockerfile sets it line by line, and the same lines serve to adjust it
// when an image is made without a Dockerfile:
//
//	berth commit --change 'ENV MODE=fast' --change 'CMD ["serve", "--all"]' web web:2
//
// Only instructions that need no build are known here. Their grammar is that of
// the Dockerfile reference: CMD and ENTRYPOINT are a JSON array (the program
// itself) or a line for a shell; most others are words with shell quotes and
// variables of the environment so far.
package change

import (
	"encoding/json"
	"maps"
	"path"
	"slices"
	"strings"

	"berth/internal/errdefs"
	"berth/internal/oci"
)

// Apply changes the config by each instruction in turn. On an error it may have
// applied the ones before. Slices and maps of the config are replaced, not
// changed: the caller may share them.
func Apply(c *oci.RunConfig, instructions []string) error {
	e := editor{c: c}
	for _, line := range instructions {
		if err := e.apply(line); err != nil {
			return &errdefs.Error{Kind: errdefs.InvalidArgument, Op: "apply change", Subject: `"` + line + `"`, Err: err}
		}
	}
	return nil
}

// editor applies instructions to one config.
type editor struct {
	c      *oci.RunConfig
	cmdSet bool // by an instruction: ENTRYPOINT then leaves it
}

func invalid(format string, args ...any) error {
	return errdefs.New(errdefs.InvalidArgument, format, args...)
}

// split cuts a line into its instruction, in capitals, and the rest.
func split(line string) (name, rest string) {
	line = strings.TrimSpace(line)
	i := strings.IndexFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
	if i < 0 {
		return strings.ToUpper(line), ""
	}
	return strings.ToUpper(line[:i]), strings.TrimSpace(line[i:])
}

func (e *editor) apply(line string) error {
	if strings.ContainsAny(line, "\n\r\x00") {
		return invalid("an instruction is one line")
	}
	name, rest := split(line)
	if rest == "" {
		switch name {
		case "CMD", "ENTRYPOINT": // the empty form is the reset, as [] is
		default:
			return invalid("%s requires at least one argument", name)
		}
	}
	switch name {
	case "CMD":
		e.c.Cmd, e.cmdSet = e.command(rest), true
	case "ENTRYPOINT":
		e.c.Entrypoint = e.command(rest)
		if !e.cmdSet {
			e.c.Cmd = nil // it was meant for the program that ran before
		}
	case "ENV":
		return e.env(rest)
	case "EXPOSE":
		return e.expose(rest)
	case "HEALTHCHECK":
		return e.healthcheck(rest)
	case "LABEL":
		return e.label(rest)
	case "ONBUILD":
		return e.onBuild(rest)
	case "STOPSIGNAL":
		return e.one(name, rest, &e.c.StopSignal)
	case "USER":
		return e.one(name, rest, &e.c.User)
	case "VOLUME":
		return e.volume(rest)
	case "WORKDIR":
		return e.workdir(rest)
	default:
		return errdefs.New(errdefs.InvalidArgument, "%s is not a valid change command", strings.ToLower(name)).
			WithHint("use CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR")
	}
	return nil
}

// jsonForm reads an array of strings; what is none is not an error but the other form.
func jsonForm(s string) ([]string, bool) {
	if !strings.HasPrefix(s, "[") {
		return nil, false
	}
	words := []string{}
	if err := json.Unmarshal([]byte(s), &words); err != nil {
		return nil, false
	}
	return words, true
}

// command reads the arguments of CMD and ENTRYPOINT.
func (e *editor) command(s string) []string {
	if words, ok := jsonForm(s); ok {
		return words
	}
	if s == "" {
		return []string{}
	}
	shell := e.c.Shell
	if len(shell) == 0 {
		shell = []string{"/bin/sh", "-c"}
	}
	return append(append([]string{}, shell...), s)
}

// one sets a value that is a single argument.
func (e *editor) one(name, rest string, to *string) error {
	words := fields(rest)
	if len(words) != 1 {
		return invalid("%s requires exactly one argument", name)
	}
	value, err := e.expand(words[0])
	if err != nil {
		return err
	}
	if value == "" {
		return invalid("%s requires exactly one argument", name)
	}
	*to = value
	return nil
}

func (e *editor) workdir(rest string) error {
	dir, err := e.expand(rest)
	if err != nil {
		return err
	}
	if dir == "" {
		return invalid("WORKDIR requires exactly one argument")
	}
	if !path.IsAbs(dir) {
		dir = "/" + e.c.WorkingDir + "/" + dir
	}
	e.c.WorkingDir = path.Clean(dir)
	return nil
}

func (e *editor) volume(rest string) error {
	words, ok := jsonForm(rest)
	if !ok {
		words = fields(rest)
	}
	if len(words) == 0 {
		return invalid("VOLUME requires at least one argument")
	}
	volumes := maps.Clone(e.c.Volumes)
	if volumes == nil {
		volumes = map[string]struct{}{}
	}
	for _, w := range words {
		dir, err := e.expand(w)
		if err != nil {
			return err
		}
		if dir = strings.TrimSpace(dir); dir == "" {
			return invalid("VOLUME specified can not be an empty string")
		}
		volumes[dir] = struct{}{}
	}
	e.c.Volumes = volumes
	return nil
}

// onBuild keeps an instruction for whoever builds on the image.
func (e *editor) onBuild(rest string) error {
	name, _ := split(rest)
	switch name {
	case "ONBUILD":
		return invalid("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
	case "MAINTAINER", "FROM":
		return invalid("%s isn't allowed as an ONBUILD trigger", name)
	}
	e.c.OnBuild = append(slices.Clone(e.c.OnBuild), rest)
	return nil
}
