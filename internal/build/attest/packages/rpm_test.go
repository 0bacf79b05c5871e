package packages

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// database is one that rpm 4.18 made, of packages without files: "perl" has so
// many capabilities that its header goes over many pages, and the table has an
// inner page.
func database(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/rpmdb.sqlite.gz")
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if b, err = io.ReadAll(z); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRPM(t *testing.T) {
	db := string(database(t))
	root := tree(t, map[string]string{"usr/lib/sysimage/rpm/rpmdb.sqlite": db, "etc/os-release": "ID=fedora\n"})
	must(t, os.MkdirAll(root.Name()+"/var/lib", 0o755))
	must(t, os.Symlink("../../usr/lib/sysimage/rpm", root.Name()+"/var/lib/rpm"))
	inv, err := Read(t.Context(), root)
	must(t, err)
	names := map[string]Package{}
	for _, p := range inv.Packages {
		names[p.Name] = p
	}
	if len(inv.Packages) != 9 || len(names) != 9 || inv.Unread != nil {
		t.Errorf("%d packages, %v", len(inv.Packages), inv.Unread)
	}
	want := Package{Kind: RPM, Name: "perl", Version: "5.38-1", Epoch: "4", Arch: "noarch", Source: "perl", SourceVersion: "5.38-1",
		Summary: "Summary of perl – ünïcode", Homepage: "https://example.org/perl", Maintainer: "Example Project", Licences: []string{"GPL-1.0-or-later OR Artistic-1.0-Perl"}}
	if !reflect.DeepEqual(names["perl"], want) {
		t.Errorf("got  %+v\nwant %+v", names["perl"], want)
	}
	if p := names["lib9"]; p.Version != "1.9-1" || p.Epoch != "" || p.Licences[0] != "MIT" {
		t.Errorf("%+v", p)
	}

	// A log says that the database is not all.
	must(t, os.WriteFile(filepath.Join(root.Name(), "usr/lib/sysimage/rpm/rpmdb.sqlite-wal"), []byte("x"), 0o644))
	if inv, err := Read(t.Context(), root); err != nil || len(inv.Packages) != 0 || len(inv.Unread) != 1 {
		t.Errorf("with a log: %+v, %v", inv, err)
	}
	for _, name := range []string{"Packages", "Packages.db"} {
		inv, err := Read(t.Context(), tree(t, map[string]string{"var/lib/rpm/" + name: "x"}))
		if err != nil || !reflect.DeepEqual(inv.Unread, []string{"/var/lib/rpm/" + name + " (rpm)"}) {
			t.Errorf("%s: %+v, %v", name, inv, err)
		}
	}
}

// TestRPMDamaged: a database that is not whole is told, not read in part.
func TestRPMDamaged(t *testing.T) {
	whole := database(t)
	read := func(b []byte) error {
		_, err := Read(t.Context(), tree(t, map[string]string{"var/lib/rpm/rpmdb.sqlite": string(b)}))
		return err
	}
	if err := read(whole); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func([]byte) []byte{
		"empty":         func([]byte) []byte { return nil },
		"other":         func(b []byte) []byte { return append([]byte("no"), b[2:]...) },
		"cut":           func(b []byte) []byte { return b[:len(b)/2] },
		"page size":     func(b []byte) []byte { binary.BigEndian.PutUint16(b[16:], 700); return b },
		"a loop":        loop,
		"no such table": func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("Packages"), []byte("Packagez")) },
	} {
		if err := read(change(bytes.Clone(whole))); err == nil {
			t.Errorf("%s was read", name)
		} else if !strings.Contains(err.Error(), "/var/lib/rpm/rpmdb.sqlite") {
			t.Errorf("%s: %v does not name the file", name, err)
		}
	}
}

// loop makes the inner page of the table its own child.
func loop(b []byte) []byte {
	const size = 4096
	for n := 1; n*size < len(b); n++ {
		page := b[n*size:]
		if page[0] == innerPage && binary.BigEndian.Uint16(page[3:]) < 20 {
			binary.BigEndian.PutUint32(page[8:], uint32(n+1))
		}
	}
	return b
}

func TestParseSourceRPM(t *testing.T) {
	for in, want := range map[string][2]string{
		"bash-5.2.26-3.fc40.src.rpm": {"bash", "5.2.26-3.fc40"},
		"a-b-1-2.src.rpm":            {"a-b", "1-2"},
		"":                           {}, "(none)": {}, "x.src.rpm": {}, "-1-2.src.rpm": {}, "a-1.src.rpm": {},
	} {
		if name, version := parseSourceRPM(in); name != want[0] || version != want[1] {
			t.Errorf("%s: %s %s", in, name, version)
		}
	}
}

func TestVarint(t *testing.T) {
	for in, want := range map[string]uint64{"\x00": 0, "\x7f": 127, "\x81\x00": 128, "\xff\xff\xff\xff\xff\xff\xff\xff\xff": 1<<64 - 1} {
		if v, rest, ok := varint([]byte(in + "x")); v != want || string(rest) != "x" || !ok {
			t.Errorf("%x: %d %q %v", in, v, rest, ok)
		}
	}
	if _, _, ok := varint([]byte{0x80}); ok {
		t.Error("a number without an end")
	}
}

func FuzzSQLite(f *testing.F) {
	whole := database(f)
	for at := 0; at+4096 <= len(whole); at += 4096 * 8 {
		f.Add(at, whole[at:at+64])
	}
	f.Fuzz(func(t *testing.T, at int, patch []byte) {
		b := bytes.Clone(whole)
		if at >= 0 && at < len(b) {
			copy(b[at:], patch)
		}
		db, err := openSQLite(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		visited := 0
		err = db.table("Packages", func(columns [][]byte) error {
			if visited++; len(columns) > 1 {
				parseRPM(columns[1]) //nolint:errcheck // it must not panic
			}
			return nil
		})
		if visited > len(b) && !errors.Is(err, errDamaged) {
			t.Errorf("%d rows in %d bytes", visited, len(b))
		}
	})
}

func FuzzRPMHeader(f *testing.F) {
	db, err := openSQLite(bytes.NewReader(database(f)), int64(len(database(f))))
	if err != nil {
		f.Fatal(err)
	}
	if err := db.table("Packages", func(columns [][]byte) error { f.Add(columns[1]); return nil }); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, header []byte) {
		if p, err := parseRPM(header); err == nil && p != nil {
			checkAll(t, []Package{*p})
		}
	})
}
