package dockerfile

import (
	"slices"
	"strings"

	"github.com/moby/buildkit/util/suggest"
)

// meant returns the word that an unknown one of a message may have been meant
// to be, or "". instruction is where it stands.
func meant(message, instruction string) string {
	for _, c := range [...]struct{ before, after, words string }{
		{"unknown instruction: ", "", "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL ONBUILD RUN SHELL STOPSIGNAL USER VOLUME WORKDIR"},
		{"unknown flag: ", "", flags(instruction)},
		{"unexpected key '", "'", "type target source from id required readonly sharing size mode uid gid env"},
		{`unsupported mount type "`, `"`, "bind cache tmpfs secret ssh"},
		{`unsupported sharing value "`, `"`, "shared private locked"},
	} {
		word, ok := strings.CutPrefix(message, c.before)
		if !ok {
			continue
		}
		if c.after != "" {
			word, _, _ = strings.Cut(word, c.after)
		}
		if strings.HasPrefix(c.before, "unknown instruction") {
			word = strings.ToUpper(word)
		}
		return nearest(word, strings.Fields(c.words))
	}
	return ""
}

// flags are the options of an instruction.
func flags(instruction string) string {
	switch strings.ToUpper(instruction) {
	case "FROM":
		return "--platform"
	case "RUN":
		return "--mount --network --security --device"
	case "COPY":
		return "--from --chown --chmod --link --parents --exclude"
	case "ADD":
		return "--chown --chmod --link --exclude --checksum --keep-git-dir --unpack"
	case "HEALTHCHECK":
		return "--interval --timeout --start-period --start-interval --retries"
	}
	return ""
}

// nearest returns the one of names that word may have been meant to be, or "".
// Of several that are as near it takes one with the same letters, else the first.
func nearest(word string, names []string) string {
	const longest, most = 64, 1000
	if len(word) > longest || len(names) > most {
		return ""
	}
	letters := func(s string) string {
		b := []byte(s)
		slices.Sort(b)
		return string(b)
	}
	mine := letters(word)
	list := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return len(n) > longest })
	slices.SortStableFunc(list, func(a, b string) int {
		switch {
		case letters(a) == mine && letters(b) != mine:
			return -1
		case letters(b) == mine && letters(a) != mine:
			return 1
		}
		return 0
	})
	match, _ := suggest.Search(word, list, true)
	return match
}
