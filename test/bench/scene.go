package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// scene is what has to stand while its rows are measured: the same containers
// in every engine.
type scene struct {
	name    string
	engine  func(l *lab, e *engine) error
	runtime func(l *lab, r *lowLevel) error
	rows    []row
}

// choose returns the rows whose name contains one of the texts.
func (s scene) choose(texts []string) []row {
	var chosen []row
	for _, r := range s.rows {
		if slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(r.name, t) }) {
			chosen = append(chosen, r)
		}
	}
	return chosen
}

// Names of what scenes hold.
const (
	target    = "bench-target"
	fat       = "bench-fat"
	committed = "bench-committed"
)

// raise sets a scene up for every peer. One that fails sits it out.
func (l *lab) raise(s scene) {
	clear(l.out)
	drop := func(name string, err error) {
		if err != nil {
			l.out[name] = true
			fmt.Fprintf(os.Stderr, "bench: %s without %s: %v\n", s.name, name, err)
		}
	}
	if s.engine != nil {
		for _, e := range l.engines {
			drop(e.name, s.engine(l, e))
		}
	}
	if s.runtime != nil {
		for _, r := range l.runtimes {
			drop(r.name, s.runtime(l, r))
		}
	}
}

// strike removes every container of every peer.
func (l *lab) strike(s scene) {
	if s.runtime != nil {
		for _, r := range l.runtimes {
			l.cli.run(command{argv: slices.Concat(r.prefix, []string{"delete", "--force", target})})
		}
	}
	for _, e := range l.engines {
		ids, err := l.ask(e.command("ps", "-aq"))
		if list := strings.Fields(ids); err == nil && len(list) > 0 {
			_, _, err = l.cli.run(e.command("rm", append([]string{"-f"}, list...)...))
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench: cannot remove the containers of %s: %v\n", e.name, err)
		}
	}
}

// ask runs a command for what it prints.
func (l *lab) ask(c command) (string, error) {
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	cmd.Env = append(os.Environ(), c.env...)
	var words bytes.Buffer
	cmd.Stderr = &words
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", c, err, words.Bytes())
	}
	return string(out), nil
}

func oneContainer(l *lab, e *engine) error {
	_, _, err := l.cli.run(e.command("run", "-d", "--name", target, "--network", "none", image, "sleep", "100000"))
	return err
}

func oneBareContainer(l *lab, r *lowLevel) error {
	_, _, err := l.cli.run(command{argv: slices.Concat(r.prefix, []string{"run", "-d", "--bundle", l.bundle(r, "sleep"), target})})
	return err
}

func fleet(l *lab, e *engine) error {
	err := l.together(made, atATime, func(i int) command {
		return e.command("create", "--name", fmt.Sprintf("made%d", i), image, "true")
	})
	if err != nil {
		return err
	}
	return l.together(batch, atATime, func(i int) command {
		return e.command("run", "-d", "--name", fmt.Sprintf("runs%d", i), image, "sleep", "100000")
	})
}

// fatContainer has a copy of the bench's tree in its upper layer.
func fatContainer(l *lab, e *engine) error {
	if err := l.makeTree(); err != nil {
		return err
	}
	_, _, err := l.cli.run(e.command("run", "--name", fat, "-v", l.tree()+":/tree:ro", image, "cp", "-a", "/tree", "/data"))
	return err
}

func (l *lab) tree() string { return filepath.Join(l.dir, "tree") }

// makeTree writes 200 files of 1 MB that do not compress.
func (l *lab) makeTree() error {
	if err := os.Mkdir(l.tree(), 0o755); err != nil {
		if os.IsExist(err) {
			return nil
		}
		return err
	}
	data := make([]byte, 1<<20)
	for i := range 200 {
		rand.Read(data)
		if err := os.WriteFile(filepath.Join(l.tree(), fmt.Sprint(i)), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// flush writes to disk what earlier rounds left dirty, so that a sync inside a
// measured command pays for its own data only.
func flush() error {
	unix.Sync()
	return nil
}

// together runs n commands, so many at a time.
func (l *lab) together(n, atOnce int, c func(i int) command) error {
	next := make(chan int)
	errs := make(chan error, n)
	var crew sync.WaitGroup
	for _, worker := range l.crew[:atOnce] {
		crew.Go(func() {
			for i := range next {
				_, _, err := worker.run(c(i))
				errs <- err
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	crew.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
