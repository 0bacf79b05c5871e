package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

var past = time.Now().Add(-time.Second) //nolint:gochecknoglobals // a constant

func events(t *testing.T, j *Journal, since, until time.Time) (got []Event) {
	t.Helper()
	if err := j.Read(context.Background(), since, until, func(e Event) error { got = append(got, e); return nil }); err != nil {
		t.Errorf("Read: %v", err)
	}
	return got
}

func TestAppendRead(t *testing.T) {
	j := Open(t.TempDir() + "/run")
	if got := events(t, j, past, time.Now()); len(got) != 0 {
		t.Errorf("no journal: %v", got)
	}
	want := []Event{
		{Time: time.Now().Add(-time.Minute).Round(0), Type: Container, Action: "create", ID: "abc", Attr: map[string]string{"Type": "label", "name": "we\"b", "image": "busybox"}},
		{Time: time.Now().Round(0), Type: Container, Action: "exec_create: sh -c <x>", ID: "abc", Attr: map[string]string{}},
	}
	if err := j.Append(want...); err != nil {
		t.Fatal(err)
	}
	if err := j.Append(Event{Type: Image, Action: "pull", ID: "busybox:latest"}); err != nil {
		t.Fatal(err)
	}
	got := events(t, j, past.Add(-time.Hour), time.Now())
	if len(got) != 3 || !got[0].Time.Equal(want[0].Time) || got[2].Time.IsZero() || got[2].Type != Image {
		t.Fatalf("got %+v", got)
	}
	for i := range want {
		got[i].Time = want[i].Time
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("event %d is %+v", i, got[i])
		}
	}
	if got := events(t, j, past, time.Now()); len(got) != 2 {
		t.Errorf("since: %+v", got)
	}
	if got := events(t, j, past.Add(-time.Hour), past); len(got) != 1 {
		t.Errorf("until: %+v", got)
	}
	text, _ := os.ReadFile(j.path)
	for line := range strings.Lines(string(text)) {
		var docker struct {
			Type, Action string
			Actor        struct {
				ID         string
				Attributes map[string]string
			}
			Scope    string
			Time     int64 `json:"time"`
			TimeNano int64 `json:"timeNano"`
		}
		if err := json.Unmarshal([]byte(line), &docker); err != nil || docker.Scope != "local" || docker.TimeNano/1e9 != docker.Time || docker.Action == "" {
			t.Errorf("%s: %+v, %v", line, docker, err)
		}
	}
}

// TestTornLine: a line that was cut short takes no other with it.
func TestTornLine(t *testing.T) {
	j := Open(t.TempDir())
	if err := os.WriteFile(j.path, []byte(`{"Type":"container","Action":"sta`), 0o600); err != nil {
		t.Fatal(err)
	}
	j.Append(Event{Type: Container, Action: "die", ID: "x"})
	if got := events(t, j, past, time.Now()); len(got) != 1 || got[0].Action != "die" {
		t.Errorf("got %+v", got)
	}
}

// TestManyWriters: nothing is lost between processes, and the size is capped.
func TestManyWriters(t *testing.T) {
	dir := t.TempDir()
	const writers, each = 8, 200
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			j := Open(dir) // as another process
			for i := range each {
				if err := j.Append(Event{Type: Container, Action: "start", ID: fmt.Sprintf("%d-%d", w, i)}, Event{Type: Network, Action: "connect"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	j := Open(dir)
	if got := events(t, j, past.Add(-time.Minute), time.Now()); len(got) != writers*each*2 {
		t.Errorf("%d events", len(got))
	}
	j.max = 10_000
	for range 8 {
		wg.Go(func() {
			for range 500 {
				j.Append(Event{Type: Container, Action: "start", ID: strings.Repeat("x", 64)})
			}
		})
	}
	wg.Wait()
	total := int64(0)
	for _, path := range []string{j.path, j.path + ".1"} {
		fi, err := os.Stat(path)
		if err == nil {
			total += fi.Size()
		}
	}
	if total > 3*j.max || total < j.max/2 {
		t.Errorf("the journal has %d bytes", total)
	}
}

func TestFollow(t *testing.T) {
	j := Open(t.TempDir())
	j.Append(Event{Type: Container, Action: "before"})
	go func() {
		for i := range 50 {
			time.Sleep(time.Millisecond)
			j.Append(Event{Type: Container, Action: fmt.Sprint(i)})
		}
	}()
	enough := errors.New("enough")
	n := 0
	err := j.Read(context.Background(), past, time.Time{}, func(e Event) error {
		if want := fmt.Sprint(n - 1); n > 0 && e.Action != want {
			return fmt.Errorf("event %s, want %s", e.Action, want)
		}
		if n++; n == 51 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Errorf("%d events, %v", n, err)
	}
	begin := time.Now()
	if got := events(t, j, time.Time{}, begin.Add(50*time.Millisecond)); len(got) != 0 || time.Since(begin) > 5*time.Second {
		t.Errorf("from now on: %+v after %v", got, time.Since(begin))
	}
}

func FuzzParse(f *testing.F) {
	f.Add(appendEvent(nil, &Event{Type: "container", Action: "die", ID: "x", Attr: map[string]string{"exitCode": "1"}}, time.Unix(1, 2)))
	f.Add([]byte(`{"Type":"a","Action":"b","Actor":{"Attributes":null},"timeNano":-1}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, ok := parse(line)
		if !ok {
			return
		}
		again, ok := parse(appendEvent(nil, &e, time.Unix(1, 0)))
		if !ok || again.Action != e.Action || len(again.Attr) != len(e.Attr) {
			t.Errorf("%+v became %+v", e, again)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	j := Open(b.TempDir())
	attr := map[string]string{"name": "web", "image": "busybox"}
	b.ReportAllocs()
	for b.Loop() {
		if err := j.Append(Event{Type: Container, Action: "create", ID: "x", Attr: attr}, Event{Type: Container, Action: "start", ID: "x", Attr: attr}); err != nil {
			b.Fatal(err)
		}
	}
}
