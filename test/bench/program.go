package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// goImage is the bench's root file system with Go in it. Go's own programs are
// static, and without cgo so are those that it makes: there is no C library.
const goImage = "bench-go"

// programScene measures how long a user waits for a real program: modules are
// fetched and everything is compiled, down to the standard library.
var programScene = scene{name: "a Go program in two stages", engine: goProgram, rows: []row{{
	name: "build: a Go program in two stages, cold",
	contenders: func(l *lab) []contender {
		return l.builds("program", "--no-cache", "--build-arg", "GOPROXY="+l.modules)
	},
	sample: metered,
	rounds: 3,
	bars:   []bar{{of: wall, against: rivals, limit: 1}, {of: cpu, against: rivals, limit: 1}},
	check:  builtProgram,
}}}

const programDockerfile = `FROM ` + goImage + ` AS build
ENV PATH=/usr/local/go/bin:/usr/sbin:/usr/bin:/sbin:/bin CGO_ENABLED=0 GOTOOLCHAIN=local GOPATH=/go GOCACHE=/tmp/go-build
WORKDIR /src
COPY go.mod go.sum ./
ARG GOPROXY
RUN go mod download
COPY . .
RUN go build -trimpath -ldflags "-s -w" -o /out/program .

FROM ` + image + `
COPY --from=build /out/program /bin/program
RUN program languages de en > /languages
ENTRYPOINT ["program"]
CMD ["languages", "fr"]
`

const programModule = `module example.com/program

go 1.25

require (
	github.com/spf13/cobra v1.10.2
	golang.org/x/text v0.30.0
	gopkg.in/yaml.v3 v3.0.1
)
`

const programSource = `// Command program says what languages are called in themselves.
package main

import (
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
	"gopkg.in/yaml.v3"
)

func main() {
	root := &cobra.Command{Use: "program", SilenceUsage: true}
	root.AddCommand(&cobra.Command{Use: "languages TAG...", Args: cobra.MinimumNArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		names := map[string]string{}
		for _, arg := range args {
			tag, err := language.Parse(arg)
			if err != nil {
				return err
			}
			names[arg] = display.Self.Name(tag)
		}
		return yaml.NewEncoder(cmd.OutOrStdout()).Encode(names)
	}})
	if root.Execute() != nil {
		os.Exit(1)
	}
}
`

// goProgram gives an engine the image; for the first it makes it, and the context.
func goProgram(l *lab, e *engine) error {
	archive := filepath.Join(l.dir, goImage+".tar")
	if _, err := os.Stat(archive); err != nil {
		if err := l.packGo(archive); err != nil {
			return err
		}
		if err := l.writeProgram(); err != nil {
			return err
		}
	}
	if _, _, err := l.cli.run(e.command("import", archive, goImage)); err != nil {
		return err
	}
	if e.name == "berth" && l.buildx != nil {
		return l.buildx.learn(l, goImage)
	}
	return nil
}

// packGo writes the root file system and this machine's Go as one tar, less
// what no build of a program reads.
func (l *lab) packGo(archive string) error {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env GOROOT: %w", err)
	}
	tree := strings.TrimSpace(string(out))
	for _, args := range [][]string{
		{"-C", l.rootfs, "-cf", archive, "."},
		{"-C", tree, "-rf", archive, "--transform", "s,^,usr/local/go/,", "--exclude", "testdata", "--exclude", "*_test.go", "--exclude", "src/cmd",
			"VERSION", "go.env", "bin", "lib", "pkg", "src"},
	} {
		if out, err := exec.Command("tar", args...).CombinedOutput(); err != nil {
			os.Remove(archive)
			return fmt.Errorf("pack Go of %s: %w: %s", tree, err, out)
		}
	}
	return nil
}

// writeProgram writes the context, with the sums of the modules as Go finds them.
func (l *lab) writeProgram() error {
	proxy, err := l.offerModules()
	if err != nil {
		return err
	}
	dir := l.context("program")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range map[string]string{"Dockerfile": programDockerfile, "go.mod": programModule, "main.go": programSource} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	tidy := exec.Command("go", "mod", "tidy")
	tidy.Dir = dir
	tidy.Env = append(os.Environ(), "GOPROXY="+proxy, "GOSUMDB=off", "GOFLAGS=-modcacherw", "GOMODCACHE="+filepath.Join(l.dir, "modules"))
	if out, err := tidy.CombinedOutput(); err != nil {
		return fmt.Errorf("go mod tidy: %w: %s", err, out)
	}
	return nil
}

// builtProgram holds berth's build to a program that works.
func builtProgram(l *lab) error {
	e := l.engines[0]
	if _, _, err := l.cli.run(l.builds("program", "--build-arg", "GOPROXY="+l.modules)[0].command); err != nil {
		return err
	}
	out, err := l.ask(e.command("run", "--rm", "bench-built-program"))
	if err == nil && strings.TrimSpace(out) != "fr: français" {
		err = fmt.Errorf("the program that was built says %q", out)
	}
	return err
}
