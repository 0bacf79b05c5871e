package archtest

import (
	"os/exec"
	"strings"
	"testing"
)

// policy says who may import whom. A line is
//
//	packages < packages
//
// and means that those on the left may import those on the right, and all that
// stand in a group on the right. A trailing "/..." takes the packages below
// with it. What is not allowed is forbidden; a package may always import those
// below its own folder. The standard library and other modules are not listed:
// dependency budgets hold those.
//
// The arrows are the design. Do not edit the table to make a build pass: move
// the code, or write an architecture decision record that says why the design changes.
const policy = `
	# the base: standard library only, and each other
	BASE = errdefs ident units cleanup atomicfile filelock buildinfo jsontext jsontext/fields hello
	BASE < BASE

	# the kernel's concepts know nothing of containers
	LINUX = linux/...
	LINUX < BASE LINUX

	# values that travel between the parts
	VALUES = oci reference
	VALUES < BASE VALUES

	# storage and images never meet the runtime
	storage/... < BASE LINUX VALUES storage/...
	image/... < BASE LINUX VALUES storage/... image/...

	# a build makes layers and images; who runs its programs is the caller's matter
	build/plan < VALUES
	build/... < BASE LINUX VALUES storage/... image/... build/...

	# the network is handles and addresses; it knows a container by its id
	network/... < BASE LINUX VALUES container

	# the record of a container; logs and events beside it
	container/... < BASE LINUX VALUES container/...

	# the runtime turns a record into a process
	runtime/... < BASE LINUX container runtime/...

	# the engine ties them together, one file per verb
	engine < BASE LINUX VALUES storage/... image/... network/... container/... runtime/...
	# what the build cache stands on must not be collected as garbage, and is pruned with the rest
	engine < build/cache
	dockercompat < BASE VALUES container/... engine

	# the doors. Of what lies below the engine they use values only: parsers
	# and shapes, and the terminal.
	cli/... < BASE VALUES engine dockercompat cli/... container network storage/archive linux/pty linux/capability
	cli/daemon/... < BASE VALUES LINUX storage/... image/... build/... container/events engine cli/...
`

func TestImports(t *testing.T) {
	allowed := parsePolicy(t)
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}}{{range .Imports}} {{.}}{{end}}", "berth/internal/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	const prefix = "berth/internal/"
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		from := strings.TrimPrefix(f[0], prefix)
		for _, to := range f[1:] {
			if !strings.HasPrefix(to, prefix) {
				continue
			}
			to = strings.TrimPrefix(to, prefix)
			if !strings.HasPrefix(to, from+"/") && !allowed(from, to) {
				t.Errorf("%s must not import %s", from, to)
			}
		}
	}
}

// parsePolicy returns the question "may from import to".
func parsePolicy(t *testing.T) func(from, to string) bool {
	groups := map[string][]string{}
	expand := func(words []string) (list []string) {
		for _, w := range words {
			if g, ok := groups[w]; ok {
				list = append(list, g...)
			} else {
				list = append(list, w)
			}
		}
		return list
	}
	var rules []rule
	for line := range strings.Lines(policy) {
		line, _, _ = strings.Cut(line, "#")
		if name, members, ok := strings.Cut(line, "="); ok {
			groups[strings.TrimSpace(name)] = expand(strings.Fields(members))
		} else if from, to, ok := strings.Cut(line, "<"); ok {
			rules = append(rules, rule{expand(strings.Fields(from)), expand(strings.Fields(to))})
		} else if strings.TrimSpace(line) != "" {
			t.Fatalf("malformed policy line %q", line)
		}
	}
	return func(from, to string) bool {
		for _, r := range rules {
			if matches(r.from, from) && matches(r.to, to) {
				return true
			}
		}
		return false
	}
}

// rule allows every package of from to import every package of to.
type rule struct{ from, to []string }

func matches(patterns []string, pkg string) bool {
	for _, p := range patterns {
		if dir, ok := strings.CutSuffix(p, "/..."); ok {
			if pkg == dir || strings.HasPrefix(pkg, dir+"/") {
				return true
			}
		} else if p == pkg {
			return true
		}
	}
	return false
}
