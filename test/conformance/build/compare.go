package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// lab has both builders, and a folder for each case.
type lab struct {
	dir, bases string
	berth      string
	env        []string
	oracle     *oracle
	servers    *servers
	contexts   []string // flags that name the bases
	// since is earlier than everything that this run makes.
	since time.Time
}

func newLab(ctx context.Context, oracleDir string) (_ *lab, err error) {
	dir, err := os.MkdirTemp("", "diff-build")
	if err != nil {
		return nil, err
	}
	l := &lab{dir: dir, bases: filepath.Join(dir, "bases"), berth: filepath.Join(dir, "bin", "berth"), since: time.Now().Add(-time.Hour)}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	l.env = append(os.Environ(), "BERTH_DATA_ROOT="+filepath.Join(dir, "data"), "BERTH_STATE_ROOT="+filepath.Join(dir, "state"))
	for _, b := range []struct{ in, pkg string }{{"../../..", "./cmd/berth"}, {"../../..", "./cmd/berthd"}, {".", "."}} {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, "bin")+"/", b.pkg)
		cmd.Dir, cmd.Env = b.in, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return l, fmt.Errorf("go build %s: %w: %s", b.pkg, err, out)
		}
	}
	if l.servers, err = serve(filepath.Join(dir, "served")); err != nil {
		return l, err
	}
	l.oracle, err = startOracle(ctx, oracleDir, filepath.Join(dir, "oracle"))
	return l, err
}

func (l *lab) close() error {
	var errs []error
	if l.oracle != nil {
		errs = append(errs, l.oracle.close())
	}
	if l.servers != nil {
		errs = append(errs, l.servers.close())
	}
	return errors.Join(append(errs, os.RemoveAll(l.dir))...)
}

// prepare makes the folder of a case.
func (l *lab) prepare(ctx context.Context, c *testCase) (string, error) {
	dir := filepath.Join(l.dir, "cases", c.name)
	if err := c.write(dir); err != nil {
		return "", err
	}
	if c.setup == "" {
		return dir, nil
	}
	cmd := exec.CommandContext(ctx, "sh", "-eu", "-c", c.setup)
	cmd.Dir = filepath.Join(dir, "ctx")
	cmd.Env = append(os.Environ(), "TOOL="+filepath.Join(l.dir, "bin", "build")+" "+toolName, "SERVED="+filepath.Join(l.dir, "served"), "GIT_CONFIG_GLOBAL=/dev/null")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("setup of %s: %w: %s", c.name, err, out)
	}
	return dir, nil
}

// makeBase builds an image for the others to stand on.
func (l *lab) makeBase(ctx context.Context, c *testCase) error {
	dir, err := l.prepare(ctx, c)
	if err != nil {
		return err
	}
	name := filepath.Base(c.name)
	to := filepath.Join(l.bases, name)
	args := append([]string{"build", "--progress=plain", "-o", "type=oci,tar=false,name=" + name + ":latest,dest=" + to}, l.contexts...)
	b, err := execute(ctx, dir, l.oracle.env, nil, l.oracle.buildx, append(append(args, c.flags...), "ctx")...)
	if err == nil && !b.ok {
		err = errors.New(b.err)
	}
	if err != nil {
		return fmt.Errorf("cannot make the base image %s: %w", c.name, err)
	}
	l.contexts = append(l.contexts, "--build-context", name+"=oci-layout://"+to+":latest")
	return nil
}

// compare builds a case twice. The note has what both say of an error.
func (l *lab) compare(ctx context.Context, c *testCase) (found []difference, note string, err error) {
	dir, err := l.prepare(ctx, c)
	if err != nil {
		return nil, "", err
	}
	archives := [2]string{filepath.Join(dir, "berth.tar"), filepath.Join(dir, "buildkit.tar")}
	ours, theirs, err := l.both(ctx, c, dir, "oci", archives)
	if err != nil {
		return nil, "", err
	}
	if !ours.ok || !theirs.ok {
		note = fmt.Sprintf("\n        berth    %s\n        buildkit %s", failure(ours), failure(theirs))
		return compareFailures(ours, theirs), note, nil
	}
	berth, err := readImage(archives[0])
	if err != nil {
		return nil, "", fmt.Errorf("berth's archive: %w", err)
	}
	buildkit, err := readImage(archives[1])
	if err != nil {
		return nil, "", fmt.Errorf("BuildKit's archive: %w", err)
	}
	found = slices.Concat(compareConfigs(berth, buildkit), compareLayers(berth, buildkit), compareTrees("file", berth.files, buildkit.files, l.since))
	more, err := l.compareTars(ctx, c, dir, archives)
	return append(found, more...), "", err
}

// both runs both builders, one after the other.
func (l *lab) both(ctx context.Context, c *testCase, dir, kind string, to [2]string) (berth, buildkit built, err error) {
	args := func(i int) []string {
		list := append([]string{"build", "--progress=plain", "--provenance=false", "-o", "type=" + kind + ",dest=" + to[i]}, l.contexts...)
		return append(append(list, c.flags...), c.context)
	}
	if berth, err = execute(ctx, dir, l.env, nil, l.berth, args(0)...); err != nil {
		return berth, buildkit, err
	}
	buildkit, err = execute(ctx, dir, l.oracle.env, nil, l.oracle.buildx, args(1)...)
	return berth, buildkit, err
}

// compareTars builds again, from the cache, into a tar of the files.
func (l *lab) compareTars(ctx context.Context, c *testCase, dir string, to [2]string) ([]difference, error) {
	ours, theirs, err := l.both(ctx, c, dir, "tar", to)
	if err != nil {
		return nil, err
	}
	if !ours.ok || !theirs.ok {
		return []difference{{"a tar", failure(ours), failure(theirs)}}, nil
	}
	var trees [2]tree
	for i, name := range to {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		entries, err := readTar(f)
		f.Close()
		if err != nil {
			return nil, err
		}
		trees[i] = tree{}
		if err := trees[i].apply(entries); err != nil {
			return nil, err
		}
	}
	return compareTrees("tar", trees[0], trees[1], l.since), nil
}

func compareConfigs(berth, buildkit *image) (found []difference) {
	add := func(what, x, y string) {
		if x != y {
			found = append(found, difference{what, x, y})
		}
	}
	a, b := berth.config, buildkit.config
	add("platform", strings.Join([]string{a.OS, a.OSVersion, a.Architecture, a.Variant}, " "), strings.Join([]string{b.OS, b.OSVersion, b.Architecture, b.Variant}, " "))
	add("author", a.Author, b.Author)
	keys := map[string]bool{}
	for k := range a.Config {
		keys[k] = true
	}
	for k := range b.Config {
		keys[k] = true
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		add("config "+k, string(a.Config[k]), string(b.Config[k]))
	}
	for i := range max(len(berth.created), len(buildkit.created)) {
		add(fmt.Sprintf("history %d", i+1), at(berth.created, i), at(buildkit.created, i))
	}
	return found
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return "nothing"
}

// compareLayers compares what each layer names: a layer that has a file which
// did not change makes the same tree, but is larger than it need be. Files that
// say what is gone are left to the trees: it can be said in several ways.
func compareLayers(berth, buildkit *image) (found []difference) {
	if x, y := len(berth.layers), len(buildkit.layers); x != y {
		return []difference{{"number of layers", fmt.Sprint(x), fmt.Sprint(y)}}
	}
	for i := range berth.layers {
		x, y := named(berth.layers[i]), named(buildkit.layers[i])
		only := func(in, notIn []string) string {
			return fmt.Sprintf("only here: %q", slices.DeleteFunc(slices.Clone(in), func(s string) bool { return slices.Contains(notIn, s) }))
		}
		if !slices.Equal(x, y) {
			found = append(found, difference{fmt.Sprintf("layer %d", i+1), only(x, y), only(y, x)})
		}
	}
	return found
}

// named returns the paths of a layer's files that are there.
func named(layer map[string]*entry) (list []string) {
	for _, name := range slices.Sorted(maps.Keys(layer)) {
		if !strings.HasPrefix(path.Base(name), whiteout) {
			list = append(list, name)
		}
	}
	return list
}
