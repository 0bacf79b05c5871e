package binfmt

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// handlers are files as Debian's qemu-user-static makes the kernel show them.
var handlers = map[string]string{
	"status":         "enabled\n",
	"qemu-aarch64":   "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: POCF\noffset 0\nmagic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n",
	"qemu-s390x":     "enabled\ninterpreter /usr/bin/qemu-s390x\nflags: \noffset 0\nmagic 7f454c4602020100000000000000000000020016\nmask ffffffffffffff00fffffffffffffffffffeffff\n",
	"qemu-riscv64":   "disabled\ninterpreter /usr/bin/qemu-riscv64\nflags: F\noffset 0\nmagic 7f454c460201010000000000000000000200f300\nmask ffffffffffffff00fffffffffffffffffeffffff\n",
	"python3.11":     "enabled\ninterpreter /usr/bin/python3.11\nflags: \noffset 0\nmagic a70d0d0a\n",
	"by-its-ending":  "enabled\ninterpreter /usr/bin/wine\nflags: \nextension .exe\n",
	"arm-of-a-user":  "enabled\ninterpreter /opt/arm\nflags: \noffset 18\nmagic 2800\n",
	"arm-everywhere": "enabled\ninterpreter /opt/fixed\nflags: F\noffset 18\nmagic 2800\n",
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	for name, text := range handlers {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for architecture, want := range map[string]string{
		"arm64": "qemu-aarch64", "s390x": "qemu-s390x", "arm": "arm-everywhere", "riscv64": "", "ppc64le": "", "amd64": "", "nothing": "",
	} {
		h, err := find(dir, architecture)
		switch {
		case err != nil:
			t.Errorf("%s: %v", architecture, err)
		case h == nil && want != "" || h != nil && h.Name != want:
			t.Errorf("%s: %+v, want %q", architecture, h, want)
		case h != nil && h.Fixed != (architecture != "s390x"):
			t.Errorf("%s: %+v", architecture, h)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "status"), []byte("disabled\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if h, err := find(dir, "arm64"); h != nil || err != nil {
		t.Errorf("disabled as a whole: %+v, %v", h, err)
	}
	if h, err := find(dir+"/none", "arm64"); h != nil || err != nil {
		t.Errorf("without binfmt_misc: %+v, %v", h, err)
	}
	for _, text := range []string{"enabled\noffset x\nmagic 00\n", "enabled\nmagic 0\n", "enabled\nmagic 0000\nmask 00\n", "enabled\noffset -1\nmagic 00\n"} {
		if h, err := parse([]byte(text)); err == nil {
			t.Errorf("%q: %+v", text, h)
		}
	}
}

// The header is how real programs begin: this one does.
func TestHeader(t *testing.T) {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	want, ok := header(runtime.GOARCH)
	if got := self[:len(want)]; !ok || string(got) != string(want) {
		t.Errorf("% x, want % x", got, want)
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range handlers {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		h, err := parse(text)
		if err != nil || h == nil {
			return
		}
		for architecture := range machines {
			start, _ := header(architecture)
			h.takes(start)
		}
	})
}
