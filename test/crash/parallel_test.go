package crash

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// together runs n commands at once.
func (l *lab) together(n int, args func(i int) []string) []result {
	l.t.Helper()
	results := make([]result, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { results[i] = l.berth(args(i)...) })
	}
	wg.Wait()
	return results
}

func TestHundredContainers(t *testing.T) {
	const n = 100
	l := newLab(t)
	for i, r := range l.together(n, func(i int) []string {
		return []string{"run", "-d", "--name", fmt.Sprintf("c%d", i), "--rootfs", rootfs, "sleep", "1000"}
	}) {
		if r.code != 0 {
			t.Errorf("run %d: %+v", i, r)
		}
	}
	if got := len(strings.Fields(l.must("ps", "-q"))); got != n {
		t.Errorf("%d containers run", got)
	}
	addresses := map[string]bool{}
	for line := range strings.Lines(l.must(append([]string{"inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}"}, strings.Fields(l.must("ps", "-q"))...)...) + "\n") {
		addresses[line] = true
	}
	if len(addresses) != n {
		t.Errorf("%d addresses", len(addresses))
	}
	for i, r := range l.together(n, func(i int) []string { return []string{"rm", "-f", fmt.Sprintf("c%d", i)} }) {
		if r.code != 0 {
			t.Errorf("rm %d: %+v", i, r)
		}
	}
	l.settled()
}

func TestOneNameForMany(t *testing.T) {
	l := newLab(t)
	winners := 0
	for _, r := range l.together(64, func(int) []string {
		return []string{"run", "-d", "--name", "x1", "--network", "none", "-v", rootfs + "/bin:/bin", "--entrypoint", "/bin/sleep", "hello", "1000"}
	}) {
		switch {
		case r.code == 0:
			winners++
		case r.code != 125 || !strings.Contains(r.err, `The container name "/x1" is already in use by container`) || strings.Count(r.err, "\n") > 2:
			t.Errorf("a loser: %+v", r)
		}
	}
	if got := l.must("ps", "-a", "--format", "{{.Names}} {{.State}}"); winners != 1 || got != "x1 running" {
		t.Errorf("%d winners; ps: %s", winners, got)
	}
	l.must("rm", "-f", "x1")
	l.settled()
}

// TestRaces has eight processes do contrary things to one container.
func TestRaces(t *testing.T) {
	l := newLab(t)
	verbs := [][]string{
		{"start", "x1"}, {"stop", "x1"}, {"rm", "-f", "x1"}, {"restart", "x1"},
		{"run", "-d", "--name", "x1", "-v", rootfs + "/bin:/bin", "--entrypoint", "/bin/sleep", "hello", "1000"},
	}
	for round := range 5 {
		for i, r := range l.together(8, func(i int) []string { return verbs[(i+round)%len(verbs)] }) {
			verb := verbs[(i+round)%len(verbs)][0]
			if strings.Contains(r.err, "panic") || r.code > 1 && !(verb == "run" && r.code == 125) || strings.Contains(r.err, "is in use by another command") {
				t.Errorf("round %d: %s: %+v", round, verb, r)
			}
		}
	}
	l.berth("rm", "-f", "x1")
	l.settled()
}
