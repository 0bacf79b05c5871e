package capability

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"berth/internal/errdefs"

	"golang.org/x/sys/unix"
)

func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		set    Set
		name   string
		number int
	}{
		{Chown, "CAP_CHOWN", unix.CAP_CHOWN},
		{SetPCap, "CAP_SETPCAP", unix.CAP_SETPCAP},
		{NetRaw, "CAP_NET_RAW", unix.CAP_NET_RAW},
		{SysAdmin, "CAP_SYS_ADMIN", unix.CAP_SYS_ADMIN},
		{SetFCap, "CAP_SETFCAP", unix.CAP_SETFCAP},
		{Syslog, "CAP_SYSLOG", unix.CAP_SYSLOG},
		{AuditRead, "CAP_AUDIT_READ", unix.CAP_AUDIT_READ},
		{CheckpointRestore, "CAP_CHECKPOINT_RESTORE", unix.CAP_CHECKPOINT_RESTORE},
	} {
		if c.set != 1<<c.number || !slices.Equal(c.set.Names(), []string{c.name}) {
			t.Errorf("%s: %#x %v, want bit %d", c.name, c.set, c.set.Names(), c.number)
		}
	}
	if lastKnown != unix.CAP_LAST_CAP {
		t.Errorf("newest known capability is %d, x/sys knows %d", lastKnown, unix.CAP_LAST_CAP)
	}
}

func TestDefaults(t *testing.T) {
	want := "CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT"
	if got := Default().String(); got != want {
		t.Errorf("Default() = %s", got)
	}
	if got := (DockerDefault() &^ Default()).String(); got != "AUDIT_WRITE MKNOD NET_RAW" || DockerDefault().Len() != 14 {
		t.Errorf("DockerDefault() adds %s", got)
	}
}

func TestParse(t *testing.T) {
	for _, name := range []string{"SYS_ADMIN", "sys_admin", "CAP_SYS_ADMIN", "cap_Sys_Admin"} {
		if got, err := Parse(name); err != nil || got != SysAdmin {
			t.Errorf("Parse(%q) = %#x, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "CAP_", "ALL", "SYS", "CAP_CAP_CHOWN", " CHOWN"} {
		if _, err := Parse(name); !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("Parse(%q) = %v", name, err)
		}
	}
	for _, name := range Known().Names() {
		if one, err := Parse(name); err != nil || one.Len() != 1 || !slices.Equal(one.Names(), []string{name}) {
			t.Errorf("Parse(%q) = %#x, %v", name, one, err)
		}
	}
	if s, err := ParseAll([]string{"CAP_KILL", "CHOWN"}); err != nil || s != Kill|Chown {
		t.Errorf("ParseAll = %v, %v", s, err)
	}
}

func TestAdjust(t *testing.T) {
	small := Default() | NetAdmin // a machine without most capabilities
	for _, c := range []struct {
		name      string
		available Set
		add, drop []string
		want      Set
		fails     bool
	}{
		{"nothing", Known(), nil, nil, Default(), false},
		{"add", Known(), []string{"net_admin"}, nil, Default() | NetAdmin, false},
		{"drop", Known(), nil, []string{"CAP_CHOWN", "KILL"}, Default() &^ (Chown | Kill), false},
		{"added and dropped", Known(), []string{"CHOWN"}, []string{"CHOWN"}, Default(), false},
		{"add ALL", Known(), []string{"ALL"}, nil, Known(), false},
		{"add all but one", Known(), []string{"all"}, []string{"SYS_ADMIN"}, Known() &^ SysAdmin, false},
		{"drop ALL", Known(), nil, []string{"ALL"}, 0, false},
		{"drop ALL, add one", Known(), []string{"NET_RAW"}, []string{"ALL"}, NetRaw, false},
		{"both ALL", Known(), []string{"ALL"}, []string{"ALL"}, Known(), false},
		{"add ALL of few", small, []string{"ALL"}, nil, small, false},
		{"default beyond what there is", Chown | Kill, nil, nil, Chown | Kill, false},
		{"add what there is not", small, []string{"SYS_TIME"}, nil, 0, true},
		{"drop what there is not", small, nil, []string{"SYS_TIME"}, Default(), false},
		{"unknown add", Known(), []string{"FLY"}, nil, 0, true},
		{"unknown drop", Known(), nil, []string{"FLY"}, 0, true},
		{"unknown beside ALL", Known(), []string{"ALL", "FLY"}, nil, 0, true},
	} {
		got, err := Adjust(Default(), c.available, c.add, c.drop)
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
		if c.fails && !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("%s: kind of %v", c.name, err)
		}
	}
}

func TestLastCap(t *testing.T) {
	b, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		t.Skip(err)
	}
	want, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || LastCap() != want {
		t.Errorf("LastCap() = %d, the kernel says %d (%v)", LastCap(), want, err)
	}
}

func TestHeld(t *testing.T) {
	held, err := Held()
	if err != nil {
		t.Fatal(err)
	}
	if want := statusSet(t, "CapPrm"); held != want {
		t.Errorf("Held() = %#x, /proc says %#x", held, want)
	}
}

// statusSet reads a set of the calling thread from /proc.
func statusSet(t *testing.T, field string) Set {
	t.Helper()
	b, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), field+":")
	line, _, _ := strings.Cut(rest, "\n")
	v, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return Set(v)
}

func FuzzParse(f *testing.F) {
	f.Add("CAP_CHOWN")
	f.Add("cap_")
	f.Fuzz(func(t *testing.T, name string) {
		if s, err := Parse(name); err == nil && (s.Len() != 1 || s&^Known() != 0) {
			t.Errorf("Parse(%q) = %#x", name, s)
		}
	})
}

func BenchmarkAdjust(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Adjust(Default(), Known(), []string{"NET_ADMIN"}, []string{"MKNOD"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSupported(b *testing.B) {
	for b.Loop() {
		Supported()
	}
}
