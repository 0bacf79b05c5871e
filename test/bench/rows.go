package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// row is one comparison: who takes part, what is measured of each, and the
// bars berth is held to.
type row struct {
	name       string
	contenders func(l *lab) []contender
	sample     sampler
	// rounds replaces -rounds where a sample is itself the work of many commands.
	rounds int
	bars   []bar
	// check, if any, says whether berth does the row's work at all: a command
	// that answers too little is fast for the wrong reason.
	check func(l *lab) error
}

// contender is one peer's way to do a row's work.
type contender struct {
	name    string
	slow    bool
	command command
	engine  *engine
	// before and after are not measured.
	before, after func() error
}

// bar is a limit on a figure of berth's, or on its ratio to another's.
type bar struct {
	of      metric
	against string // a contender; rivals: the best engine but berth; empty: the figure itself
	limit   float64
	atLeast bool
}

const rivals = "fastest engine"

// How many containers stand or start in the rows that need many.
const (
	atATime = 8
	batch   = 50
	idlers  = 20
	made    = 200
)

// scenes are the rows, grouped by what has to stand while they are measured.
func scenes() []scene {
	return []scene{
		{name: "nothing", rows: []row{runNone, runBridge, versionRow, startRow(1), startRow(atATime), idleRow, tracedNone, tracedBridge, tracedKept}},
		{name: "one container", engine: oneContainer, runtime: oneBareContainer, rows: []row{execRow}},
		{name: "a fleet", engine: fleet, rows: []row{psRow, statsRow}},
		{name: "a container with 200 MB of its own", engine: fatContainer, rows: []row{commitRow}},
		buildScene,
		programScene,
	}
}

var runNone = row{
	name: "run --rm --network none",
	contenders: func(l *lab) []contender {
		return slices.Concat(l.floor(), l.bareRuns(), l.every("run", "--rm", "--network", "none", image, "true"))
	},
	sample: metered,
	bars:   []bar{{of: wall, against: "crun", limit: 1}, {of: cpu, against: "floor", limit: 3}},
}

var runBridge = row{
	name: "run --rm, default bridge",
	contenders: func(l *lab) []contender {
		return slices.Concat(l.floor(), l.bareRuns(), l.every("run", "--rm", image, "true"))
	},
	sample: metered,
	bars: []bar{{of: wall, against: "crun", limit: 1.3}, {of: cpu, against: "floor", limit: 5},
		{of: cpu, against: "docker", limit: 1. / 15}, {of: wall, against: "docker", limit: 1. / 15}},
}

var execRow = row{
	name: "exec C true",
	contenders: func(l *lab) []contender {
		return slices.Concat(l.enterFloor(), l.bareExecs(), l.every("exec", target, "true"))
	},
	sample: metered,
	bars:   []bar{{of: wall, against: "crun", limit: 1}, {of: cpu, against: "floor", limit: 3}},
}

func startRow(together int) row {
	how := "one after another"
	if together > 1 {
		how = fmt.Sprintf("%d at a time", together)
	}
	return row{
		name:       fmt.Sprintf("%d x run -d, default bridge, %s", batch, how),
		contenders: func(l *lab) []contender { return l.every("run", "-d", image, "sleep", "100000") },
		sample:     started(together),
		rounds:     3,
		bars:       []bar{{of: rate, against: "docker", limit: 10, atLeast: true}},
	}
}

var idleRow = row{
	name:       fmt.Sprintf("idle cost of a container (of %d)", idlers),
	contenders: func(l *lab) []contender { return l.every("run", "-d", image, "sleep", "100000") },
	sample:     kept,
	rounds:     1,
	bars:       []bar{{of: memory, limit: 1024}},
}

var versionRow = row{
	name: "version",
	contenders: func(l *lab) []contender {
		empty := contender{name: "empty Go program", command: command{argv: []string{l.empty}}}
		var all []contender
		for _, r := range l.runtimes {
			all = append(all, contender{name: r.name, command: command{argv: []string{r.prefix[0], "--version"}}})
		}
		return append(append(all, empty), contender{name: "berth", command: l.engines[0].command("version")})
	},
	sample: ownTime,
	rounds: 200,
	bars:   []bar{{of: cpu, against: "empty Go program", limit: 1.6}},
}

var psRow = row{
	name:       fmt.Sprintf("ps -a of %d created and %d running", made, batch),
	contenders: func(l *lab) []contender { return l.every("ps", "-a") },
	sample:     metered,
	bars:       []bar{{of: cpu, limit: 10}},
	check: func(l *lab) error {
		_, err := l.lines(1+made+batch, l.engines[0].command("ps", "-a"))
		return err
	},
}

var statsRow = row{
	name:       fmt.Sprintf("stats --no-stream of %d", batch),
	contenders: func(l *lab) []contender { return l.every("stats", "--no-stream") },
	sample:     metered,
	bars:       []bar{{of: wall, limit: 300}},
	check:      trueStats,
}

var commitRow = row{
	name: "commit of 200 MB",
	contenders: func(l *lab) []contender {
		all := l.every("commit", fat, committed)
		for i := range all {
			e := all[i].engine
			all[i].before = flush
			all[i].after = func() error { _, _, err := l.cli.run(e.command("rmi", committed)); return err }
		}
		tar := contender{name: "tar", before: flush, command: command{argv: []string{"tar", "-C", l.tree(), "-cf", l.dir + "/tree.tar", "."}}}
		return append([]contender{tar}, all...)
	},
	sample: metered,
	bars: []bar{{of: wall, against: "tar", limit: 1.5}, {of: cpu, against: "tar", limit: 1.5},
		{of: wall, against: rivals, limit: 1. / 3}, {of: cpu, against: rivals, limit: 1. / 3}},
}

var (
	tracedNone   = tracedRow("of run --rm --network none", "--rm", "--network", "none")
	tracedBridge = tracedRow("of run --rm, default bridge", "--rm")
	tracedKept   = tracedRow("of run, container kept", "--name", "traced")
)

func tracedRow(name string, flags ...string) row {
	return row{
		name: name,
		contenders: func(l *lab) []contender {
			all := append(l.bareRuns(), l.every("run", append(slices.Clone(flags), image, "true")...)...)
			if !slices.Contains(flags, "--rm") {
				for i := range all {
					if e := all[i].engine; e != nil {
						all[i].after = func() error { _, _, err := l.cli.run(e.command("rm", "-f", "traced")); return err }
					}
				}
			}
			return all
		},
		sample: traced,
		rounds: 3,
		bars:   []bar{{of: calls, limit: 1500}, {of: syncs, limit: 2}},
	}
}

// every is the same command of every engine.
func (l *lab) every(verb string, args ...string) []contender {
	var all []contender
	for _, e := range l.engines {
		all = append(all, contender{name: e.name, slow: e.slow, engine: e, command: e.command(verb, args...)})
	}
	return all
}

// floor is the least that can be called a container.
func (l *lab) floor() []contender {
	return []contender{{name: "floor", command: command{argv: []string{"unshare", "-fmpuin", "--mount-proc=" + l.rootfs + "/proc", "chroot", l.rootfs, "/bin/true"}}}}
}

// enterFloor is the least that can be called an exec: into all namespaces of
// the container that berth has running.
func (l *lab) enterFloor() []contender {
	pid, err := l.ask(l.engines[0].command("inspect", "--format", "{{.State.Pid}}", target))
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: no floor for exec: %v\n", err)
		return nil
	}
	return []contender{{name: "floor", command: command{argv: []string{"nsenter", "-t", strings.TrimSpace(pid), "-a", "/bin/true"}}}}
}

func (l *lab) bareRuns() []contender {
	return l.bare(func(r *lowLevel) []string { return []string{"run", "--bundle", l.bundle(r, "true"), "bench-true"} })
}

func (l *lab) bareExecs() []contender {
	return l.bare(func(*lowLevel) []string { return []string{"exec", target, "/bin/true"} })
}

func (l *lab) bare(args func(*lowLevel) []string) []contender {
	var all []contender
	for _, r := range l.runtimes {
		all = append(all, contender{name: r.name, command: command{argv: slices.Concat(r.prefix, args(r))}})
	}
	return all
}
