package crash

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// settled waits until nothing of the lab's containers is left: monitors end in
// their own time.
func (l *lab) settled() {
	l.t.Helper()
	l.gone(l.leftovers)
}

// unwired waits until the lab's cables are gone. The kernel takes network
// namespaces down in batches, which may need a second.
func (l *lab) unwired() {
	l.t.Helper()
	l.gone(func() (left []string) {
		veths, err := exec.Command("ip", "-o", "link", "show", "type", "veth").Output()
		if err != nil {
			l.t.Fatal(err)
		}
		for line := range bytes.Lines(veths) {
			left = append(left, "link "+string(line))
		}
		return left
	})
}

func (l *lab) gone(find func() []string) {
	l.t.Helper()
	var left []string
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if left = find(); len(left) == 0 {
			return
		}
	}
	l.t.Fatalf("left behind:\n%s", strings.Join(left, "\n"))
}

// leftovers lists what is there although no container is.
func (l *lab) leftovers() (left []string) {
	for _, dir := range []string{
		l.state + "/active", l.state + "/containers",
		l.state + "/network/endpoints", l.state + "/network/bridge", l.state + "/network/ports",
		l.data + "/containers/names",
	} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			left = append(left, dir+"/"+e.Name())
		}
	}
	entries, _ := os.ReadDir(l.data + "/containers")
	for _, e := range entries {
		if e.Name() != "names" {
			left = append(left, "container "+e.Name())
		}
	}
	if len(l.layers) > 0 {
		for _, name := range l.overlays() {
			if !l.layers[name] {
				left = append(left, "overlay2/"+name)
			}
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		l.t.Fatal(err)
	}
	for line := range bytes.Lines(mounts) {
		at := string(bytes.Fields(line)[4])
		if strings.HasPrefix(at, l.state) || strings.HasPrefix(at, l.data+"/") {
			left = append(left, "mount "+at)
		}
	}
	ids := l.everMade()
	return append(append(left, cgroups(ids)...), processes(ids)...)
}

// overlays returns the names in the layer store, with those of the short links.
func (l *lab) overlays() (names []string) {
	for _, dir := range []string{"", "l/"} {
		entries, _ := os.ReadDir(l.data + "/overlay2/" + dir)
		for _, e := range entries {
			names = append(names, dir+e.Name())
		}
	}
	return names
}

// everMade returns the ids of all containers of the lab, from the journal of events.
func (l *lab) everMade() (ids []string) {
	text, _ := os.ReadFile(l.state + "/events.log")
	for line := range bytes.Lines(text) {
		var e struct {
			Action string
			Actor  struct{ ID string }
		}
		if json.Unmarshal(line, &e) == nil && e.Action == "create" {
			ids = append(ids, e.Actor.ID)
		}
	}
	return ids
}

// cgroups lists the groups of the containers, in every hierarchy and below every parent.
func cgroups(ids []string) (left []string) {
	for _, pattern := range []string{"/sys/fs/cgroup/*/*", "/sys/fs/cgroup/*/*/*"} {
		dirs, _ := filepath.Glob(pattern)
		for _, d := range dirs {
			if slices.Contains(ids, filepath.Base(d)) {
				left = append(left, "cgroup "+d)
			}
		}
	}
	return left
}

// processes lists the monitors of the containers. What a container runs is in its cgroup.
func processes(ids []string) (left []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		text, _ := os.ReadFile(f)
		if !bytes.HasPrefix(text, []byte("berth-")) {
			continue
		}
		for arg := range bytes.SplitSeq(text, []byte{0}) {
			if slices.Contains(ids, string(arg)) {
				left = append(left, fmt.Sprintf("process %s %q", filepath.Base(filepath.Dir(f)), text))
			}
		}
	}
	return left
}
