package system

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"berth/internal/cli/command"
	"berth/internal/cli/streams"
	"berth/internal/engine"
)

func TestEventFormats(t *testing.T) {
	at := time.Date(2026, 5, 4, 12, 0, 0, 5, time.UTC)
	m := newEventMessage(&engine.Event{Time: at, Type: "container", Action: "die", ID: "abc", Attr: map[string]string{"image": "busybox", "exitCode": "3"}})
	for format, want := range map[string]string{
		"": at.Local().Format("2006-01-02T15:04:05.000000000Z07:00") + " container die abc (exitCode=3, image=busybox)\n",
		"json": `{"status":"die","id":"abc","from":"busybox","Type":"container","Action":"die","Actor":{"ID":"abc","Attributes":{"exitCode":"3","image":"busybox"}},` +
			`"scope":"local","time":1777896000,"timeNano":1777896000000000005}` + "\n",
		"{{.Action}} {{.Actor.Attributes.exitCode}}": "die 3\n",
	} {
		var b bytes.Buffer
		if err := printEvent(&b, format, m); err != nil || b.String() != want {
			t.Errorf("%q: %v\n got %s\nwant %s", format, err, b.String(), want)
		}
	}
}

func TestInfo(t *testing.T) {
	var out, errs bytes.Buffer
	env := command.New(&streams.Streams{Out: &out, Err: &errs})
	err := printInfo(env, &engine.Info{
		Containers: 3, ContainersRunning: 1, Driver: "overlay2", DockerRootDir: "/r", MemTotal: 8 << 30, NCPU: 2,
		DriverStatus: [][2]string{{"Backing Filesystem", "extfs"}}, SecurityOptions: []string{"name=seccomp,profile=builtin"},
		Features: [][2]string{{"clone3", "yes"}}, Warnings: []string{"no swap limit"},
		UserNamespaceIDs: "5-9 (the default)",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\nServer:\n Containers: 3\n  Running: 1\n", " Storage Driver: overlay2\n  Backing Filesystem: extfs\n", " Total Memory: 8GiB\n",
		" Docker Root Dir: /r\n", " Security Options:\n  seccomp,profile=builtin\n", " User Namespace IDs: 5-9 (the default)\n Kernel Features:\n  clone3: yes\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if errs.String() != "WARNING: no swap limit\n" {
		t.Errorf("stderr %q", errs.String())
	}
}

func TestPruneWarning(t *testing.T) {
	all := (&pruneOptions{all: true, volumes: true}).warning()
	if !strings.Contains(all, "all images without") || !strings.Contains(all, "anonymous volumes") {
		t.Errorf("-a --volumes: %s", all)
	}
	if few := (&pruneOptions{}).warning(); !strings.Contains(few, "all dangling images") || strings.Contains(few, "volumes") {
		t.Errorf("plain: %s", few)
	}
}
