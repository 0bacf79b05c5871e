// Package buildinfo tells which berth this is.
//
// The version is a constant of the source tree; the commit and its time are
// stamped into every binary by the Go tool when it builds inside a checkout, so
// no build flags are needed and a build stays reproducible.
package buildinfo

import (
	"runtime"
	"runtime/debug"
)

// Version is the release this tree becomes.
const Version = "0.1.0"

// Info is what `berth version` prints.
type Info struct {
	Version   string
	GoVersion string
	GitCommit string // 12 digits, "" when built outside a checkout
	Built     string // time of the commit, RFC 3339; "" when unknown
	Os, Arch  string
}

// commitDigits is how much of a commit's hash is shown.
const commitDigits = 12

// Read returns the facts of the running binary.
func Read() Info {
	i := Info{Version: Version, GoVersion: runtime.Version(), Os: runtime.GOOS, Arch: runtime.GOARCH}
	bi, ok := debug.ReadBuildInfo()
	if !ok {
		return i
	}
	for _, s := range bi.Settings {
		switch s.Key {
		case "vcs.revision":
			i.GitCommit = s.Value[:min(len(s.Value), commitDigits)]
		case "vcs.time":
			i.Built = s.Value
		}
	}
	return i
}
