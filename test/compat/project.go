package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"berth/internal/build/dockerfile"
	"berth/internal/oci"
)

// project is one folder.
type project struct {
	name, dir string
	text      []byte
	flags     []string
}

func openProject(dir string) (*project, error) {
	p := &project{name: filepath.Base(dir), dir: dir}
	var err error
	if p.text, err = os.ReadFile(filepath.Join(dir, "Dockerfile")); err != nil {
		return nil, err
	}
	flags, err := os.ReadFile(filepath.Join(dir, "flags"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for line := range strings.Lines(string(flags)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			p.flags = append(p.flags, line)
		}
	}
	return p, nil
}

// values returns the NAME=value pairs that the flags give to one option; a name
// alone takes the environment's value, as `berth build --build-arg NAME` does.
func (p *project) values(option string) map[string]string {
	m := map[string]string{}
	for _, f := range p.flags {
		if pair, ok := strings.CutPrefix(f, "--"+option+"="); ok {
			name, value, given := strings.Cut(pair, "=")
			if !given {
				value = os.Getenv(name)
			}
			m[name] = value
		}
	}
	return m
}

// outcome is one row of the table.
type outcome struct {
	stages, steps  int
	parses, builds string
	planned, plans int
	failure        string // the first thing that failed
}

// try parses, plans and builds.
func (p *project) try(ctx context.Context, berth string, platforms []oci.Platform) *outcome {
	o := &outcome{parses: "no", builds: "-"}
	f, err := dockerfile.Parse("Dockerfile", p.text)
	if err != nil {
		o.fail(err)
		return o
	}
	o.parses = "yes"
	p.plan(ctx, f, platforms, o)
	if _, err := os.Stat(filepath.Join(p.dir, "context")); err == nil && o.failure == "" {
		p.build(ctx, berth, o)
	}
	return o
}

func (o *outcome) fail(err error) {
	if o.failure == "" {
		o.failure, _, _ = strings.Cut(err.Error(), "\n")
	}
}

// build really builds, and keeps all that it prints.
func (p *project) build(ctx context.Context, berth string, o *outcome) {
	args := append([]string{"build", "--progress", "plain", "-f", filepath.Join(p.dir, "Dockerfile")}, p.flags...)
	cmd := exec.CommandContext(ctx, berth, append(args, filepath.Join(p.dir, "context"))...)
	begin := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(begin).Round(100 * time.Millisecond)
	if logErr := os.WriteFile(filepath.Join(p.dir, "build.log"), out, 0o644); logErr != nil {
		o.fail(logErr)
	}
	if err == nil {
		o.builds = took.String()
		return
	}
	o.builds = "no"
	lines := strings.Split(string(bytes.TrimSpace(out)), "\n")
	for _, line := range lines {
		if why, ok := strings.CutPrefix(line, "berth: "); ok {
			o.fail(errors.New(why))
		}
	}
	o.fail(errors.New(lines[len(lines)-1]))
}
