package units

import (
	"errors"
	"testing"
	"time"

	"berth/internal/errdefs"
)

func TestParseBytes(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "32": 32, "32b": 32, "32B": 32, "32k": 32 << 10, "64K": 64 << 10, "32kb": 32 << 10, "32Kib": 32 << 10, "10MB": 10 << 20,
		"512m": 512 << 20, "1.5g": 3 << 29, "32Tb": 32 << 40, "32Pb": 32 << 50, "32.5kB": 33280, "32.3": 32, "32 mb": 32 << 20, "0.3 K": 307, ".3kB": 307, "1e3": 1000, "32.": 32,
	} {
		if got, err := ParseBytes(in); err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "hello", "-32", "32bb", "32kk", "32mbb", "32kbib", "32 m b", "32x", " 32 ", "m", "9000000p", "0x10", "1_000", "NaN", "inf", "."} {
		if got, err := ParseBytes(in); !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("ParseBytes(%q) = %d, %v; want InvalidArgument", in, got, err)
		}
	}
}

func TestFormatBytes(t *testing.T) {
	for _, c := range []struct {
		n                 float64
		table, total, mem string
	}{
		{0, "0B", "0B", "0B"},
		{999, "999B", "999B", "999B"},
		{1000, "1kB", "1kB", "1000B"},
		{1024, "1.02kB", "1.024kB", "1KiB"},
		{1213000, "1.21MB", "1.213MB", "1.157MiB"},
		{4089446, "4.09MB", "4.089MB", "3.9MiB"},
		{72900000, "72.9MB", "72.9MB", "69.52MiB"},
		{1 << 30, "1.07GB", "1.074GB", "1GiB"},
		{8.5e12, "8.5TB", "8.5TB", "7.731TiB"},
		{1e27, "1e+03YB", "1000YB", "827.2YiB"},
	} {
		if got := FormatBytes1000(c.n); got != c.table {
			t.Errorf("FormatBytes1000(%v) = %s, want %s", c.n, got, c.table)
		}
		if got := HumanSize(c.n); got != c.total {
			t.Errorf("HumanSize(%v) = %s, want %s", c.n, got, c.total)
		}
		if got := FormatBytes1024(c.n); got != c.mem {
			t.Errorf("FormatBytes1024(%v) = %s, want %s", c.n, got, c.mem)
		}
	}
}

func TestHumanDuration(t *testing.T) {
	const day = 24 * time.Hour
	for d, want := range map[time.Duration]string{
		-time.Hour: "Less than a second", 450 * time.Millisecond: "Less than a second",
		time.Second: "1 second", 45 * time.Second: "45 seconds", 60 * time.Second: "About a minute", 119 * time.Second: "About a minute",
		3 * time.Minute: "3 minutes", 59 * time.Minute: "59 minutes", 60 * time.Minute: "About an hour", 89 * time.Minute: "About an hour", 90 * time.Minute: "2 hours",
		35 * time.Hour: "35 hours", 47*time.Hour + 29*time.Minute: "47 hours", 48 * time.Hour: "2 days", 13 * day: "13 days", 14 * day: "2 weeks",
		59 * day: "8 weeks", 60 * day: "2 months", 23*30*day + 20*day: "23 months", 730 * day: "2 years", 3660 * day: "10 years",
	} {
		if got := HumanDuration(d); got != want {
			t.Errorf("HumanDuration(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestParseTime(t *testing.T) {
	zone := time.FixedZone("test", 2*60*60)
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, zone)
	for in, want := range map[string]time.Time{
		"":                               {},
		"10m":                            now.Add(-10 * time.Minute),
		"1h30m":                          now.Add(-90 * time.Minute),
		"2006-01-02T15:04:05.999999999Z": time.Date(2006, 1, 2, 15, 4, 5, 999999999, time.UTC),
		"2006-01-02T15:04:05+07:00":      time.Date(2006, 1, 2, 8, 4, 5, 0, time.UTC),
		"2006-01-02T15:04Z":              time.Date(2006, 1, 2, 15, 4, 0, 0, time.UTC),
		"2006-01-02T15:04:05":            time.Date(2006, 1, 2, 15, 4, 5, 0, zone),
		"2006-01-02T15:04:05.5":          time.Date(2006, 1, 2, 15, 4, 5, 5e8, zone),
		"2006-01-02T15":                  time.Date(2006, 1, 2, 15, 0, 0, 0, zone),
		"2006-01-02":                     time.Date(2006, 1, 2, 0, 0, 0, 0, zone),
		"2006-01-02Z":                    time.Date(2006, 1, 2, 0, 0, 0, 0, time.UTC),
		"0":                              time.Unix(0, 0),
		"1136073600":                     time.Unix(1136073600, 0),
		"1136073600.000000001":           time.Unix(1136073600, 1),
		"1136073600.1":                   time.Unix(1136073600, 1e8),
	} {
		if got, err := ParseTime(in, now); err != nil || !got.Equal(want) {
			t.Errorf("ParseTime(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"yesterday", "1.1234567890", "2006-13-02", "12:30", "1.-5"} {
		if got, err := ParseTime(in, now); !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("ParseTime(%q) = %v, %v; want InvalidArgument", in, got, err)
		}
	}
}

func FuzzParseBytes(f *testing.F) {
	for _, s := range []string{"512m", "1.5g", "10MB", "64 kib", "-1", "1e400"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := ParseBytes(s); err == nil && n < 0 {
			t.Errorf("ParseBytes(%q) = %d", s, n)
		}
	})
}

func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"10m", "2006-01-02T15:04:05Z", "1136073600.5", "2006-01-02"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := ParseTime(s, time.Unix(0, 0)); err != nil && !got.IsZero() {
			t.Errorf("ParseTime(%q) = %v with error %v", s, got, err)
		}
	})
}
