package flagvalue

import (
	"fmt"
	"strconv"
	"strings"

	"berth/internal/units"
)

// Bytes is a size: "512m", "1.5g", "1048576".
type Bytes int64

// Set parses s.
func (b *Bytes) Set(s string) error {
	n, err := units.ParseBytes(s)
	if err != nil {
		return err
	}
	*b = Bytes(n)
	return nil
}

// Type names the value in the help.
func (b *Bytes) Type() string { return "bytes" }

// String returns the number of bytes, or nothing for none.
func (b *Bytes) String() string {
	if *b == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*b), 10)
}

// SwapBytes is a size or "-1" for no limit.
type SwapBytes int64

// Set parses s.
func (b *SwapBytes) Set(s string) error {
	if s == "-1" {
		*b = -1
		return nil
	}
	return (*Bytes)(b).Set(s)
}

// Type names the value in the help.
func (b *SwapBytes) Type() string { return "bytes" }

// String returns the number of bytes, or nothing for none.
func (b *SwapBytes) String() string { return (*Bytes)(b).String() }

// NanoCPUs is a number of CPUs in billionths: "1.5" is 1500000000.
type NanoCPUs int64

// nano is the number of decimals that a NanoCPUs keeps.
const nano = 9

// Set parses s exactly: no float stands between "0.1" and 100000000.
func (c *NanoCPUs) Set(s string) error {
	if num, den, ok := strings.Cut(s, "/"); ok {
		return c.setRatio(s, num, den)
	}
	whole, frac, _ := strings.Cut(s, ".")
	digits := strings.TrimPrefix(whole, "+") + frac
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return fmt.Errorf("failed to parse %s as a rational number", s)
	}
	if len(strings.TrimRight(frac, "0")) > nano {
		return fmt.Errorf("value is too precise")
	}
	frac = (frac + strings.Repeat("0", nano))[:nano]
	n, err := strconv.ParseInt(strings.TrimPrefix(whole, "+")+frac, 10, 64)
	if err != nil {
		return fmt.Errorf("failed to parse %s as a rational number", s)
	}
	*c = NanoCPUs(n)
	return nil
}

// setRatio parses "3/2", which Docker accepts too.
func (c *NanoCPUs) setRatio(s, num, den string) error {
	a, err1 := strconv.ParseUint(num, 10, 32)
	b, err2 := strconv.ParseUint(den, 10, 32)
	if err1 != nil || err2 != nil || b == 0 {
		return fmt.Errorf("failed to parse %s as a rational number", s)
	}
	if a*1e9%b != 0 {
		return fmt.Errorf("value is too precise")
	}
	*c = NanoCPUs(a * 1e9 / b)
	return nil
}

// Type names the value in the help.
func (c *NanoCPUs) Type() string { return "decimal" }

// String returns the number of CPUs, or nothing for none.
func (c *NanoCPUs) String() string {
	if *c == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(*c)/1e9, 'f', -1, 64)
}
