package dockerfile

import (
	"net/url"
	"strconv"
	"strings"

	"berth/internal/build/plan"
	"berth/internal/errdefs"
	"berth/internal/oci"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// remotes moves the URLs and git addresses among ADD's sources into op, and
// checks the options that only they have.
func (e *evaluation) remotes(op *plan.Copy, in *instructions.AddCommand) error {
	git := false
	for _, p := range in.SourcePaths {
		isRepo, err := isGit(p)
		if err != nil {
			return pointed(p, err)
		}
		if !isRepo && !isURL(p) {
			continue
		}
		op.Remote = append(op.Remote, p)
		if git = git || isRepo; isRepo {
			if err := agree(op, in, p); err != nil {
				return pointed(p, err)
			}
		}
	}
	if in.Checksum == "" {
		return nil
	}
	switch {
	case len(in.SourcePaths) != 1:
		return pointed("--checksum", errdefs.New(errdefs.InvalidArgument, "checksum can't be specified for multiple sources").WithHint("write one ADD for each"))
	case len(op.Remote) == 0:
		return pointed("--checksum", errdefs.New(errdefs.InvalidArgument, "checksum requires HTTP(S) or Git sources").
			WithHint("files of the context need no checksum: the cache knows them by their content"))
	case !git:
		if _, err := oci.ParseDigest(in.Checksum); err != nil {
			return pointed("--checksum", err)
		}
	}
	return nil
}

// agree joins the options with what the address of a repository asks for.
func agree(op *plan.Copy, in *instructions.AddCommand, address string) error {
	keep, commit, err := gitQuery(address)
	if err != nil {
		return err
	}
	op.KeepGitDir = in.KeepGitDir != nil && *in.KeepGitDir
	if keep != nil {
		if in.KeepGitDir != nil && *in.KeepGitDir != *keep {
			return errdefs.New(errdefs.InvalidArgument, "inconsistent keep-git-dir configuration").
				WithHint("say it in the address or by --keep-git-dir, not both")
		}
		op.KeepGitDir = *keep
	}
	if commit != "" {
		if in.Checksum != "" && in.Checksum != commit {
			return errdefs.New(errdefs.InvalidArgument, "checksum mismatch %q != %q", in.Checksum, commit).
				WithHint("say it in the address or by --checksum, not both")
		}
		op.Checksum = commit
	}
	return nil
}

func isRemote(p string) bool {
	git, _ := isGit(p)
	return git || isURL(p)
}

// isURL reports whether p is fetched over HTTP. A repository is not: its path ends in .git.
func isURL(p string) bool {
	return strings.HasPrefix(p, "http://") || strings.HasPrefix(p, "https://")
}

// isGit reports whether p is the address of a git repository: git:// and ssh://
// always, http(s):// if the path ends in .git, and user@host:path.
func isGit(p string) (bool, error) {
	scheme, rest, ok := strings.Cut(p, "://")
	if !ok || strings.Trim(scheme, letters) != "" {
		user, path, ok := strings.Cut(p, ":")
		name, host, at := strings.Cut(user, "@")
		return ok && at && path != "" && strings.Trim(name, letters+"_-.") == "" && host != "" && strings.Trim(host, letters+"_-.") == "", nil
	}
	switch strings.ToLower(scheme) {
	case "git", "ssh":
		return rest != "", nil
	case "http", "https":
		u, err := url.Parse(p)
		return err == nil && strings.HasSuffix(u.Path, ".git"), nil
	}
	return false, errdefs.New(errdefs.InvalidArgument, "%s:// is no way to fetch files", scheme).
		WithHint("use https://, or git://, ssh:// and git@host:path for repositories")
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// gitQuery reads from an address what the build itself has to know: build/source reads all of it.
func gitQuery(address string) (keep *bool, commit string, err error) {
	address, _, _ = strings.Cut(address, "#")
	_, query, ok := strings.Cut(address, "?")
	if !ok {
		return nil, "", nil
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, "", errdefs.New(errdefs.InvalidArgument, "invalid query of the repository's address: %w", err)
	}
	for _, k := range sortedKeys(values) {
		if len(values[k]) > 1 {
			return nil, "", errdefs.New(errdefs.InvalidArgument, "query %q has multiple values", k).WithHint("say it once")
		}
		v := values[k][0]
		flag := v == ""
		if v != "" {
			flag, err = strconv.ParseBool(v)
		}
		switch k {
		case "keep-git-dir":
			keep = &flag
			if v == "" {
				yes := true
				keep = &yes
			}
		case "submodules", "fetch-by-commit":
		case "checksum", "commit":
			commit, err = v, nil
		case "ref", "tag", "branch", "subdir", "mtime":
			err = nil
		default:
			return nil, "", errdefs.New(errdefs.InvalidArgument, "unexpected query %q", k).
				WithHint("an address knows ref, tag, branch, subdir, commit, checksum, submodules, keep-git-dir, mtime and fetch-by-commit")
		}
		if err != nil {
			return nil, "", errdefs.New(errdefs.InvalidArgument, "invalid %s value: %q", k, v).WithHint("it is true or false")
		}
	}
	return keep, commit, nil
}
