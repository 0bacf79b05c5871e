package cache

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"berth/internal/errdefs"
)

// filled is a mount with a file.
func (w *world) filled(id, text string) MountRequest {
	w.Helper()
	r := MountRequest{ID: id, Mode: 0o750, UID: 7, GID: 8, Text: "cached mount " + id}
	m, err := w.c.Mount(w.Context(), r)
	must(w, err)
	must(w, os.WriteFile(m.Dir.Name()+"/file", []byte(text), 0o640))
	must(w, os.Chtimes(m.Dir.Name()+"/file", time.Unix(1, 5), time.Unix(1, 5)))
	must(w, m.Close())
	return r
}

func (w *world) text(r MountRequest) string {
	w.Helper()
	m, err := w.c.Mount(w.Context(), r)
	must(w, err)
	defer m.Close()
	st, err := m.Dir.Stat()
	must(w, err)
	b, _ := os.ReadFile(m.Dir.Name() + "/file")
	return string(b) + " " + st.Mode().Perm().String()
}

func TestMountsTravel(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	one, two := w.filled("/root/.cache", "one"), w.filled("apt", "two")
	var all, part bytes.Buffer
	got, err := w.c.ExportMounts(t.Context(), &all, nil)
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	if got, err := w.c.ExportMounts(t.Context(), &part, func(name, id string) bool { return id == "apt" }); err != nil || len(got) != 1 || got[0].ID != "apt" {
		t.Fatalf("%+v, %v", got, err)
	}
	if got, err := other.c.ImportMounts(t.Context(), bytes.NewReader(part.Bytes()), false); err != nil || len(got) != 1 || got[0].Kept {
		t.Fatalf("%+v, %v", got, err)
	}
	if text := other.text(two); text != "two -rwxr-x---" {
		t.Errorf("the other machine has %q", text)
	}
	// What is here stays, unless that is not wanted.
	other.filled("apt", "own")
	if _, err := other.c.ImportMounts(t.Context(), bytes.NewReader(all.Bytes()), false); err != nil || other.text(two) != "own -rwxr-x---" || other.text(one) != "one -rwxr-x---" {
		t.Errorf("%q, %q, %v", other.text(two), other.text(one), err)
	}
	if _, err := other.c.ImportMounts(t.Context(), bytes.NewReader(all.Bytes()), true); err != nil || other.text(two) != "two -rwxr-x---" {
		t.Errorf("%q, %v", other.text(two), err)
	}
	items, err := other.c.Usage(t.Context())
	must(t, err)
	for _, i := range items {
		if i.Size != 3 || !strings.HasPrefix(i.Text, "cached mount ") || i.InUse {
			t.Errorf("du shows %+v", i)
		}
	}
	other.onlyMounts(2)
}

// onlyMounts checks that nothing but so many mounts is in their directory.
func (w *world) onlyMounts(n int) {
	w.Helper()
	names, err := w.c.mountNames()
	must(w, err)
	for _, name := range names {
		if isMountName(name) {
			n--
		} else if !strings.HasSuffix(name, lockSuffix) || !w.c.hasMount(strings.TrimSuffix(name, lockSuffix)) {
			w.Errorf("left behind: %s", name)
		}
	}
	if n != 0 {
		w.Errorf("%d mounts too few in %q", n, names)
	}
}

// A tar of something else changes nothing.
func TestForeignMountsAreRefused(t *testing.T) {
	w := newWorld(t)
	r := w.filled("x", "own")
	name := slotName(r.Name(), 0)
	entry := func(t *tar.Writer, h tar.Header, body string) {
		h.Size, h.Mode = int64(len(body)), 0o755
		t.WriteHeader(&h)
		t.Write([]byte(body))
	}
	for what, write := range map[string]func(*tar.Writer){
		"a root file system": func(t *tar.Writer) { entry(t, tar.Header{Name: "etc/passwd"}, "root") },
		"a name that leads out": func(t *tar.Writer) {
			entry(t, tar.Header{Name: name + "/about.json"}, `{"id":"x"}`)
			entry(t, tar.Header{Name: name + "/data", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, "")
		},
		"no data":      func(t *tar.Writer) { entry(t, tar.Header{Name: name + "/about.json"}, `{"id":"x"}`) },
		"no knowledge": func(t *tar.Writer) { entry(t, tar.Header{Name: name + "/data/f"}, "") },
		"nonsense": func(t *tar.Writer) {
			entry(t, tar.Header{Name: name + "/data/f"}, "")
			entry(t, tar.Header{Name: name + "/about.json"}, `{`)
		},
	} {
		var b bytes.Buffer
		out := tar.NewWriter(&b)
		write(out)
		must(t, out.Close())
		if got, err := w.c.ImportMounts(t.Context(), &b, true); !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
		if text := w.text(r); text != "own -rwxr-x---" {
			t.Errorf("%s: it is now %q", what, text)
		}
	}
	if _, err := w.c.ImportMounts(t.Context(), strings.NewReader("no tar at all, but long enough for a header"+strings.Repeat("x", 600)), true); err == nil {
		t.Error("no tar: no error")
	}
	w.onlyMounts(1)
}
