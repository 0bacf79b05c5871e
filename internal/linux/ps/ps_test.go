package ps

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"berth/internal/errdefs"
)

// sleeper starts a process that stands still.
func sleeper(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("sleep", "300")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) { // until it is sleep and not the copy of this test that becomes it
		if b, _ := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/stat"); strings.Contains(string(b), "(sleep) S") {
			return cmd.Process.Pid
		}
	}
	t.Fatal("sleep does not start")
	return 0
}

// TestLikePs compares every format with the ps of this machine, word by word.
func TestLikePs(t *testing.T) {
	if _, err := exec.LookPath("ps"); err != nil {
		t.Skip("no ps to compare with")
	}
	pids := []int{1, sleeper(t)}
	for _, args := range []string{"-ef", "-e", "-F", "-eF", "-l", "-fl", "-j", "-fj", "aux", "-aux", "ax", "u", "l", "j", "axu",
		"-o pid,ppid,pgid,sid,user,group,ruser,rgroup,uid,gid,ruid,rgid,tty,stat,s,f,ni,pri,nlwp,psr,comm",
		"-opid,args", "-eo pid=NUMBER,comm", "-o pid -o user,comm=PROGRAM", "o pid,vsz,sz,time,bsdtime,cputime,start_time,stime", "-o tt,tname,rtprio,opri,lstart", "--format pid,etime", "--format=pid,pgrp,sess,euser,egroup,euid,egid,vsize,%cpu,%mem,pcpu,pmem,c,ucmd,thcount,tpgid,sid,wchan,start,cgroup"} {
		words := strings.Fields(args)
		f, err := Parse(words)
		if err != nil {
			t.Errorf("%s: %v", args, err)
			continue
		}
		out, err := exec.Command("ps", append(words, "-p", "1", "-p", strconv.Itoa(pids[1]))...).Output()
		if err != nil {
			t.Errorf("ps %s: %v", args, err)
			continue
		}
		rows, err := f.Rows(pids)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(out), "\n")
		if want := strings.Fields(lines[0]); !slices.Equal(f.Titles(), want) {
			t.Errorf("%s: titles %v, ps has %v", args, f.Titles(), want)
		}
		for i, pid := range pids {
			got := strings.Fields(strings.Join(rows[i], " "))
			if want := psLine(lines[1:], got, f, pid); want != nil && !alike(got, want, f) {
				t.Errorf("%s, process %d:\n got %q\nwant %q", args, pid, got, want)
			}
		}
	}
}

// psLine finds the line of a process in the output of ps.
func psLine(lines []string, got []string, f *Format, pid int) []string {
	at := slices.IndexFunc(f.Titles(), func(s string) bool { return s == "PID" || s == "NUMBER" })
	if at < 0 {
		return nil
	}
	for _, line := range lines {
		if w := strings.Fields(line); len(w) > at && w[at] == strconv.Itoa(pid) {
			return w
		}
	}
	return []string{"no", "line"}
}

// alike compares rows. Numbers that go on changing (CPU time, pages, percent) may be a little apart.
func alike(got, want []string, f *Format) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		if got[i] == want[i] {
			continue
		}
		title := ""
		if i < len(f.columns) {
			title = f.columns[i].title
		}
		switch title {
		case "%CPU", "%MEM", "C", "RSS", "VSZ", "SZ", "PSR", "TIME", "STIME", "START", "STARTED", "ELAPSED", "STAT", "S", "WCHAN":
		default:
			return false
		}
	}
	return true
}

func TestParseRefuses(t *testing.T) {
	for _, args := range [][]string{{"-p", "1"}, {"--sort=pid"}, {"-"}, {""}, {"-o"}, {"-o", ""}, {"-o", "nonsense"}, {"-o", "=x"}, {"--format"}, {"-L"}, {"h"}, {"axZ"}, {"1"}} {
		if f, err := Parse(args); !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("%q: got %v, %v", args, f, err)
		}
	}
	f, err := Parse(nil)
	if err != nil || strings.Join(f.Titles(), " ") != "UID PID PPID C STIME TTY TIME CMD" {
		t.Errorf("the default: %v, %v", f, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("-eo", "pid=X,comm")
	f.Add("aux", "-ef")
	f.Fuzz(func(t *testing.T, a, b string) {
		if format, err := Parse([]string{a, b}); err == nil && len(format.Titles()) == 0 {
			t.Errorf("%q %q: no columns", a, b)
		}
	})
}

func TestNothingForTheTerminalToObey(t *testing.T) {
	for in, want := range map[string]string{"plain -x": "plain -x", "a\x1b[2Jb": "a?[2Jb", "über\n": "über?", "\xff\u202e": "??", "tab\t": "tab?"} {
		if got := clean([]byte(in)); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestOddProcesses(t *testing.T) {
	var p proc
	line := "12 (a) b (c) Z 1 2 3 34817 2 4194560 100 0 0 0 150 50 0 0 30 10 2 0 4711 1000 5 1 2 3 4 5 6 7 8 9 10 11 12 0 17 3 4 0"
	if !p.parseStat([]byte(line)) || p.comm != "a) b (c" || p.state != 'Z' || p.tty != 34817 || p.ticks != 200 || p.start != 4711 || p.processor != 3 || p.nice != 10 {
		t.Errorf("%+v", p)
	}
	if got := commandLine(nil, &p); got != "[a) b (c] <defunct>" {
		t.Errorf("zombie: %q", got)
	}
	for _, bad := range []string{"", "1", "1 (x", ")(", "1 (x) S 1 2"} {
		if p.parseStat([]byte(bad)) {
			t.Errorf("%q was taken", bad)
		}
	}
	f, _ := Parse(nil)
	if rows, err := f.Rows([]int{1 << 30}); len(rows) != 0 || err != nil {
		t.Errorf("a process that is not there: %v, %v", rows, err)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("12 (a) S 1 2 3 0 2 4194560 100 0 0 0 150 50 0 0 20 0 2 0 4711 1000 5 1 2 3 4 5 6 7 8 9 10 11 12 17 3 0 0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p proc
		if p.parseStat(b) {
			_, _ = status(nil, &p), ttyName(p.tty)
		}
		p.parseStatus(b)
	})
}

func TestTimes(t *testing.T) {
	for seconds, want := range map[uint64][2]string{0: {"00:00:00", "00:00"}, 61: {"00:01:01", "01:01"}, 3600: {"01:00:00", "01:00:00"}, 90061: {"01-01:01:01", "01-01:01:01"}} {
		if got := [2]string{dayTime(seconds, true), dayTime(seconds, false)}; got != want {
			t.Errorf("%d: got %v, want %v", seconds, got, want)
		}
	}
	s := snapshot{now: time.Date(2026, 3, 2, 12, 0, 0, 0, time.Local), sinceUp: 1000 * time.Hour}
	for age, want := range map[time.Duration]string{time.Hour: "11:00", 13 * time.Hour: "Mar01", 100 * 24 * time.Hour: "Jan19"} {
		_, stime := times("stime")
		if got := stime(&s, &proc{start: uint64((s.sinceUp - min(age, s.sinceUp)).Seconds()) * hertz}); got != want {
			t.Errorf("started %v ago: %s, want %s", age, got, want)
		}
	}
	for dev, want := range map[int64]string{0: "?", 0x8800: "pts/0", 0x8903: "pts/259", 0x0401: "tty1", 0x0440: "ttyS0", 0x1234567: "?"} {
		if got := ttyName(dev); got != want {
			t.Errorf("ttyName(%#x) = %s, want %s", dev, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	n := names{list: parseNames("root:x:0:0::/:/bin/sh\nsystemd-resolve:x:101:1::/:\nbad\n# c:x:7:\nsecond:x:0:0::/:\nx\x1b:x:5:5:\n")}
	for id, want := range map[uint32]string{0: "root", 101: "systemd+", 7: "7", 5: "x?", 4000: "4000"} {
		if got := n.of(id); got != want {
			t.Errorf("of(%d) = %q, want %q", id, got, want)
		}
	}
}
