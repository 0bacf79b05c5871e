package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// metric names a figure and its unit.
type metric string

// The metrics.
const (
	wall   metric = "wall ms"
	cpu    metric = "CPU ms"
	rate   metric = "containers/s"
	memory metric = "private KiB"
	calls  metric = "system calls"
	syncs  metric = "disk syncs"
)

// figures are one sample, or the medians of many.
type figures map[metric]float64

// sampler measures a contender once.
type sampler func(l *lab, c contender) (figures, error)

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// metered takes wall time and the CPU time of everything involved.
func metered(l *lab, c contender) (figures, error) {
	w, u, err := l.cli.meter(c.command)
	return figures{wall: milliseconds(w), cpu: milliseconds(u)}, err
}

// ownTime takes the CPU time that the kernel counted for the process itself:
// exact for a program that starts nothing else.
func ownTime(l *lab, c contender) (figures, error) {
	w, state, err := l.cli.run(c.command)
	if err != nil {
		return nil, err
	}
	return figures{wall: milliseconds(w), cpu: milliseconds(state.UserTime() + state.SystemTime())}, nil
}

// started starts a batch of containers and removes them; only the start is measured.
func started(atOnce int) sampler {
	return func(l *lab, c contender) (figures, error) {
		name := func(i int) string { return fmt.Sprintf("batch%d", i) }
		begin := time.Now()
		err := l.together(batch, atOnce, func(i int) command { return named(c, name(i)) })
		took := time.Since(begin)
		return figures{rate: batch / took.Seconds()}, errorsFirst(err, l.remove(c.engine, batch, name))
	}
}

// kept adds up the private memory of the processes that an engine keeps for
// its idle containers: those that appeared with them on the account and are
// not inside, that is, not in a pid namespace of their own. What a daemon grew
// by is not counted.
func kept(l *lab, c contender) (figures, error) {
	before, err := l.account.processes()
	if err != nil {
		return nil, err
	}
	name := func(i int) string { return fmt.Sprintf("idle%d", i) }
	err = l.together(idlers, 1, func(i int) command { return named(c, name(i)) })
	if err == nil {
		l.cli.do(func() { l.cli.settled() })
		time.Sleep(time.Second)
	}
	after, listErr := l.account.processes()
	total := 0.
	for pid := range after {
		if before[pid] || !outsideContainers(pid) {
			continue
		}
		total += privateKiB(pid)
	}
	return figures{memory: total / idlers}, errorsFirst(err, listErr, l.remove(c.engine, idlers, name))
}

// named gives a run command's container a name.
func named(c contender, name string) command {
	argv := slices.Clone(c.command.argv)
	at := slices.Index(argv, "run") + 1
	return command{argv: slices.Insert(argv, at, "--name", name), env: c.command.env}
}

func (l *lab) remove(e *engine, n int, name func(int) string) error {
	args := []string{"-f"}
	for i := range n {
		args = append(args, name(i))
	}
	_, _, err := l.cli.run(e.command("rm", args...))
	return err
}

func errorsFirst(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// outsideContainers says whether a process is in the bench's pid namespace.
func outsideContainers(pid int) bool {
	its, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "ns/pid"))
	ours, _ := os.Readlink("/proc/self/ns/pid")
	return err == nil && its == ours
}

// privateKiB is the memory that would be free if the process were not there (proc(5), smaps_rollup).
func privateKiB(pid int) float64 {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "smaps_rollup"))
	if err != nil {
		return 0
	}
	return parsePrivate(string(data))
}

func parsePrivate(rollup string) float64 {
	total := 0.
	for line := range strings.Lines(rollup) {
		fields := strings.Fields(line)
		if len(fields) == 3 && (fields[0] == "Private_Clean:" || fields[0] == "Private_Dirty:") {
			n, _ := strconv.ParseFloat(fields[1], 64)
			total += n
		}
	}
	return total
}

// measure lets the contenders of a row take turns and returns each one's medians.
func (l *lab) measure(r row) []result {
	contenders := slices.DeleteFunc(r.contenders(l), func(c contender) bool { return l.out[c.name] })
	rounds, slow := l.o.rounds, min(l.o.slow, l.o.rounds)
	if r.rounds > 0 {
		rounds, slow = r.rounds, r.rounds
	}
	if r.check != nil && !l.out["berth"] {
		if err := r.check(l); err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s: berth does not do it: %v\n", r.name, err)
			contenders = slices.DeleteFunc(contenders, func(c contender) bool { return c.name == "berth" })
		}
	}
	taken := make([]series, len(contenders))
	failed := make([]bool, len(contenders))
	first := 0 // round 0 is the warm-up
	if rounds == 1 {
		first = 1
	}
	for round := first; round <= rounds; round++ {
		for _, i := range rand.Perm(len(contenders)) {
			c := contenders[i]
			// The slow ones' rounds are spread evenly: round k of them is due when k/slow of all have passed.
			if failed[i] || c.slow && round > 0 && round*slow/rounds == (round-1)*slow/rounds {
				continue
			}
			f, err := l.once(r, c)
			switch {
			case err != nil:
				failed[i] = true
				fmt.Fprintf(os.Stderr, "bench: %s: %s drops out: %v\n", r.name, c.name, err)
			case round > 0:
				taken[i] = append(taken[i], f)
			}
		}
	}
	var results []result
	for i, c := range contenders {
		if !failed[i] && len(taken[i]) > 0 {
			results = append(results, result{name: c.name, rival: c.slow, samples: len(taken[i]), figures: taken[i].medians()})
		}
	}
	return results
}

func (l *lab) once(r row, c contender) (figures, error) {
	if c.before != nil {
		if err := c.before(); err != nil {
			return nil, err
		}
	}
	f, err := r.sample(l, c)
	if c.after != nil {
		err = errorsFirst(err, c.after())
	}
	return f, err
}

// series are the samples of a contender.
type series []figures

// medians takes the median of each metric.
func (s series) medians() figures {
	columns := map[metric][]float64{}
	for _, f := range s {
		for m, v := range f {
			columns[m] = append(columns[m], v)
		}
	}
	all := figures{}
	for m, values := range columns {
		all[m] = median(values)
	}
	return all
}

func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	if n%2 == 1 {
		return values[n/2]
	}
	return (values[n/2-1] + values[n/2]) / 2
}
