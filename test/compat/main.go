// Command compat tries berth's builder on Dockerfiles of other projects, which
// are kept out of this repository:
//
//	compat DIR
//
// DIR holds a folder for each project:
//
//	NAME/Dockerfile
//	NAME/flags        more arguments of `berth build`, one on each line (optional)
//	NAME/context/     what COPY reads (optional)
//
// Every Dockerfile is parsed, and planned for each of its stages as the target
// and for several platforms. No image is fetched for that: a stand-in answers
// for every name. Those that have a context are built, too, with the images
// that berth's store holds (BERTH_DATA_ROOT) or that the flags name by
// --build-context; what the build said is left in NAME/build.log.
//
// One row is printed for each project. The exit status is 1 if a Dockerfile
// could not be planned or built.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"berth/internal/oci"
)

func main() {
	berth := flag.String("berth", "bin/berth", "the berth that builds")
	platforms := flag.String("platform", "linux/amd64,linux/arm64", "what to plan for")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: compat [-berth FILE] [-platform LIST] DIR")
		os.Exit(2)
	}
	ok, err := survey(os.Stdout, flag.Arg(0), *berth, *platforms)
	if err != nil {
		fmt.Fprintln(os.Stderr, "compat:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// survey tries all projects below dir and prints the table. ok says that
// nothing failed; an error, that nothing could be tried.
func survey(out io.Writer, dir, berth, platforms string) (ok bool, err error) {
	var wanted []oci.Platform
	for name := range strings.SplitSeq(platforms, ",") {
		p, err := oci.ParsePlatform(name)
		if err != nil {
			return false, err
		}
		wanted = append(wanted, p)
	}
	texts, err := filepath.Glob(filepath.Join(dir, "*", "Dockerfile"))
	if err != nil || len(texts) == 0 {
		return false, fmt.Errorf("no NAME/Dockerfile below %s", dir)
	}
	table := tabwriter.NewWriter(out, 0, 1, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tSTAGES\tSTEPS\tPARSES\tPLANS\tBUILDS\tWHAT FAILED")
	ok = true
	for _, text := range texts {
		p, err := openProject(filepath.Dir(text))
		if err != nil {
			return false, err
		}
		o := p.try(context.Background(), berth, wanted)
		ok = ok && o.failure == ""
		fmt.Fprintf(table, "%s\t%d\t%d\t%s\t%d of %d\t%s\t%s\n", p.name, o.stages, o.steps, o.parses, o.planned, o.plans, o.builds, o.failure)
	}
	return ok, table.Flush()
}
