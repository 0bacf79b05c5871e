// Command build compares `berth build` with BuildKit, which is what `docker
// build` runs: both build the same Dockerfiles with the same flags, and what
// comes of it must be the same image.
//
//	make diff-build                         everything
//	go run ./test/conformance/build -run copy/   (in its folder: go run . -run copy/)
//
// The Dockerfiles are in testdata (see cases.go for their form). For each case
// buildx (on a BuildKit of its own) and berth write an OCI archive, and these
// are compared: whether there was an error, of what class and on which line;
// the config with its history; the number of layers and what each of them names;
// and the tree of files that the layers make, with types, modes, owners, link
// targets, hard links, extended attributes, contents, and those times that are
// the user's. Then both write a tar of the files, which must be the same tree again.
//
// A difference that is meant has a line in the case, and its reason in
// docs/compat.md; one that is listed and no longer there is an error too.
//
// It is a program and not a test of `go test`, because its oracle is compiled
// from source (five minutes, once, into .cache/buildkit) and hundreds of builds
// take minutes more.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

func main() {
	// The kernel ties a death signal of a child to the thread that started it.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == toolName {
		exit(tool(os.Args[2:]))
		return
	}
	only := flag.String("run", "", "run only the cases that this regular expression matches")
	verbose := flag.Bool("v", false, "print the errors of both builders")
	cache := flag.String("cache", "../../../.cache/buildkit", "where the oracle's programs are, or are built")
	flag.Parse()
	pattern, err := regexp.Compile(*only)
	exit(err)
	dir, err := filepath.Abs(*cache)
	exit(err)
	exit(buildOracle(ctx, dir))
	inside, err := isolate(ctx)
	exit(err)
	if !inside {
		return
	}
	differences, err := run(ctx, dir, pattern, *verbose)
	exit(err)
	if differences > 0 {
		os.Exit(1)
	}
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "diff-build:", err)
		os.Exit(1)
	}
}

// run compares all cases and returns how many differences nobody meant.
func run(ctx context.Context, oracleDir string, pattern *regexp.Regexp, verbose bool) (bad int, err error) {
	cases, err := readCases("testdata")
	if err != nil {
		return 0, err
	}
	l, err := newLab(ctx, oracleDir)
	if err != nil {
		return 0, err
	}
	defer func() {
		if cerr := l.close(); err == nil {
			err = cerr
		}
	}()
	compared, meant := 0, 0
	for _, c := range cases {
		if !c.base && !pattern.MatchString(c.name) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return bad, err
		}
		if c.base {
			if err := l.makeBase(ctx, c); err != nil {
				return bad, err
			}
			continue
		}
		compared++
		found, note, err := l.compare(ctx, c)
		if err != nil {
			return bad, fmt.Errorf("%s: %w", c.name, err)
		}
		if verbose && note != "" {
			fmt.Printf("      %-32s %s\n", c.name, note)
		}
		unmeant, expected, gone := c.judge(found)
		meant += expected
		bad += len(unmeant)
		for i, d := range unmeant {
			if i == most {
				fmt.Printf("DIFF  %-32s and %d more\n", c.name, len(unmeant)-most)
				break
			}
			fmt.Printf("DIFF  %-32s %s\n", c.name, d)
		}
		for _, text := range gone {
			bad++
			fmt.Printf("GONE  %-32s %s: there is no such difference any more\n", c.name, text)
		}
	}
	fmt.Printf("%d cases compared, %d differences that are meant, %d that are not\n", compared, meant, bad)
	return bad, nil
}

// most is how many differences of a case are printed.
const most = 8

// difference is one thing in which the two results are not the same.
type difference struct{ what, berth, buildkit string }

func (d difference) String() string {
	return fmt.Sprintf("%s\n        berth    %s\n        buildkit %s", d.what, short(d.berth), short(d.buildkit))
}

func short(s string) string {
	s = strings.ReplaceAll(s, "\n", "⏎")
	if len(s) > 400 {
		s = s[:400] + "…"
	}
	return s
}
