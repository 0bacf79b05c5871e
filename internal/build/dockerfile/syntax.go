package dockerfile

import (
	"strings"

	"berth/internal/errdefs"
)

// checkSyntax says whether a front end named by "# syntax=" or BUILDKIT_SYNTAX
// is the language that this package reads. Docker publishes it as an image so
// that a Dockerfile may ask for a newer reader than the engine's; version 1 only
// ever grows, so what is newer than the library shows as an unknown option.
func checkSyntax(frontend string) error {
	name, _, _ := strings.Cut(frontend, "@")
	name = strings.TrimPrefix(name, "docker.io/")
	name, tag, tagged := strings.Cut(name, ":")
	channel := name == "docker/dockerfile" || name == "docker/dockerfile-upstream"
	version, _, _ := strings.Cut(strings.TrimSuffix(tag, "-labs"), ".")
	if channel && (!tagged || version == "1" || tag == "latest" || tag == "labs" || tag == "master") {
		return nil
	}
	e := errdefs.New(errdefs.Unsupported, "front end %s: berth reads Dockerfiles itself and runs no other front end", frontend)
	if channel {
		return e.WithHint("write # syntax=docker/dockerfile:1")
	}
	return e.WithHint("remove the line # syntax= if the text is a Dockerfile, else build it with the tool that it was made for")
}
