package oci

import (
	"runtime"
	"strconv"
	"strings"

	"berth/internal/errdefs"
)

// Platform is what a program was built for. Variant divides an architecture
// that has grown: arm has v5 to v8, arm64 v8 and v9, amd64 v1 to v4. A
// processor runs what was built for its own variant or an earlier one.
type Platform struct {
	Architecture string   `json:"architecture"`
	OS           string   `json:"os"`
	OSVersion    string   `json:"os.version,omitempty"`
	OSFeatures   []string `json:"os.features,omitempty"`
	Variant      string   `json:"variant,omitempty"`
}

// HostPlatform is the platform of this program, and so of this machine.
func HostPlatform() Platform {
	return Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH}.Normalize()
}

// ParsePlatform reads "os/arch[/variant]", "arch" or "os"; what is left out is the host's.
func ParsePlatform(s string) (Platform, error) {
	parts := strings.Split(s, "/")
	for _, p := range parts {
		if p == "" || strings.Trim(strings.ToLower(p), "abcdefghijklmnopqrstuvwxyz0123456789_.-") != "" {
			parts = nil
		}
	}
	host := HostPlatform()
	switch len(parts) {
	case 1:
		if isOS(strings.ToLower(s)) {
			host.OS = strings.ToLower(s)
			return host, nil
		}
		p := Platform{OS: host.OS, Architecture: s}.Normalize()
		if !isArchitecture(p.Architecture) {
			return Platform{}, errdefs.New(errdefs.InvalidArgument, "%q is neither an operating system nor an architecture", s).
				WithHint("a platform is written os/architecture[/variant], as linux/arm64")
		}
		return p, nil
	case 2:
		return Platform{OS: parts[0], Architecture: parts[1]}.Normalize(), nil
	case 3:
		return Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}.Normalize(), nil
	}
	return Platform{}, errdefs.New(errdefs.InvalidArgument, "%q is an invalid platform", s).WithHint("a platform is written os/architecture[/variant], as linux/arm64")
}

func isOS(s string) bool {
	switch s {
	case "linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "solaris", "illumos", "aix", "android", "wasip1":
		return true
	}
	return false
}

// isArchitecture knows the names of the Go tool chain. Where a platform says its
// operating system, too, any other name is taken: the image decides then.
func isArchitecture(s string) bool {
	switch s {
	case "386", "amd64", "arm", "arm64", "loong64", "mips", "mipsle", "mips64", "mips64le", "ppc64", "ppc64le", "riscv64", "s390x", "sparc64", "wasm":
		return true
	}
	return false
}

// Normalize returns p in the words of the Go tool chain, which image authors
// are told to use, with the variant left out where it is the one that everybody means.
func (p Platform) Normalize() Platform {
	p.OS, p.Architecture, p.Variant = strings.ToLower(p.OS), strings.ToLower(p.Architecture), strings.ToLower(p.Variant)
	if p.OS == "macos" {
		p.OS = "darwin"
	}
	switch p.Architecture {
	case "x86_64", "x86-64":
		p.Architecture = "amd64"
	case "aarch64":
		p.Architecture = "arm64"
	case "i386", "i486", "i586", "i686":
		p.Architecture, p.Variant = "386", ""
	case "armhf":
		p.Architecture, p.Variant = "arm", "v7"
	case "armel":
		p.Architecture, p.Variant = "arm", "v6"
	}
	if p.Variant != "" && p.Variant[0] >= '0' && p.Variant[0] <= '9' {
		p.Variant = "v" + p.Variant
	}
	switch {
	case p.Architecture == "amd64" && p.Variant == "v1", p.Architecture == "arm64" && (p.Variant == "v8" || p.Variant == "v8.0"):
		p.Variant = ""
	case p.Architecture == "arm" && p.Variant == "":
		p.Variant = "v7"
	}
	return p
}

// String returns "os/arch[/variant]".
func (p Platform) String() string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// accepted lists what runs on p, best first: its own variant, earlier ones, and
// the 32-bit architecture that the processor runs as well.
func (p Platform) accepted() []Platform {
	p = p.Normalize()
	list := []Platform{{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}}
	earlier := func(arch string, from, to int) {
		for v := from; v >= to; v-- {
			list = append(list, Platform{OS: p.OS, Architecture: arch, Variant: "v" + strconv.Itoa(v)}.Normalize())
		}
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(p.Variant, "v"), ".")
	version, err := strconv.Atoi(major)
	if err != nil || version > 99 {
		version = 0
	}
	switch p.Architecture {
	case "amd64":
		earlier("amd64", version-1, 1)
		list = append(list, Platform{OS: p.OS, Architecture: "386"})
	case "arm64":
		earlier("arm64", version-1, 8)
		earlier("arm", 8, 5)
	case "arm":
		earlier("arm", version-1, 5)
	}
	return list
}

// rank tells how well something built for q runs on a machine accepting list; -1: not at all.
func rank(list []Platform, q Platform) int {
	q = q.Normalize()
	for i, p := range list {
		if p.OS == q.OS && p.Architecture == q.Architecture && p.Variant == q.Variant {
			return i
		}
	}
	return -1
}

// Runs reports whether something built for q runs on p.
func (p Platform) Runs(q Platform) bool { return rank(p.accepted(), q) >= 0 }

// Select returns the manifest of an index that suits p best. Of several that
// suit equally the first counts. A manifest without a platform is taken if no
// other suits: tools write it for an image that is not multi-platform.
func (p Platform) Select(manifests []Descriptor) (Descriptor, bool) {
	list := p.accepted()
	best, bestRank := -1, len(list)
	unnamed := -1
	for i, d := range manifests {
		if d.Platform == nil {
			if unnamed < 0 {
				unnamed = i
			}
			continue
		}
		if r := rank(list, *d.Platform); r >= 0 && r < bestRank {
			best, bestRank = i, r
		}
	}
	if best < 0 {
		best = unnamed
	}
	if best < 0 {
		return Descriptor{}, false
	}
	return manifests[best], true
}
