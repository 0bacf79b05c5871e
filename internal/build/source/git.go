package source

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
)

// GitOptions say how a repository is fetched.
type GitOptions struct {
	KeepGitDir bool // keep .git, as the address may ask too
	// Commit is what must be checked out: an id or its beginning (ADD --checksum).
	Commit string
	// AuthHeader is sent to the host of the address, and to no other, as
	// "Authorization: <AuthHeader>". It never stands on a command line.
	AuthHeader string
	// SSHAuthSock is the agent that ssh asks for keys; KnownHosts is the file it
	// knows hosts from, "" is the user's own.
	SSHAuthSock, KnownHosts string
	// Log gets what git says meanwhile. It may be nil.
	Log io.Writer
}

// Git checks out one commit of the repository that address names (see ParseGit)
// into a directory of its own below tmpdir, which Close removes.
//
// It is done by the program git, which is told to read no configuration but
// ours, to run no hooks, and to speak no protocols but https, http, git and ssh:
// a repository is somebody else's input. History is not fetched.
func Git(ctx context.Context, address, tmpdir string, o GitOptions) (*Tree, error) {
	ref, isGit, err := ParseGit(address)
	if err != nil {
		return nil, err
	}
	if !isGit {
		return nil, errdefs.New(errdefs.InvalidArgument, "%q is not the address of a git repository", Redact(address)).
			WithHint("write https://host/repository.git, with #branch:directory behind it if need be")
	}
	if o.Commit != "" {
		if !isHex(o.Commit) {
			return nil, errdefs.New(errdefs.InvalidArgument, "--checksum=%q: a repository's checksum is a commit", o.Commit)
		}
		if err := agree(&ref.Commit, o.Commit, "commit"); err != nil {
			return nil, err
		}
	}
	t, err := private(tmpdir)
	if err != nil {
		return nil, err
	}
	c := &checkout{ref: ref, options: o, keep: (o.KeepGitDir || ref.KeepGitDir) && ref.Subdir == "", files: filepath.Join(t.dir, "files")}
	c.gitDir = filepath.Join(t.dir, "git")
	if c.keep {
		c.gitDir = filepath.Join(c.files, ".git")
	}
	err = c.run(ctx)
	if err == nil {
		t.RootOwned = true
		if c.keep {
			t.Revision = c.commit
		}
		t.Origin = &Origin{URL: WithoutUser(address), Commit: c.commit}
		err = t.enter(ref.Subdir)
	}
	if err != nil {
		return nil, errors.Join(errdefs.Wrap(err, "check out", Redact(address)), t.Close())
	}
	return t, nil
}

// enter makes a directory of the tree its root. Links are not followed: a
// repository says itself where its directories are.
func (t *Tree) enter(subdir string) error {
	if subdir == "" {
		return nil
	}
	real, err := Resolve(t.root, subdir, nil)
	if err != nil {
		return err
	}
	if real != subdir {
		return errdefs.New(errdefs.InvalidArgument, "invalid subdir %q: it leads through a symbolic link to %q", subdir, real)
	}
	root, err := rootpath.Open(t.root, subdir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return errdefs.New(errdefs.NotFound, "the repository has no directory %q", subdir)
	case err != nil:
		return err
	}
	t.root = root
	t.close = append(t.close, root.Close)
	return nil
}

// checkout is one run of Git.
type checkout struct {
	ref     GitRef
	options GitOptions
	keep    bool // the .git directory
	files   string
	gitDir  string
	name    string // the full name of the ref that was fetched; "" for a bare commit
	commit  string
}

func (c *checkout) run(ctx context.Context) error {
	// No template: it would bring the hooks of this host.
	if err := c.git(ctx, nil, "init", "--quiet", "--template=", c.bareFlag()); err != nil {
		return err
	}
	if err := c.git(ctx, nil, "remote", "add", "origin", c.ref.Remote); err != nil {
		return err
	}
	if err := c.fetch(ctx); err != nil {
		return err
	}
	if c.ref.Commit != "" && !strings.HasPrefix(c.commit, c.ref.Commit) {
		return errdefs.New(errdefs.Conflict, "expected checksum to match %s, got %s", c.ref.Commit, c.commit)
	}
	if err := c.checkOut(ctx); err != nil {
		return err
	}
	if err := c.submodules(ctx); err != nil {
		return err
	}
	if c.ref.CommitTime {
		return c.setTimes(ctx)
	}
	return nil
}

func (c *checkout) bareFlag() string {
	if c.keep {
		return "--initial-branch=master"
	}
	return "--bare"
}

// fetch brings the wanted commit here, without its history if the server can do that.
func (c *checkout) fetch(ctx context.Context) error {
	want := c.ref.Ref
	if isCommit(want) {
		err := c.git(ctx, nil, "fetch", "--quiet", "--no-tags", "--depth=1", "origin", want)
		if err != nil {
			// A server may give only what a ref points to: take all, it is somewhere in there.
			all := c.git(ctx, nil, "fetch", "--quiet", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*")
			if all != nil {
				return err
			}
		}
		c.commit, err = c.parse(ctx, want+"^{commit}")
		return err
	}
	var err error
	if c.name, err = c.find(ctx, want); err != nil {
		return err
	}
	spec := c.name
	if c.keep && c.name != "HEAD" {
		spec += ":" + c.name
	}
	if err := c.git(ctx, nil, "fetch", "--quiet", "--no-tags", "--update-head-ok", "--depth=1", "origin", spec); err != nil {
		if !strings.Contains(err.Error(), "shallow") && !strings.Contains(err.Error(), "depth") {
			return err
		}
		if err := c.git(ctx, nil, "fetch", "--quiet", "--no-tags", "--update-head-ok", "origin", spec); err != nil {
			return err
		}
	}
	c.commit, err = c.parse(ctx, "FETCH_HEAD^{commit}")
	return err
}

// find asks the server for the full name of a ref. A branch is preferred to a
// tag of the same name, as git checkout does.
func (c *checkout) find(ctx context.Context, ref string) (string, error) {
	if ref == "" || ref == "HEAD" {
		return "HEAD", nil
	}
	var out strings.Builder
	bare := strings.TrimPrefix(ref, "refs/")
	names := []string{"refs/heads/" + ref, "refs/tags/" + ref, "refs/" + bare}
	if err := c.git(ctx, &out, append([]string{"ls-remote", "--quiet", "--refs", "origin"}, names...)...); err != nil {
		return "", err
	}
	has := map[string]bool{}
	for line := range strings.Lines(out.String()) {
		_, name, _ := strings.Cut(strings.TrimSpace(line), "\t")
		has[name] = true
	}
	for _, name := range names {
		if has[name] {
			return name, nil
		}
	}
	return "", errdefs.New(errdefs.NotFound, "repository does not contain ref %s", ref).
		WithHint("name a branch, a tag, or all 40 digits of a commit")
}

// parse returns the id that a revision (gitrevisions(7)) stands for.
func (c *checkout) parse(ctx context.Context, revision string) (string, error) {
	var out strings.Builder
	if err := c.git(ctx, &out, "rev-parse", "--verify", "--quiet", "--end-of-options", revision); err != nil {
		return "", errdefs.New(errdefs.NotFound, "repository does not contain ref %s", strings.TrimSuffix(revision, "^{commit}"))
	}
	// Old versions print --end-of-options too.
	lines := strings.Fields(out.String())
	if len(lines) == 0 || !isCommit(lines[len(lines)-1]) {
		return "", errdefs.New(errdefs.Internal, "git rev-parse says %q", out.String())
	}
	return lines[len(lines)-1], nil
}

// checkOut makes the files.
func (c *checkout) checkOut(ctx context.Context) error {
	if !c.keep {
		return c.git(ctx, nil, "checkout", "--quiet", "--no-overlay", c.commit, "--", ".")
	}
	if err := c.git(ctx, nil, "checkout", "--quiet", "--detach", c.commit); err != nil {
		return err
	}
	// What tells of this fetch, and what a password could be in.
	if err := c.git(ctx, nil, "remote", "set-url", "origin", Redact(c.ref.Remote)); err != nil {
		return err
	}
	if err := c.git(ctx, nil, "reflog", "expire", "--all", "--expire=now"); err != nil {
		return err
	}
	err := os.Remove(filepath.Join(c.gitDir, "FETCH_HEAD"))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return err
}

// submodules checks out the repositories in the repository.
func (c *checkout) submodules(ctx context.Context) error {
	if c.ref.SkipSubmodules {
		return nil
	}
	root, err := rootpath.OpenRoot(c.files)
	if err != nil {
		return err
	}
	defer root.Close()
	if _, err := rootpath.Lstat(root, ".gitmodules"); err != nil {
		return nil // there are none
	}
	if err := c.git(ctx, nil, "submodule", "--quiet", "update", "--init", "--recursive", "--depth=1"); err != nil {
		return err
	}
	if c.keep {
		return nil
	}
	// Each has a file .git that says where its repository lies: in a directory that goes away.
	return eachFile(int(root.Fd()), ".", 0, func(dir int, name string) error {
		if name != ".git" {
			return nil
		}
		return rootpath.RemoveAll(dir, name)
	})
}

// setTimes gives every file the time of the commit.
func (c *checkout) setTimes(ctx context.Context) error {
	var out strings.Builder
	if err := c.git(ctx, &out, "show", "--quiet", "--no-show-signature", "--format=%ct", c.commit); err != nil {
		return err
	}
	at, err := parseSeconds(strings.TrimSpace(out.String()))
	if err != nil {
		return err
	}
	root, err := rootpath.OpenRoot(c.files)
	if err != nil {
		return err
	}
	defer root.Close()
	return eachFile(int(root.Fd()), ".", 0, func(dir int, name string) error {
		ts := unix.Timespec{Sec: at}
		return unix.UtimesNanoAt(dir, name, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	})
}
