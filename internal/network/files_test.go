package network

import (
	"errors"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"berth/internal/errdefs"
	"berth/internal/ident"
)

func TestJournalText(t *testing.T) {
	j := &journal{ID: ident.New(), Network: "bridge", Veth: "veth0123456", Address: netip.MustParseAddr("172.17.0.2"), Ports: []reserved{
		{"tcp", netip.MustParseAddr("0.0.0.0"), 8080, 80}, {"udp", netip.MustParseAddr("127.0.0.1"), 5353, 53}}}
	got, err := parseJournal(j.text())
	if err != nil || !reflect.DeepEqual(got, j) {
		t.Errorf("got %+v, %v from %s", got, err, j.text())
	}
}

// A journal that says nothing, or nonsense, still says whose it is.
func TestUnfinishedJournals(t *testing.T) {
	s := Open(t.TempDir(), t.TempDir())
	if err := s.makeDirs(); err != nil {
		t.Fatal(err)
	}
	id := ident.New()
	if j, err := s.readJournal(id); j != nil || err != nil {
		t.Errorf("no journal: %v, %v", j, err)
	}
	for _, text := range []string{"", "{", `{"ID":"other","Address":"172.17.0.2"}`, `{"ID":"` + id + `","Address":"x"}`} {
		if err := os.WriteFile(s.journalFile(id), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := reserve(s.addressDir()+"/172.17.0.9", id); err != nil {
			t.Fatal(err)
		}
		if j, err := s.readJournal(id); err != nil || j.ID != id || j.Address.IsValid() || len(j.Ports) > 0 {
			t.Errorf("%q: %+v, %v", text, j, err)
		}
		if err := s.Detach(t.Context(), id); err != nil {
			t.Error(err)
		}
		if owner(s.addressDir()+"/172.17.0.9") != "" {
			t.Errorf("%q: the address is still reserved", text)
		}
	}
}

func TestSettingsText(t *testing.T) {
	c := Settings{ID: ident.New(), Created: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Subnet: netip.MustParsePrefix("172.17.0.0/16"), Gateway: netip.MustParseAddr("172.17.0.1")}
	got, err := parseSettings(c.text())
	if err != nil || got != c {
		t.Errorf("got %+v, %v from %s", got, err, c.text())
	}
	for _, bad := range []string{"", "{}", `{"Subnet":"172.17.0.0/16"}`, `{"Subnet":"172.17.0.0/31","Gateway":"172.17.0.1"}`,
		`{"Subnet":"172.17.0.0/16","Gateway":"172.18.0.1"}`, `{"Subnet":"172.17.3.0/16","Gateway":"172.17.0.1"}`, `{"Subnet":"fd00::/64","Gateway":"fd00::1"}`} {
		if c, err := parseSettings([]byte(bad)); err == nil {
			t.Errorf("%s was taken: %+v", bad, c)
		}
	}
}

// The pool has addresses from .2 on, skips what is taken, wraps around and ends.
func TestAddresses(t *testing.T) {
	s := Open(t.TempDir(), t.TempDir())
	if err := s.makeDirs(); err != nil {
		t.Fatal(err)
	}
	c := Settings{Subnet: netip.MustParsePrefix("192.168.0.0/29"), Gateway: netip.MustParseAddr("192.168.0.1")}
	take := func(want string) {
		t.Helper()
		if a, err := s.reserveAddress(c, "id"); err != nil || a.String() != want {
			t.Errorf("got %s, %v, want %s", a, err, want)
		}
	}
	take("192.168.0.2")
	take("192.168.0.3")
	if err := unreserve(s.addressDir()+"/192.168.0.2", "id"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"192.168.0.4", "192.168.0.5", "192.168.0.6", "192.168.0.2"} {
		take(want)
	}
	if a, err := s.reserveAddress(c, "id"); !errors.Is(err, errdefs.Exhausted) || !strings.Contains(err.Error(), "192.168.0.0/29") {
		t.Errorf("an address in a full network: %s, %v", a, err)
	}
	if err := unreserve(s.addressDir()+"/192.168.0.3", "another"); err != nil || owner(s.addressDir()+"/192.168.0.3") != "id" {
		t.Errorf("another container gave the address back: %v", err)
	}
}

func FuzzRecords(f *testing.F) {
	f.Add([]byte(`{"ID":"a","Address":"172.17.0.2","Ports":[{"Proto":"tcp","Host":"0.0.0.0:80","Container":80}]}`))
	f.Add([]byte(`{"Subnet":"172.17.0.0/16","Gateway":"172.17.0.1"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if j, err := parseJournal(text); err == nil && j.Address.Is4() {
			if again, err := parseJournal(j.text()); err != nil || !reflect.DeepEqual(again, j) {
				t.Errorf("%q: %+v became %+v, %v", text, j, again, err)
			}
		}
		if c, err := parseSettings(text); err == nil {
			if again, err := parseSettings(c.text()); err != nil || again != c {
				t.Errorf("%q: %+v became %+v, %v", text, c, again, err)
			}
		}
	})
}
