// Package units provides the sizes, durations and times that users type and
// read, in Docker's forms: "512m" and "1.5g" in (powers of 1024), "1.21MB"
// (powers of 1000) and "3.9MiB" out, "About a minute" for a duration.
//
// The same word means two things in this trade: memory is counted in powers of
// 1024 ("64k" of --memory is 65,536 bytes, and stats prints MiB), disk and
// network traffic in powers of 1000 (image ls prints MB). Which one a function
// uses is in its name.
package units

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"berth/internal/errdefs"
)

// binaryPrefixes are the letters of powers of 1024, smallest first.
const binaryPrefixes = "kmgtp"

// ParseBytes parses an amount of memory: a number, perhaps with a fraction,
// and perhaps a unit: b, k, m, g, t, p, each also as "kb" or "kib", in any case.
// All units are powers of 1024.
func ParseBytes(s string) (int64, error) {
	end := strings.LastIndexAny(s, "0123456789. ")
	if end < 0 {
		return 0, errdefs.New(errdefs.InvalidArgument, "invalid size: '%s'", s).WithHint("write it as 512m or 1.5g")
	}
	number, unit := s[:end+1], strings.ToLower(s[end+1:])
	number = strings.TrimSuffix(number, " ")
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || n < 0 || n != n || strings.ContainsAny(number, "_xXpPiI") {
		return 0, errdefs.New(errdefs.InvalidArgument, "invalid size: '%s'", s).WithHint("write it as 512m or 1.5g")
	}
	if unit != "" && unit != "b" {
		power := strings.IndexByte(binaryPrefixes, unit[0])
		if rest := unit[1:]; power < 0 || rest != "" && rest != "b" && rest != "ib" {
			return 0, errdefs.New(errdefs.InvalidArgument, "invalid suffix: '%s'", unit).WithHint("units are b, k, m, g, t and p")
		}
		n *= float64(int64(1) << (10 * (power + 1)))
	}
	if n >= 1<<63 {
		return 0, errdefs.New(errdefs.InvalidArgument, "size out of range: '%s'", s)
	}
	return int64(n), nil
}

// FormatBytes1000 writes a size in powers of 1000 with three digits: "1.21MB".
// It is the form of tables: image ls, ps --size, stats.
func FormatBytes1000(n float64) string { return scaled(n, 1000, 3, "B kB MB GB TB PB EB ZB YB") }

// HumanSize writes a size in powers of 1000 with four digits: "1.213MB". It is
// the form of totals: "Total reclaimed space: 1.213MB".
func HumanSize(n float64) string { return scaled(n, 1000, 4, "B kB MB GB TB PB EB ZB YB") }

// FormatBytes1024 writes a size in powers of 1024 with four digits: "3.9MiB".
func FormatBytes1024(n float64) string {
	return scaled(n, 1024, 4, "B KiB MiB GiB TiB PiB EiB ZiB YiB")
}

// scaled divides n by base until it is smaller; units are separated by blanks.
func scaled(n, base float64, digits int, units string) string {
	unit, rest, more := strings.Cut(units, " ")
	for n >= base && more {
		n /= base
		unit, rest, more = strings.Cut(rest, " ")
	}
	return strconv.FormatFloat(n, 'g', digits, 64) + unit
}

// HumanDuration writes a duration as a person would say it: "2 hours".
func HumanDuration(d time.Duration) string {
	const day, week, month, year = 24, 7 * 24, 30 * 24, 365 * 24 // in hours
	seconds, minutes, hours := int(d.Seconds()), int(d.Minutes()), int(d.Hours()+0.5)
	switch {
	case seconds < 1:
		return "Less than a second"
	case seconds == 1:
		return "1 second"
	case seconds < 60:
		return strconv.Itoa(seconds) + " seconds"
	case minutes == 1:
		return "About a minute"
	case minutes < 60:
		return strconv.Itoa(minutes) + " minutes"
	case hours == 1:
		return "About an hour"
	case hours < 2*day:
		return strconv.Itoa(hours) + " hours"
	case hours < 2*week:
		return strconv.Itoa(hours/day) + " days"
	case hours < 2*month:
		return strconv.Itoa(hours/week) + " weeks"
	case hours < 2*year:
		return strconv.Itoa(hours/month) + " months"
	}
	return strconv.Itoa(int(d.Hours())/year) + " years"
}

// ParseTime parses a --since or --until: a duration before now ("42m"), a time
// in RFC 3339 or a shorter form of it (without a zone: local time), or seconds
// since 1970 with up to nine decimals. The empty string is the zero time.
func ParseTime(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && s != "0" {
		return now.Add(-d), nil
	}
	for _, layout := range [...]string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02T15", "2006-01-02"} {
		if t, err := time.Parse(layout+"Z07:00", s); err == nil {
			return t, nil
		}
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	return parseUnix(s)
}

// parseUnix parses "1136073600.000000001" exactly: a float has 53 bits and would not.
func parseUnix(s string) (time.Time, error) {
	const decimals = 9
	whole, frac, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || strings.Trim(frac, "0123456789") != "" || len(frac) > decimals {
		return time.Time{}, errdefs.New(errdefs.InvalidArgument, "invalid time: '%s'", s).
			WithHint("write it as 2006-01-02T15:04:05Z, as seconds since 1970, or as a duration before now (42m)")
	}
	ns, err := strconv.ParseInt((frac + strings.Repeat("0", decimals))[:decimals], 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("parse %q: %w", s, err)
	}
	return time.Unix(sec, ns), nil
}
