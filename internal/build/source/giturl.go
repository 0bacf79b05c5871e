package source

import (
	"net/url"
	"path"
	"strconv"
	"strings"

	"berth/internal/errdefs"
)

// GitRef is what a git address of a Dockerfile or command line says.
type GitRef struct {
	Remote string // what git is given, without what follows "?" and "#"
	Ref    string // a branch, tag, full ref name or commit; "" is the default branch
	Subdir string // the directory that is wanted, clean and relative; "" is all
	// Commit is what Ref must be: a commit's id or its beginning; "" is not checked.
	Commit         string
	KeepGitDir     bool
	SkipSubmodules bool
	// CommitTime gives all files the time of the commit instead of that of the checkout.
	CommitTime bool
}

// ParseGit tells whether s is the address of a git repository, and reads it:
//
//	https://host/path.git   http://...   (only with .git at the end)
//	git://host/path   ssh://user@host/path   user@host:path
//	github.com/owner/name                    (only as a build context)
//
// each with "#ref:subdir" or "?ref=..&tag=..&branch=..&subdir=..&commit=..
// &keep-git-dir=..&submodules=..&mtime=.." behind it. An address that is not
// git's gives false; one that is, but says something that cannot be, an error.
func ParseGit(s string) (ref GitRef, isGit bool, err error) {
	var query url.Values
	var fragment string
	switch scheme, rest, ok := strings.Cut(s, "://"); {
	case ok:
		u, err := url.Parse(s)
		if err != nil {
			return ref, false, nil
		}
		switch strings.ToLower(scheme) {
		case "http", "https":
			if !strings.HasSuffix(u.Path, ".git") {
				return ref, false, nil
			}
		case "git", "ssh":
		default:
			return ref, false, nil
		}
		if u.Host == "" || rest == "" {
			return ref, true, errdefs.New(errdefs.InvalidArgument, "%q names no host", s)
		}
		if query, err = url.ParseQuery(u.RawQuery); err != nil {
			return ref, true, errdefs.New(errdefs.InvalidArgument, "%q: %w", Redact(s), err)
		}
		fragment = u.Fragment
		u.Fragment, u.RawFragment, u.RawQuery, u.ForceQuery = "", "", "", false
		u.Scheme = strings.ToLower(u.Scheme)
		ref.Remote = u.String()
	case strings.HasPrefix(s, "github.com/"):
		ref, isGit, err = ParseGit("https://" + withSuffix(s))
		return ref, isGit, err
	default:
		if ref.Remote, query, fragment, ok = parseSCP(s); !ok {
			return ref, false, nil
		}
	}
	if err := ref.take(fragment, query); err != nil {
		return ref, true, errdefs.New(errdefs.InvalidArgument, "%q: %w", Redact(s), err)
	}
	return ref, true, nil
}

// withSuffix puts .git behind the path of "github.com/owner/name", where it may be left out.
func withSuffix(s string) string {
	i := strings.IndexAny(s, "?#")
	if i < 0 {
		i = len(s)
	}
	return strings.TrimSuffix(strings.TrimSuffix(s[:i], "/"), ".git") + ".git" + s[i:]
}

// parseSCP reads "user@host:path?query#fragment", which is how scp(1) names files.
func parseSCP(s string) (remote string, query url.Values, fragment string, ok bool) {
	user, rest, ok := strings.Cut(s, "@")
	host, where, ok2 := strings.Cut(rest, ":")
	if !ok || !ok2 || !isName(user, "_-") || !isName(host, ".-") {
		return "", nil, "", false
	}
	where, fragment, _ = strings.Cut(where, "#")
	where, rawQuery, _ := strings.Cut(where, "?")
	query, err := url.ParseQuery(rawQuery)
	if err != nil || where == "" {
		return "", nil, "", false
	}
	return user + "@" + host + ":" + where, query, fragment, true
}

// isName reports whether s is made of letters, digits and more, and does not
// begin with a dash, which a program could take for an option.
func isName(s, more string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte(more, c) < 0 {
			return false
		}
	}
	return s != "" && s[0] != '-'
}

// take reads what follows the address.
func (g *GitRef) take(fragment string, query url.Values) error {
	ref, subdir, _ := strings.Cut(fragment, ":")
	g.Ref, g.Subdir = ref, subdir
	for name, values := range query {
		value := values[0]
		if len(values) > 1 {
			return errdefs.New(errdefs.InvalidArgument, "query %q has multiple values", name)
		}
		if err := g.one(name, value); err != nil {
			return err
		}
	}
	// By names of the query and not in the order of a map: a conflict is always the same one.
	for _, kind := range []struct{ name, prefix string }{{"tag", "refs/tags/"}, {"branch", "refs/heads/"}} {
		if value := query.Get(kind.name); value != "" {
			if err := agree(&g.Ref, kind.prefix+strings.TrimPrefix(value, kind.prefix), "ref"); err != nil {
				return err
			}
		}
	}
	g.Subdir = strings.TrimPrefix(path.Join("/", g.Subdir), "/")
	for _, s := range []string{g.Ref, g.Commit} {
		if strings.HasPrefix(s, "-") || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune("~^:?*[\\", r) }) {
			return errdefs.New(errdefs.InvalidArgument, "invalid ref %q", s)
		}
	}
	if strings.ContainsRune(g.Subdir, 0) {
		return errdefs.New(errdefs.InvalidArgument, "invalid subdir %q", g.Subdir)
	}
	if g.Commit != "" && !isHex(g.Commit) {
		return errdefs.New(errdefs.InvalidArgument, "invalid commit %q", g.Commit)
	}
	return nil
}

// one reads one field of the query.
func (g *GitRef) one(name, value string) (err error) {
	yes := value == ""
	switch name {
	case "keep-git-dir", "submodules":
		if !yes {
			if yes, err = strconv.ParseBool(value); err != nil {
				return errdefs.New(errdefs.InvalidArgument, "invalid %s value: %q", name, value)
			}
		}
	default:
		if value == "" {
			return errdefs.New(errdefs.InvalidArgument, "query %q has no value", name)
		}
	}
	switch name {
	case "keep-git-dir":
		g.KeepGitDir = yes
	case "submodules":
		g.SkipSubmodules = !yes
	case "ref":
		return agree(&g.Ref, value, "ref")
	case "subdir":
		return agree(&g.Subdir, value, "subdir")
	case "checksum", "commit":
		return agree(&g.Commit, value, "commit")
	case "mtime":
		if value != "checkout" && value != "commit" {
			return errdefs.New(errdefs.InvalidArgument, `invalid mtime value: %q (must be "checkout" or "commit")`, value)
		}
		g.CommitTime = value == "commit"
	case "tag", "branch":
	default:
		return errdefs.New(errdefs.InvalidArgument, "unexpected query %q", name)
	}
	return nil
}

// agree sets what may be said twice, but not in two ways.
func agree(to *string, value, what string) error {
	if *to != "" && *to != value {
		return errdefs.New(errdefs.InvalidArgument, "%s conflicts: %q vs %q", what, *to, value)
	}
	*to = value
	return nil
}

// isHex reports whether s may be a commit's id or its beginning.
func isHex(s string) bool {
	return len(s) <= 64 && len(s) >= 7 && strings.Trim(s, "0123456789abcdef") == ""
}

// isCommit reports whether s is a whole commit id, of SHA-1 or SHA-256.
func isCommit(s string) bool { return (len(s) == 40 || len(s) == 64) && isHex(s) }

// Redact takes the password out of an address that is shown or stored.
func Redact(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return s
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	at := strings.LastIndexByte(rest[:end], '@')
	if at < 0 {
		return s
	}
	user, _, hasPassword := strings.Cut(rest[:at], ":")
	if hasPassword {
		user += ":xxxxx"
	}
	return scheme + "://" + user + rest[at:]
}
