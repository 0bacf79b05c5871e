package attestation

import (
	"maps"
	"slices"
	"strings"

	"berth/internal/oci"
	"berth/internal/reference"
)

// PackageURL names a package in the way that all ecosystems share
// (github.com/package-url/purl-spec): "pkg:deb/debian/bash@5.2.15-2%2Bb7?arch=amd64".
type PackageURL struct {
	Type       string // "deb", "apk", "docker", in small letters
	Namespace  string // elements divided by "/"; "" if the type has none
	Name       string
	Version    string
	Qualifiers map[string]string // those with an empty value are left out
}

// String returns the canonical form.
func (p PackageURL) String() string {
	b := append([]byte("pkg:"), p.Type...)
	for part := range strings.SplitSeq(p.Namespace, "/") {
		if part != "" {
			b = appendEscaped(append(b, '/'), part)
		}
	}
	b = appendEscaped(append(b, '/'), p.Name)
	if p.Version != "" {
		b = appendEscaped(append(b, '@'), p.Version)
	}
	sep := byte('?')
	for _, key := range slices.Sorted(maps.Keys(p.Qualifiers)) {
		if v := p.Qualifiers[key]; v != "" {
			b = append(append(append(b, sep), key...), '=')
			b = appendEscaped(b, v)
			sep = '&'
		}
	}
	return string(b)
}

// appendEscaped writes every byte but those that the specification keeps as %XX.
func appendEscaped(b []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9',
			c == '.', c == '-', c == '_', c == '~', c == ':':
			b = append(b, c)
		default:
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return b
}

// ImageURL names an image of a registry: "pkg:docker/alpine@3.20?platform=linux%2Famd64".
func ImageURL(n reference.Named, platform oci.Platform) string {
	p := PackageURL{Type: "docker", Name: n.FamiliarName(), Version: n.Tag(), Qualifiers: map[string]string{"digest": string(n.Digest())}}
	if i := strings.LastIndexByte(p.Name, '/'); i >= 0 {
		p.Namespace, p.Name = p.Name[:i], p.Name[i+1:]
	}
	if platform.Architecture != "" {
		p.Qualifiers["platform"] = platform.String()
	}
	return p.String()
}

// ImageSubjects are an image under each of its names, or under none.
func ImageSubjects(names []reference.Named, platform oci.Platform, manifest oci.Digest) []Subject {
	if len(names) == 0 {
		return []Subject{NewSubject("_", manifest)}
	}
	all := make([]Subject, len(names))
	for i, n := range names {
		all[i] = NewSubject(ImageURL(n, platform), manifest)
	}
	return all
}
