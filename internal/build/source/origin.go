package source

import (
	"strings"

	"berth/internal/oci"
)

// Origin is where a tree was fetched from, and what was found there.
type Origin struct {
	URL    string     // without the name and the password of who fetched it
	Digest oci.Digest // of the file at the address; "" for a repository
	Commit string     // of the repository: hex digits; "" for a file
}

// WithoutUser removes who is asking from an address: a name before the host is
// often a token. What is no URL (git@host:path) names an account of the server.
func WithoutUser(address string) string {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return address
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	return scheme + "://" + rest[strings.LastIndexByte(rest[:end], '@')+1:]
}
