package copy

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
)

func TestChmod(t *testing.T) {
	const dir, file, link = unix.S_IFDIR, unix.S_IFREG, unix.S_IFLNK
	for _, tt := range []struct {
		text       string
		mode, want uint32
	}{
		{"", file | 0o4751, 0o4751},
		{"755", file | 0o600, 0o755},
		{"0", dir | 0o777, 0},
		{"7777", file | 0o600, 0o7777},
		{"0644", link | 0o777, 0o777},
		{"u+x", file | 0o644, 0o744},
		{"+x", file | 0o644, 0o755},
		{"a-w", file | 0o666, 0o444},
		{"go=", file | 0o777, 0o700},
		{"u=rw,go=r", file | 0o777, 0o644},
		{"u=rwX,go=rX", file | 0o600, 0o644},
		{"u=rwX,go=rX", file | 0o700, 0o755},
		{"u=rwX,go=rX", dir | 0o600, 0o755},
		{"a-X", dir | 0o755, 0o644},
		{"g=u", file | 0o640, 0o660},
		{"o=g-w", file | 0o670, 0o675},
		{"u+s", file | 0o755, 0o4755},
		{"g+s", dir | 0o755, 0o2755},
		{"+s", file | 0o755, 0o6755},
		{"o+s", file | 0o755, 0o755},
		{"u=rwx", file | 0o4600, 0o700},
		{"+t", dir | 0o777, 0o1777},
		{"a+t", dir | 0o777, 0o1777},
		{"o+t", dir | 0o777, 0o777},
		{"u-t", dir | 0o1777, 0o777},
		{"ug+rw-x", file | 0o711, 0o661},
		{"u+x+w", file | 0o444, 0o744},
		{"=", file | 0o7777, 0o1000},
		{"go=u", file | 0o4750, 0o4777},
	} {
		c, err := ParseChmod(tt.text)
		must(t, err)
		if got := c.Apply(tt.mode); got != tt.want {
			t.Errorf("%s makes %o of %o, want %o", tt.text, got, tt.mode, tt.want)
		}
	}
	for _, text := range []string{"8", "0o755", "07778", "10000", "-1", "x", "u", "u+", ",", "u+x,", "u~x", "z+x", "u+z", "u=rw g=r", "0755 ", "1e3", "+755", "u+x,g"} {
		if text == "u+" { // nothing is added, as setmode(3) has it
			continue
		}
		if _, err := ParseChmod(text); !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzChmod(f *testing.F) {
	for _, s := range []string{"0755", "u=rwX,go=rX", "a+st", "g=u-w,o=", "+-=", "9"} {
		f.Add(s, uint32(unix.S_IFREG|0o640))
	}
	f.Fuzz(func(t *testing.T, text string, mode uint32) {
		c, err := ParseChmod(text)
		if err != nil {
			if !errors.Is(err, errdefs.InvalidArgument) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		got := c.Apply(mode)
		if got > 0o7777 {
			t.Errorf("%q makes %o", text, got)
		}
		if mode&unix.S_IFMT == unix.S_IFLNK && got != mode&0o7777 {
			t.Errorf("%q changes a link", text)
		}
	})
}
