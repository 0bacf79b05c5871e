package archive

import "testing"

func TestRenameEntry(t *testing.T) {
	for _, c := range [][4]string{
		{"etc", "etc", "conf", "conf"}, {"etc/", "etc", "conf", "conf/"}, {"etc/a/b", "etc", "conf", "conf/a/b"}, {"etc/a", "etc", ".", "a"},
		{"etcetera", "etc", "conf", "etcetera"}, {"./etc/a", "etc", "x", "x/a"}, {"/", "/", "r", "r/"}, {"bin/sh", "/", "r", "r/bin/sh"},
	} {
		if got := renameEntry(c[0], c[1], c[2]); got != c[3] {
			t.Errorf("%s: %s -> %s: got %s, want %s", c[0], c[1], c[2], got, c[3])
		}
	}
}

func FuzzRenameEntry(f *testing.F) {
	f.Add("etc/passwd", "etc", "conf")
	f.Fuzz(func(t *testing.T, entry, base, name string) {
		if got := renameEntry(entry, base, base); base != "" && base != "/" && got == "" && entry != "" {
			t.Errorf("%q under %q: the name vanished", entry, base)
		}
		renameEntry(entry, base, name) // must not panic
	})
}
