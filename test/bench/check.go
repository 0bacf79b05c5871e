package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// lines runs a command and holds it to the number of lines it prints.
func (l *lab) lines(want int, c command) ([]string, error) {
	out, err := l.ask(c)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if len(lines) != want {
		return nil, fmt.Errorf("%s prints %d lines, not %d", c, len(lines), want)
	}
	return lines, nil
}

// trueStats holds berth's stats to a line for each container of the fleet, and
// to a CPU figure of what happens now: a program that slept for a while and
// then spins for a while is seen to spin. An average since its start, which
// costs nothing to compute, would show half as much at most.
func trueStats(l *lab) error {
	e := l.engines[0]
	if _, err := l.lines(1+batch, e.command("stats", "--no-stream")); err != nil {
		return err
	}
	const spinner = "bench-spinner"
	_, _, err := l.cli.run(e.command("run", "-d", "--name", spinner, image, "sh", "-c", "sleep 4; while true; do :; done"))
	if err != nil {
		return err
	}
	defer l.cli.run(e.command("rm", "-f", spinner))
	time.Sleep(6 * time.Second)
	before, err := l.spent(spinner)
	if err != nil {
		return err
	}
	begin := time.Now()
	out, err := l.ask(e.command("stats", "--no-stream", "--format", "{{.CPUPerc}}", spinner))
	if err != nil {
		return err
	}
	time.Sleep(200 * time.Millisecond)
	after, err := l.spent(spinner)
	if err != nil {
		return err
	}
	actual := 100 * float64(after-before) / float64(time.Since(begin))
	shown, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(out), "%"), 64)
	if err != nil {
		return err
	}
	// The machine may be busy, so the loop's real share is the measure.
	if shown < 0.7*actual || shown > 1.3*actual+5 {
		return fmt.Errorf("stats shows %.1f %% for a container that uses %.1f %%", shown, actual)
	}
	return nil
}

// spent is the CPU time of a container, from the kernel.
func (l *lab) spent(name string) (time.Duration, error) {
	id, err := l.ask(l.engines[0].command("inspect", "--format", "{{.Id}}", name))
	if err != nil {
		return 0, err
	}
	group := *l.account
	group.dir = filepath.Join(group.dir, containers, strings.TrimSpace(id))
	return group.usage()
}
