package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
)

// options are the flags.
type options struct {
	rounds, slow int
	run          string
	peers        string
	berth        string
	buildkit     string
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 30, "rounds of a row, after one warm-up that is dropped")
	flag.IntVar(&o.slow, "slow", 10, "rounds for docker and podman, spread over the others'")
	flag.StringVar(&o.run, "run", "", "only rows whose name contains one of these texts, separated by |")
	flag.StringVar(&o.peers, "peers", "crun,runc,podman,docker", "what to compare with")
	flag.StringVar(&o.berth, "berth", "bin/berth", "the berth to measure")
	flag.StringVar(&o.buildkit, "buildkit", "", "a directory with buildkitd and buildx, which Debian has not: compare builds with them, too")
	flag.Parse()
	os.Exit(isolated(o, bench))
}

// bench measures the chosen rows and prints the table. The result is the exit
// status: a missed bar is a finding, not a failure, but a row that berth could
// not run is one.
func bench(o options, dir string) (int, error) {
	l, err := newLab(o, dir)
	if err != nil {
		return 1, err
	}
	defer l.close()
	code := 0
	var t table
	for _, s := range scenes() {
		chosen := s.choose(strings.Split(o.run, "|"))
		if len(chosen) == 0 {
			continue
		}
		l.raise(s)
		for _, r := range chosen {
			fmt.Fprintf(os.Stderr, "%s\n", r.name)
			results := l.measure(r)
			if _, ok := find(results, "berth"); !ok {
				code = 1
			}
			t.add(r, results)
		}
		l.strike(s)
	}
	t.print(os.Stdout)
	fmt.Println()
	l.describe(os.Stdout)
	return code, nil
}
