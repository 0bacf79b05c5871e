// Package reference provides the names of images: what a user types, as a value.
//
// A full name is "domain/path:tag@digest": the registry's host, the repository
// in it, and which image of the repository is meant, by a movable tag or by the
// digest of its manifest. Users leave out what is usual, so "busybox" is short
// for "docker.io/library/busybox:latest"; messages and tables show the short,
// "familiar" form again.
//
// The grammar is that of Docker and of the OCI distribution specification. It
// is parsed by hand because a table of regular expressions costs every start of
// a program that links it about a millisecond. A test module of its own
// (test/conformance/reference) compares it with Docker's implementation.
package reference

import (
	"strings"

	"berth/internal/errdefs"
	"berth/internal/oci"
)

const (
	// DefaultDomain is the registry of a name that tells none.
	DefaultDomain = "docker.io"
	// DefaultTag is the tag of a name that tells neither tag nor digest.
	DefaultTag = "latest"

	legacyDomain   = "index.docker.io" // means DefaultDomain
	officialPrefix = "library/"        // where DefaultDomain keeps names of one element

	maxPath = 255
)

// Named is the name of an image or of a repository. Two equal names are ==; the
// zero value names nothing.
type Named struct {
	name   string // domain/path
	slash  int    // where the domain ends in name
	tag    string
	digest oci.Digest
}

// Parse reads a name as typed and adds DefaultTag if it has neither tag nor digest.
func Parse(s string) (Named, error) {
	n, err := ParseExact(s)
	if err == nil && n.IsNameOnly() {
		n.tag = DefaultTag
	}
	return n, err
}

// ParseExact is Parse without the default tag: "busybox" stays a whole
// repository. Commands that treat the two differently (pull --all-tags) use it.
func ParseExact(s string) (Named, error) {
	if isIdentifier(s) {
		return Named{}, errdefs.New(errdefs.InvalidArgument, "invalid repository name (%s), cannot specify 64-byte hexadecimal strings", s)
	}
	domain, remainder := splitDomain(s)
	remote, _, _ := strings.Cut(remainder, ":")
	if strings.ToLower(remote) != remote {
		return Named{}, errdefs.New(errdefs.InvalidArgument, "invalid reference format: repository name (%s) must be lowercase", remote)
	}
	path, tag, digest, ok := splitSuffix(remainder)
	if !ok || !validDomain(domain) {
		return Named{}, formatError(domain, remainder)
	}
	n := Named{slash: len(domain), tag: tag}
	if len(path) > maxPath {
		return Named{}, errdefs.New(errdefs.InvalidArgument, "repository name must not be more than %d characters", maxPath)
	}
	if digest != "" {
		d, err := parseDigest(digest)
		if err != nil {
			return Named{}, err
		}
		n.digest = d
	}
	if len(domain)+1+len(path) <= len(s) && s[:len(domain)] == domain && s[len(domain)+1:len(domain)+1+len(path)] == path {
		n.name = s[:len(domain)+1+len(path)] // typed in full: no copy
	} else {
		n.name = domain + "/" + path
	}
	return n, nil
}

// splitDomain decides whether the first element of a name is a registry. It is
// if it looks like a host (has a dot, a port, capitals, or is "localhost");
// else "user/image" would be ambiguous.
func splitDomain(s string) (domain, remainder string) {
	first, rest, ok := strings.Cut(s, "/")
	if !ok {
		return DefaultDomain, officialPrefix + s
	}
	switch {
	case first == legacyDomain:
		domain, remainder = DefaultDomain, rest
	case first == "localhost", strings.ContainsAny(first, ".:"), strings.ToLower(first) != first:
		domain, remainder = first, rest
	default:
		domain, remainder = DefaultDomain, s
	}
	if domain == DefaultDomain && !strings.Contains(remainder, "/") {
		remainder = officialPrefix + remainder
	}
	return domain, remainder
}

// splitSuffix cuts "path[:tag][@digest]" and checks the three parts.
func splitSuffix(s string) (path, tag, digest string, ok bool) {
	path, digest, hasDigest := strings.Cut(s, "@")
	path, tag, hasTag := strings.Cut(path, ":")
	ok = validPath(path) && (!hasTag || ValidTag(tag)) && (!hasDigest || looksLikeDigest(digest))
	return path, tag, digest, ok
}

func formatError(domain, remainder string) error {
	lower := strings.ToLower(domain + "/" + remainder)
	if lower != domain+"/"+remainder {
		d, r, _ := strings.Cut(lower, "/")
		if _, _, _, ok := splitSuffix(r); ok && (validDomain(d) || validPath(d)) {
			return errdefs.New(errdefs.InvalidArgument, "repository name must be lowercase")
		}
	}
	return errdefs.New(errdefs.InvalidArgument, "invalid reference format").
		WithHint(`an image is named like "busybox:latest" or "registry.example.com:5000/team/app:1.0"`)
}

// parseDigest tells, in Docker's words, what is wrong with a digest of the right shape.
func parseDigest(s string) (oci.Digest, error) {
	algorithm, sum, _ := strings.Cut(s, ":")
	if d, err := oci.ParseDigest(s); err == nil {
		return d, nil
	}
	why := "invalid checksum digest format"
	switch {
	case strings.ToLower(algorithm) != algorithm:
	case algorithm != "sha256":
		why = "unsupported digest algorithm"
	case len(sum) != 64:
		why = "invalid checksum digest length"
	}
	return "", errdefs.New(errdefs.InvalidArgument, "%s", why).WithHint(`a digest is "sha256:" and 64 lower-case hex digits`)
}

// Domain returns the registry: "docker.io".
func (n Named) Domain() string { return n.name[:n.slash] }

// Path returns the repository inside the registry: "library/busybox".
func (n Named) Path() string {
	if n.name == "" {
		return ""
	}
	return n.name[n.slash+1:]
}

// Name returns the repository with its registry: "docker.io/library/busybox".
func (n Named) Name() string { return n.name }

// Tag returns the tag, or "".
func (n Named) Tag() string { return n.tag }

// Digest returns the digest, or "".
func (n Named) Digest() oci.Digest { return n.digest }

// IsNameOnly reports whether n has neither tag nor digest.
func (n Named) IsNameOnly() bool { return n.tag == "" && n.digest == "" }

// String returns the whole name: "docker.io/library/busybox:latest".
func (n Named) String() string { return n.name + n.suffix() }

// FamiliarName returns the repository as users know it: "busybox".
func (n Named) FamiliarName() string {
	if n.Domain() != DefaultDomain {
		return n.name
	}
	path := n.Path()
	if short, ok := strings.CutPrefix(path, officialPrefix); ok && !strings.Contains(short, "/") {
		return short
	}
	return path
}

// Familiar returns the name as users know it: "busybox:latest".
func (n Named) Familiar() string { return n.FamiliarName() + n.suffix() }

func (n Named) suffix() string {
	switch {
	case n.digest == "" && n.tag == "":
		return ""
	case n.digest == "":
		return ":" + n.tag
	case n.tag == "":
		return "@" + string(n.digest)
	}
	return ":" + n.tag + "@" + string(n.digest)
}

// WithTag returns the same repository under one tag and without a digest.
func (n Named) WithTag(tag string) (Named, error) {
	if !ValidTag(tag) {
		return Named{}, errdefs.New(errdefs.InvalidArgument, "invalid tag format: %q", tag)
	}
	n.tag, n.digest = tag, ""
	return n, nil
}

// WithDigest returns the same repository pinned to a digest and without a tag.
func (n Named) WithDigest(d oci.Digest) Named {
	n.tag, n.digest = "", d
	return n
}

// Repository returns n without tag and digest.
func (n Named) Repository() Named {
	n.tag, n.digest = "", ""
	return n
}
