package main

import (
	"regexp"
	"strings"
)

// failure is the line with which a build ends that failed.
func failure(b built) string {
	if b.ok {
		return "success"
	}
	lines := strings.Split(strings.TrimSpace(b.err), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		for _, mark := range []string{"ERROR: ", "berth: "} {
			if text, ok := strings.CutPrefix(lines[i], mark); ok {
				return text
			}
		}
	}
	return lines[len(lines)-1]
}

// around are the words that the builders put around what went wrong, each in its own way.
const around = `^(failed to (build|solve|compute cache key|prepare [^:]*|calculate checksum of ref \S+|read dockerfile|process ".*?"|parse Dockerfile|parse stage name ".*?"): |` +
	`\S*Dockerfile(:\d+)*: |cannot (copy|read|fetch|check out|read the Dockerfile) \S+: |failed to load cache key: |dockerfile parse error on line \d+: |rpc error: code = \w+ desc = |invalid argument ".*?" for "--\S+" flag: )|` +
	` \(did you mean \S+\?\)$`

// classes are what errors are about, by their words in one or the other builder.
// The first that matches counts, with what its brackets find.
var classes = []struct{ name, words string }{
	{"program failed", `exit code:? (\d+)`},
	{"not found", `(?i)not found|no such file|does not exist|does not contain|status 404|has no directory|there is no file`},
	{"no such user", `unable to find (?:user|group) |uids and gids must be`},
	{"repository", `git fetch: |error fetching default branch`},
	{"too large", `too big|has more than \d+ bytes`},
	{"refused", `connection refused`},
	{"unreachable", `network is unreachable`},
	{"digest", `digest mismatch|invalid digest|invalid checksum digest`},
	{"not a directory", `not a directory|non-directory|is a directory|replace to directory|is a file$`},
	{"not a file", `not a regular file`},
	{"pattern", `syntax error in pattern|invalid pattern`},
	{"mode", `(?i)chmod|^invalid syntax$`},
	{"owner of a link", `can't be resolved when used with --link`},
	{"empty", `the Dockerfile (?:is|cannot be) empty`},
	{"no stage", `has no stage|contains no stages`},
	{"no command", `RUN has no command|arguments are required`},
	{"no name", `has no name|empty key`},
	{"image name", `invalid reference format`},
	{"platform", `invalid platform|platform specifier`},
	{"lint", `FromAsCasing`},
	{"circle", `circular dependency`},
	{"not allowed", `(?:network.host|security.insecure|--network=host|--security=insecure) is not allowed`},
	{"variable in --from", `variable expansion is not supported for --from`},
}

// class is what an error is about: its class if it has one, else its own words.
func class(b built) string {
	if b.ok {
		return "success"
	}
	text, skin := failure(b), regexp.MustCompile(around)
	for {
		inner := skin.ReplaceAllString(text, "")
		if inner == text {
			break
		}
		text = inner
	}
	for _, c := range classes {
		if m := regexp.MustCompile(c.words).FindStringSubmatch(text); m != nil {
			return strings.Join(append([]string{c.name}, m[1:]...), " ")
		}
	}
	return text
}

// place finds the line of the Dockerfile that an error is about: "Dockerfile:3".
const place = `(?m)^(\S*Dockerfile):(\d+)`

func line(b built) string {
	if m := regexp.MustCompile(place).FindStringSubmatch(b.err); m != nil {
		return "line " + m[2]
	}
	return noLine
}

// noLine is what BuildKit says of many errors; there berth may know better.
const noLine = "no line"

func compareFailures(berth, buildkit built) (found []difference) {
	if berth.ok != buildkit.ok {
		return []difference{{"success", failure(berth), failure(buildkit)}}
	}
	if x, y := class(berth), class(buildkit); x != y {
		found = append(found, difference{"class of the error", x, y})
	}
	if x, y := line(berth), line(buildkit); x != y && y != noLine {
		found = append(found, difference{"line of the error", x, y})
	}
	return found
}
