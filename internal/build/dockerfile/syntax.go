package dockerfile

import (
	"slices"
	"strings"

	"berth/internal/errdefs"
	"berth/internal/reference"
)

// checkSyntax says whether a front end named by "# syntax=" or BUILDKIT_SYNTAX
// is the language that this package reads. Docker publishes it as an image so
// that a Dockerfile may ask for a newer reader than the engine's; version 1 only
// ever grows, so what is newer than the library shows as an unknown option.
// Channels that took new words early (labs, and experimental before it) have
// become part of it.
func checkSyntax(frontend string) error {
	name, _, _ := strings.Cut(frontend, "@")
	n, err := reference.ParseExact(name)
	docker := err == nil && isDockers(n)
	version, early, _ := strings.Cut(n.Tag(), "-")
	version, _, _ = strings.Cut(version, ".")
	known := slices.Contains([]string{"", "1", "latest", "master", "labs", "experimental"}, version)
	if docker && known && slices.Contains([]string{"", "labs", "experimental"}, early) {
		return nil
	}
	e := errdefs.New(errdefs.Unsupported, "front end %s: berth reads Dockerfiles itself and runs no other front end", frontend)
	if docker {
		return e.WithHint("write # syntax=docker/dockerfile:1")
	}
	return e.WithHint("remove the line # syntax= if the text is a Dockerfile, else build it with the tool that it was made for")
}

// isDockers reports whether a name is that of Docker's own front end, or of its
// copy on a registry that stands before Docker's (mirror.example.com/hub/docker/dockerfile).
func isDockers(n reference.Named) bool {
	for _, name := range []string{"docker/dockerfile", "docker/dockerfile-upstream"} {
		if n.Path() == name || n.Domain() != reference.DefaultDomain && strings.HasSuffix(n.Path(), "/"+name) {
			return true
		}
	}
	return false
}
