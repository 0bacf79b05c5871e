package image

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/cli/command"
	"berth/internal/cli/output"
	"berth/internal/cli/streams"
	"berth/internal/engine"
)

var now = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func id(c string) string { return "sha256:" + strings.Repeat(c, 64) }

func testImages() []engine.ImageSummary {
	return []engine.ImageSummary{
		{ID: id("a"), RepoTags: []string{"busybox:latest", "localhost:5000/x/y:1"}, RepoDigests: []string{"busybox@" + id("b")}, Created: now.Add(-20 * 24 * time.Hour), Size: 4261550, Containers: -1},
		{ID: id("c"), Created: now.Add(-31 * time.Second), Size: 123456789, Containers: 2},
		{ID: id("d"), RepoDigests: []string{"foo@" + id("e")}, Created: now.Add(-31 * time.Second), Size: 999, Containers: -1},
	}
}

// The tables are those of Docker's client 28.2 for the same images.
func TestTables(t *testing.T) {
	for _, c := range []struct {
		digests bool
		format  output.Format
		want    string
	}{
		{false, "", `REPOSITORY           TAG       IMAGE ID       CREATED          SIZE
busybox              latest    aaaaaaaaaaaa   2 weeks ago      4.26MB
localhost:5000/x/y   1         aaaaaaaaaaaa   2 weeks ago      4.26MB
<none>               <none>    cccccccccccc   31 seconds ago   123MB
foo                  <none>    dddddddddddd   31 seconds ago   999B
`},
		{true, "", `REPOSITORY           TAG       DIGEST                                                                    IMAGE ID       CREATED          SIZE
busybox              latest    sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb   aaaaaaaaaaaa   2 weeks ago      4.26MB
localhost:5000/x/y   1         <none>                                                                    aaaaaaaaaaaa   2 weeks ago      4.26MB
<none>               <none>    <none>                                                                    cccccccccccc   31 seconds ago   123MB
foo                  <none>    sha256:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee   dddddddddddd   31 seconds ago   999B
`},
		{false, "{{.Repository}}:{{.Tag}} {{.Containers}}", "busybox:latest N/A\nlocalhost:5000/x/y:1 N/A\n<none>:<none> 2\nfoo:<none> N/A\n"},
	} {
		var rows []imageRow
		list := testImages()
		for i := range list {
			rows = append(rows, imageRows(&list[i], c.digests, now, true)...)
		}
		var b bytes.Buffer
		if err := output.List(&b, c.format, imageColumns(c.digests), imageHeadings(), rows); err != nil || b.String() != c.want {
			t.Errorf("digests %v %q: %v\n got %s\nwant %s", c.digests, c.format, err, b.String(), c.want)
		}
	}
}

func TestHistoryTable(t *testing.T) {
	list := []engine.HistoryRow{
		{ID: id("a"), Created: now.Add(-time.Minute), CreatedBy: "/bin/sh -c echo hello world this is a long command line that is cut", Size: 1234567, Comment: "c"},
		{ID: "<missing>", Created: now.Add(-time.Minute), CreatedBy: "CMD"},
	}
	for human, want := range map[bool]string{
		true: "IMAGE          CREATED              CREATED BY                                      SIZE      COMMENT\n" +
			"aaaaaaaaaaaa   About a minute ago   /bin/sh -c echo hello world this is a long c…   1.23MB    c\n" +
			"<missing>      About a minute ago   CMD                                             0B        \n",
		false: "IMAGE          CREATED AT             CREATED BY                                      SIZE      COMMENT\n" +
			"aaaaaaaaaaaa   2026-05-04T11:59:00Z   /bin/sh -c echo hello world this is a long c…   1234567   c\n" +
			"<missing>      2026-05-04T11:59:00Z   CMD                                             0         \n",
	} {
		rows := []historyRow{{&list[0], now, human, true}, {&list[1], now, human, true}}
		var b bytes.Buffer
		err := output.List(&b, "", historyColumns(human), historyHeadings(), rows)
		if got := strings.ReplaceAll(b.String(), now.Add(-time.Minute).Local().Format(time.RFC3339), "2026-05-04T11:59:00Z"); err != nil || got != want {
			t.Errorf("human %v: %v\n got %s\nwant %s", human, err, got, want)
		}
	}
}

func TestRemovedLines(t *testing.T) {
	removed := []engine.RemovedImage{{Untagged: "a:1"}, {Deleted: id("a")}}
	if got := strings.Join(removedLines(removed), "\n"); got != "Untagged: a:1\nDeleted: "+id("a") {
		t.Errorf("rmi: %s", got)
	}
	if got := strings.Join(pruneLines(removed), "\n"); got != "untagged: a:1\ndeleted: "+id("a") {
		t.Errorf("prune: %s", got)
	}
}

func TestSiblingPath(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", "relative:"+dir)
	if p, err := siblingPath(); err == nil {
		t.Skipf("berthd stands beside the test: %s", p)
	}
	env := command.New(&streams.Streams{})
	cmd := NewSibling(env, "pull", "NAME", "", "")
	if err := cmd.RunE(cmd, []string{"x"}); err == nil || !strings.Contains(err.Error(), "berthd: not found beside berth nor in PATH") {
		t.Errorf("absent: %v", err)
	}
	want := filepath.Join(dir, siblingName)
	if err := os.WriteFile(want, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := siblingPath(); err == nil {
		t.Error("a file that cannot be executed was taken")
	}
	if err := os.Chmod(want, 0o700); err != nil {
		t.Fatal(err)
	}
	if p, err := siblingPath(); err != nil || p != want {
		t.Errorf("got %s, %v", p, err)
	}
}
