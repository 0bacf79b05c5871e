package oci

import (
	"strings"
	"testing"
)

func TestParsePorts(t *testing.T) {
	for text, want := range map[string]Ports{
		"80": {80, 80, "tcp"}, "80/": {80, 80, "tcp"}, "53/udp": {53, 53, "udp"}, "1/SCTP": {1, 1, "sctp"},
		"8000-8010/tcp": {8000, 8010, "tcp"}, "65535": {65535, 65535, "tcp"}, "7-7": {7, 7, "tcp"},
	} {
		if got, err := ParsePorts(text); got != want || err != nil {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"": "invalid port", "0": "invalid port: 0", "x": "invalid port: x", "65536": "invalid port", "-1": "invalid port", "80-": "invalid port",
		"9-8": "invalid range", "0-8": "invalid range", "80/http": "invalid proto: http", "+80": "invalid port", "80 ": "invalid port",
	} {
		if got, err := ParsePorts(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v; want %q", text, got, err, want)
		}
	}
	if port, protocol, err := ParsePort("53/udp"); port != 53 || protocol != "udp" || err != nil {
		t.Errorf("%d/%s, %v", port, protocol, err)
	}
	if _, _, err := ParsePort("1-2"); err == nil {
		t.Error("a range is not one port")
	}
}

func TestParsePortRange(t *testing.T) {
	for text, want := range map[string][2]uint16{"8080": {8080, 8080}, "8000-8010": {8000, 8010}, "0": {0, 0}, "65535": {65535, 65535}} {
		if first, last, err := ParsePortRange(text); first != want[0] || last != want[1] || err != nil {
			t.Errorf("%q: %d-%d, %v", text, first, last, err)
		}
	}
	for _, text := range []string{"", "x", "-1", "65536", "8010-8000", "0-5", "1-65536", "1-"} {
		if first, last, err := ParsePortRange(text); err == nil {
			t.Errorf("%q: %d-%d", text, first, last)
		}
	}
}

func FuzzParsePorts(f *testing.F) {
	f.Add("8000-8010/tcp")
	f.Add("53/UDP")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePorts(s)
		if err == nil && (p.First == 0 || p.Last < p.First || p.Protocol == "") {
			t.Errorf("%q: %+v", s, p)
		}
	})
}
