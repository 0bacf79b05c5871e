package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// manyFiles is how many files the large build context has.
const manyFiles = 50_000

// buildScene measures builds: nothing has to stand but the contexts.
var buildScene = scene{name: "build contexts", engine: buildContexts, rows: []row{
	cachedBuildRow("ten steps in three stages, cached", "small", bar{of: cpu, limit: 40}, bar{of: wall, against: "docker classic", limit: 1. / 4}, bar{of: wall, against: "buildx", limit: 1. / 10}),
	cachedBuildRow(fmt.Sprintf("the same with a context of %d files, cached", manyFiles), "large", bar{of: wall, against: "buildx", limit: 1. / 5}),
	changedBuildRow,
	coldBuildRow,
}}

// staged is a Dockerfile of ten steps in three stages.
const staged = `FROM ` + image + ` AS tools
RUN mkdir /tools
RUN echo tool > /tools/tool
COPY a.txt /tools/
FROM ` + image + ` AS app
WORKDIR /app
COPY b.txt .
RUN cat b.txt > out
FROM ` + image + `
ENV MODE=fast
COPY --from=tools /tools /tools
COPY --from=app /app/out /out
RUN cat /out
CMD ["cat", "/out"]
`

func (l *lab) context(name string) string { return filepath.Join(l.dir, "build", name) }

// buildContexts writes the contexts once, for all engines.
func buildContexts(l *lab, _ *engine) error {
	if err := os.Mkdir(filepath.Join(l.dir, "build"), 0o755); err != nil {
		if os.IsExist(err) {
			return nil
		}
		return err
	}
	for _, name := range []string{"small", "large", "changed", "cold"} {
		dir := l.context(name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		text := staged
		if name == "cold" {
			text = "FROM " + image + "\n" + strings.Repeat("RUN true\n", 10)
		}
		for file, text := range map[string]string{"Dockerfile": text, "a.txt": "a\n", "b.txt": "b\n"} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
				return err
			}
		}
	}
	return fillContext(filepath.Join(l.context("large"), "many"))
}

// fillContext writes many small files, a hundred in each directory. The large
// Dockerfile copies none of them, but a builder cannot know that before it has
// read it.
func fillContext(dir string) error {
	for i := range manyFiles {
		d := filepath.Join(dir, fmt.Sprint(i/100))
		if i%100 == 0 {
			if err := os.MkdirAll(d, 0o755); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(d, fmt.Sprint(i)), []byte(fmt.Sprintln("file", i)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// builds is every builder's way to build a context.
func (l *lab) builds(context string, flags ...string) []contender {
	var all []contender
	args := func(more ...string) []string { return slices.Concat(more, flags, []string{l.context(context)}) }
	for _, e := range l.engines {
		tag := []string{"-t", "bench-built-" + context}
		c := contender{name: e.name, slow: e.slow, engine: e, command: e.command("build", args(tag...)...)}
		if e.name != "docker" {
			all = append(all, c)
			continue
		}
		classic := c
		c.command.env = append(slices.Clone(e.env), "DOCKER_BUILDKIT=1")
		classic.name, classic.command.env = "docker classic", append(slices.Clone(e.env), "DOCKER_BUILDKIT=0")
		all = append(all, c, classic)
	}
	if b := l.buildx; b != nil {
		all = append(all, contender{name: "buildx", slow: true, command: b.build("bench-built-"+context, args())})
	}
	return all
}

func cachedBuildRow(name, context string, bars ...bar) row {
	return row{
		name:       "build: " + name,
		contenders: func(l *lab) []contender { return l.builds(context) },
		sample:     metered,
		bars:       bars,
	}
}

// changedBuildRow changes a file that one COPY of the last stage's inputs reads.
var changedBuildRow = row{
	name: "build: one COPY layer changed",
	contenders: func(l *lab) []contender {
		all := l.builds("changed")
		edition := 0
		for i := range all {
			all[i].before = func() error {
				edition++
				return os.WriteFile(filepath.Join(l.context("changed"), "a.txt"), []byte(fmt.Sprintln("edition", edition)), 0o644)
			}
		}
		return all
	},
	sample: metered,
	bars:   []bar{{of: wall, against: "buildx", limit: 1. / 3}},
}

var coldBuildRow = row{
	name:       "build: ten RUN true, no cache",
	contenders: func(l *lab) []contender { return l.builds("cold", "--no-cache") },
	sample:     metered,
	bars:       []bar{{of: wall, against: "buildx", limit: 1. / 8}, {of: wall, against: "docker classic", limit: 1. / 8}},
}
