// Package dockerfile compares berth's reading of Dockerfiles with BuildKit's own
// translation (dockerfile2llb), file by file: what goes into the image's
// config, its history, what every RUN, COPY, ADD and WORKDIR does, what the
// linter says, and which texts are refused. It is a module of its own so that
// the oracle and its fifty modules stay out of berth's dependencies.
package dockerfile

import (
	"encoding/json"
	"path"
	"slices"
	"strings"

	"berth/internal/oci"
)

// facts are what both sides are asked for. Lists are sorted: the two number and
// order their operations differently.
type facts struct {
	Config   oci.RunConfig
	Author   string
	Platform string
	History  []string
	Runs     []string
	Copies   []string
	Dirs     []string
	Files    []string // here-documents
	Warnings []string
	// Nowhere are warnings that BuildKit gives no line; berth does.
	Nowhere []string
}

func (f *facts) sort() {
	for _, l := range []*[]string{&f.Runs, &f.Copies, &f.Dirs, &f.Files, &f.Warnings} {
		slices.Sort(*l)
		*l = slices.Compact(*l)
	}
}

// difference names what differs, or is "".
func difference(want, got *facts) string {
	got.Warnings = slices.DeleteFunc(got.Warnings, func(w string) bool {
		_, text, _ := strings.Cut(w, " ")
		return slices.Contains(want.Nowhere, text) && !slices.Contains(want.Warnings, w)
	})
	var b strings.Builder
	compare := func(name string, want, got any) {
		w, _ := json.Marshal(want)
		g, _ := json.Marshal(got)
		if string(w) != string(g) {
			b.WriteString(name + "\n  want " + string(w) + "\n  got  " + string(g) + "\n")
		}
	}
	compare("config", want.Config, got.Config)
	compare("author", want.Author, got.Author)
	compare("platform", want.Platform, got.Platform)
	for _, l := range []struct {
		name      string
		want, got []string
	}{
		{"history", want.History, got.History}, {"run", want.Runs, got.Runs}, {"copy", want.Copies, got.Copies},
		{"directory", want.Dirs, got.Dirs}, {"file", want.Files, got.Files}, {"warning", want.Warnings, got.Warnings},
	} {
		for i := range max(len(l.want), len(l.got)) {
			compare(l.name, at(l.want, i), at(l.got, i))
		}
	}
	return b.String()
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return "(none)"
}

// clean makes the two ways to write a destination equal.
func clean(p string) string {
	dir := strings.HasSuffix(p, "/") || strings.HasSuffix(p, "/.")
	if p = path.Clean(p); dir && p != "/" {
		p += "/"
	}
	return p
}

// owner writes --chown as "user:group"; root is 0, and so is no user.
func owner(chown string) string {
	if chown == "" {
		return ""
	}
	user, group, _ := strings.Cut(chown, ":")
	if user == "" || user == "root" {
		user = "0"
	}
	if group == "root" {
		group = "0"
	}
	return user + ":" + group
}
