package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
)

func TestParseGit(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]GitRef{
		"https://h/r.git":                                {Remote: "https://h/r.git"},
		"HTTPS://h/r.git":                                {Remote: "https://h/r.git"},
		"http://u:p@h:8/a/r.git#main":                    {Remote: "http://u:p@h:8/a/r.git", Ref: "main"},
		"https://h/r.git#b/c:d/e":                        {Remote: "https://h/r.git", Ref: "b/c", Subdir: "d/e"},
		"https://h/r.git#:d":                             {Remote: "https://h/r.git", Subdir: "d"},
		"https://h/r.git#:../../d/./e/":                  {Remote: "https://h/r.git", Subdir: "d/e"},
		"https://h/r.git?ref=v1&subdir=/x":               {Remote: "https://h/r.git", Ref: "v1", Subdir: "x"},
		"https://h/r.git?tag=v1":                         {Remote: "https://h/r.git", Ref: "refs/tags/v1"},
		"https://h/r.git?branch=refs/heads/b":            {Remote: "https://h/r.git", Ref: "refs/heads/b"},
		"https://h/r.git?keep-git-dir&submodules=false":  {Remote: "https://h/r.git", KeepGitDir: true, SkipSubmodules: true},
		"https://h/r.git?commit=0123456789&mtime=commit": {Remote: "https://h/r.git", Commit: "0123456789", CommitTime: true},
		"git://h/r":                     {Remote: "git://h/r"},
		"ssh://git@h:22/r.git#v1":       {Remote: "ssh://git@h:22/r.git", Ref: "v1"},
		"git@github.com:o/r.git#b:d":    {Remote: "git@github.com:o/r.git", Ref: "b", Subdir: "d"},
		"git@h:r?ref=x":                 {Remote: "git@h:r", Ref: "x"},
		"github.com/o/r":                {Remote: "https://github.com/o/r.git"},
		"github.com/o/r.git/#main:docs": {Remote: "https://github.com/o/r.git", Ref: "main", Subdir: "docs"},
	} {
		got, isGit, err := ParseGit(s)
		if got != want || !isGit || err != nil {
			t.Errorf("ParseGit(%q) = %+v, %v, %v", s, got, isGit, err)
		}
	}
	for _, s := range []string{"", ".", "./r.git", "/r.git", "r.git", "https://h/r", "https://h/r.tar.gz", "ftp://h/r.git", "ext::sh -c id", "file:///r.git", "a b@h:r", "user@h", "@h:r", "-o@h:r", "user@-h:r", "http://[::1/r.git"} {
		if got, isGit, err := ParseGit(s); isGit || err != nil {
			t.Errorf("ParseGit(%q) = %+v, %v, %v", s, got, isGit, err)
		}
	}
	for _, s := range []string{"https://h/r.git?x=1", "https://h/r.git?ref=", "https://h/r.git?ref=a&ref=b", "https://h/r.git?ref=a#b", "https://h/r.git?tag=a&branch=b",
		"https://h/r.git#--upload-pack=id", "https://h/r.git#a b", "https://h/r.git?commit=xyz", "https://h/r.git?submodules=maybe", "https://h/r.git?mtime=now", "https:///r.git", "https://h/r.git#a:b%00c"} {
		if _, isGit, err := ParseGit(s); !isGit || !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("ParseGit(%q): %v, %v", s, isGit, err)
		}
	}
}

func FuzzParseGit(f *testing.F) {
	for _, s := range []string{"https://u:p@h/r.git?ref=a&subdir=b#c:d", "git@h:r.git#x:../y", "github.com/o/r#z", "ssh://h/r?commit=abcdef0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, isGit, err := ParseGit(s)
		if !isGit || err != nil {
			return
		}
		if strings.HasPrefix(ref.Remote, "-") || strings.HasPrefix(ref.Ref, "-") || strings.ContainsAny(ref.Ref, " \n\x00") {
			t.Errorf("ParseGit(%q) = %+v", s, ref)
		}
		for name := range strings.SplitSeq(ref.Subdir, "/") {
			if name == ".." || name == "." {
				t.Errorf("ParseGit(%q) = %+v", s, ref)
			}
		}
		again, isGit, err := ParseGit(ref.Remote)
		if !isGit || err != nil || again.Remote != ref.Remote {
			t.Errorf("the remote of %q is %q, whose remote is %q (%v)", s, ref.Remote, again.Remote, err)
		}
	})
}

func TestRedact(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"https://u:secret@h/r": "https://u:xxxxx@h/r", "https://u@h/r": "https://u@h/r", "git@h:r": "git@h:r", "https://h/a@b:c": "https://h/a@b:c",
		"https://u:a@b@h/r": "https://u:xxxxx@h/r", "https://h": "https://h",
	} {
		if got := Redact(s); got != want {
			t.Errorf("Redact(%q) = %q", s, got)
		}
	}
}

// repository is a served one, and the directory that it is made in.
type repository struct {
	dir, url string
	t        *testing.T
}

// run runs git in the repository and returns what it prints.
func (r *repository) run(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false", "-c", "protocol.file.allow=always"}, args...)...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_DATE=2001-09-09T01:46:40Z", "GIT_COMMITTER_DATE=2001-09-09T01:46:40Z")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// serve makes the repositories of the given names and serves them by git daemon on loopback.
func serve(t *testing.T, names ...string) []*repository {
	t.Helper()
	base := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	port := l.Addr().(*net.TCPAddr).Port
	must(t, l.Close())
	cmd := exec.Command("git", "daemon", "--reuseaddr", "--listen=127.0.0.1", fmt.Sprintf("--port=%d", port), "--export-all", "--base-path="+base, base)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*", "GIT_CONFIG_KEY_1=uploadpack.allowAnySHA1InWant", "GIT_CONFIG_VALUE_1=true")
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	must(t, cmd.Start())
	t.Cleanup(func() { _ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL); _ = cmd.Wait() })
	var all []*repository
	for _, name := range names {
		r := &repository{filepath.Join(base, name), fmt.Sprintf("git://127.0.0.1:%d/%s/.git", port, name), t}
		must(t, os.Mkdir(r.dir, 0o755))
		r.run("init", "--quiet", "--initial-branch=main")
		all = append(all, r)
	}
	for range 100 {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			c.Close()
			return all
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("git daemon does not listen")
	return nil
}

func (r *repository) commit(files map[string]string) string {
	r.t.Helper()
	for name, content := range files {
		write(r.t, filepath.Join(r.dir, name), content)
	}
	r.run("add", "-A")
	r.run("commit", "--quiet", "-m", "m")
	return r.run("rev-parse", "HEAD")
}

// clone checks out and returns the names in the tree, or the error.
func clone(t *testing.T, address string, o GitOptions) (string, *Tree, error) {
	t.Helper()
	tmp := t.TempDir()
	tree, err := Git(context.Background(), address, tmp, o)
	if err != nil {
		if left, _ := os.ReadDir(tmp); len(left) != 0 {
			t.Errorf("%s leaves %v", address, left)
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: an error of many lines: %q", address, err)
		}
		return "", nil, err
	}
	t.Cleanup(func() {
		must(t, tree.Close())
		if left, _ := os.ReadDir(tmp); len(left) != 0 {
			t.Errorf("Close leaves %v", left)
		}
	})
	var names []string
	base := "/proc/self/fd/" + fmt.Sprint(tree.Root().Fd())
	must(t, filepath.WalkDir(base+"/.", func(path string, e os.DirEntry, err error) error {
		must(t, err)
		rel, _ := filepath.Rel(base, path)
		if rel == ".git" {
			names = append(names, rel)
			return filepath.SkipDir
		}
		if !e.IsDir() {
			names = append(names, rel)
		}
		return nil
	}))
	return strings.Join(names, " "), tree, nil
}

func TestGit(t *testing.T) {
	repo := serve(t, "r")[0]
	first := repo.commit(map[string]string{"f": "1", "sub/dir/g": "x"})
	repo.run("tag", "v1")
	repo.run("tag", "-a", "-m", "m", "annotated")
	repo.run("branch", "v1") // a branch of the same name
	second := repo.commit(map[string]string{"f": "2", "h": "y", ".gitattributes": "* filter=evil\n"})
	repo.run("branch", "feature/x")
	must(t, os.Symlink("/etc", filepath.Join(repo.dir, "out")))
	must(t, os.Symlink("sub", filepath.Join(repo.dir, "in")))
	third := repo.commit(nil)
	for address, want := range map[string]string{
		"":                                ".gitattributes f h in out sub/dir/g",
		"#main":                           ".gitattributes f h in out sub/dir/g",
		"#refs/heads/main":                ".gitattributes f h in out sub/dir/g",
		"#v1":                             "f sub/dir/g",
		"?tag=annotated":                  "f sub/dir/g",
		"#feature/x":                      ".gitattributes f h sub/dir/g",
		"#" + first:                       "f sub/dir/g",
		"#" + second + ":sub":             "dir/g",
		"#:sub/dir":                       "g",
		"?ref=v1&subdir=sub":              "dir/g",
		"?commit=" + third[:10]:           ".gitattributes f h in out sub/dir/g",
		"?keep-git-dir=1":                 ".git .gitattributes f h in out sub/dir/g",
		"?keep-git-dir=1&branch=v1":       ".git f sub/dir/g",
		"?keep-git-dir=1&ref=" + first:    ".git f sub/dir/g",
		"?keep-git-dir=1&tag=annotated":   ".git f sub/dir/g",
		"?keep-git-dir=1&subdir=sub":      "dir/g",
		"?mtime=commit&submodules=false#": ".gitattributes f h in out sub/dir/g",
	} {
		got, tree, err := clone(t, repo.url+address, GitOptions{})
		if got != want || err != nil {
			t.Errorf("%q: got %s, %v, want %s", address, got, err, want)
			continue
		}
		if strings.Contains(want, ".git ") != (tree.Revision != "") {
			t.Errorf("%q: revision %q", address, tree.Revision)
		}
		if tree.Origin.URL != repo.url+address || len(tree.Origin.Commit) != 40 || tree.Revision != "" && tree.Revision != tree.Origin.Commit {
			t.Errorf("%q: came from %+v", address, tree.Origin)
		}
		if strings.Contains(address, "mtime=commit") {
			var st unix.Stat_t
			must(t, unix.Fstatat(int(tree.Root().Fd()), "f", &st, 0))
			if st.Mtim.Sec != 1e9 {
				t.Errorf("the file is of %d", st.Mtim.Sec)
			}
		}
	}
	for address, want := range map[string]struct {
		kind errdefs.Kind
		text string
	}{
		"#none":                       {errdefs.NotFound, "repository does not contain ref none"},
		"#" + first[:12]:              {errdefs.NotFound, "does not contain ref"},
		"#" + strings.Repeat("0", 40): {errdefs.NotFound, "does not contain ref 000"},
		"#:none":                      {errdefs.NotFound, `no directory "none"`},
		"#:f":                         {errdefs.NotFound, `no directory "f"`},
		"#:out":                       {errdefs.InvalidArgument, "symbolic link"},
		"#:in/dir":                    {errdefs.InvalidArgument, "symbolic link"},
		"?commit=" + first[:10]:       {errdefs.Conflict, "expected checksum to match " + first[:10]},
		"?x=y":                        {errdefs.InvalidArgument, `unexpected query "x"`},
	} {
		if _, _, err := clone(t, repo.url+address, GitOptions{}); !errors.Is(err, want.kind) || !strings.Contains(err.Error(), want.text) {
			t.Errorf("%q: %v", address, err)
		}
	}
	if _, _, err := clone(t, repo.url, GitOptions{Commit: third}); err != nil {
		t.Error(err)
	}
	if _, _, err := clone(t, repo.url, GitOptions{Commit: first}); !errors.Is(err, errdefs.Conflict) {
		t.Errorf("checksum: %v", err)
	}
	if _, _, err := clone(t, strings.Replace(repo.url, "/r/", "/none/", 1), GitOptions{}); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("no such repository: %v", err)
	}
}

// TestGitKeepsNothingOfUs: the .git directory that is kept names no place of this host, and no password.
func TestGitKeepsNothingOfUs(t *testing.T) {
	repo := serve(t, "r")[0]
	repo.commit(map[string]string{"f": "1"})
	_, tree, err := clone(t, repo.url, GitOptions{KeepGitDir: true})
	must(t, err)
	config, err := tree.ReadFile(".git/config", 1<<20)
	must(t, err)
	if strings.Contains(string(config), "worktree") || strings.Contains(string(config), os.TempDir()) || !strings.Contains(string(config), repo.url) {
		t.Errorf("%s", config)
	}
	for _, name := range []string{".git/FETCH_HEAD", ".git/hooks/pre-commit.sample", ".git/hooks/post-checkout"} {
		if _, err := tree.ReadFile(name, 1<<20); err == nil {
			t.Errorf("%s is there", name)
		}
	}
	head, err := tree.ReadFile(".git/HEAD", 100)
	must(t, err)
	if strings.TrimSpace(string(head)) != tree.Revision {
		t.Errorf("HEAD is %s, the commit %s", head, tree.Revision)
	}
}

// TestGitSubmodules fetches repositories in a repository, but none of this host's own files.
func TestGitSubmodules(t *testing.T) {
	repos := serve(t, "outer", "inner", "evil")
	outer, inner, evil := repos[0], repos[1], repos[2]
	inner.commit(map[string]string{"i": "x"})
	outer.commit(map[string]string{"o": "x"})
	outer.run("submodule", "--quiet", "add", inner.url, "lib/inner")
	outer.commit(nil)
	got, _, err := clone(t, outer.url, GitOptions{})
	if got != ".gitmodules lib/inner/i o" || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
	if got, _, err := clone(t, outer.url+"?submodules=0", GitOptions{}); got != ".gitmodules o" || err != nil {
		t.Errorf("without: got %s, %v", got, err)
	}
	evil.commit(map[string]string{"e": "x"})
	evil.run("submodule", "--quiet", "add", inner.dir, "lib")
	evil.commit(nil)
	if _, _, err := clone(t, evil.url, GitOptions{}); !errors.Is(err, errdefs.Forbidden) {
		t.Errorf("a submodule of this host's files: %v", err)
	}
}

// TestGitRunsNothing: neither this host's configuration nor the repository makes git run a program.
func TestGitRunsNothing(t *testing.T) {
	repo := serve(t, "r")[0]
	home := t.TempDir()
	marker := filepath.Join(home, "marker")
	script := "#!/bin/sh\ntouch " + marker + "\n"
	write(t, filepath.Join(home, "hooks/post-checkout"), script)
	write(t, filepath.Join(home, "template/hooks/post-checkout"), script)
	for _, name := range []string{"hooks/post-checkout", "template/hooks/post-checkout"} {
		must(t, os.Chmod(filepath.Join(home, name), 0o755))
	}
	write(t, filepath.Join(home, ".gitconfig"), fmt.Sprintf("[core]\nhooksPath=%s/hooks\nfsmonitor=touch %s\n[init]\ntemplateDir=%s/template\n[filter \"evil\"]\nsmudge=touch %s\n[protocol \"ext\"]\nallow=always\n", home, marker, home, marker))
	t.Setenv("HOME", home)
	t.Setenv("GIT_TEMPLATE_DIR", filepath.Join(home, "template"))
	t.Setenv("GIT_SSH_COMMAND", "touch "+marker)
	repo.commit(map[string]string{".gitattributes": "* filter=evil", "f": "x", "hooks/post-checkout": script})
	for _, keep := range []bool{false, true} {
		if _, _, err := clone(t, repo.url, GitOptions{KeepGitDir: keep}); err != nil {
			t.Error(err)
		}
	}
	for _, address := range []string{"ext::touch " + marker, "file://" + repo.dir + "/.git", repo.dir} {
		if _, _, err := clone(t, address, GitOptions{}); !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("%s: %v", address, err)
		}
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("a program ran")
	}
}

// TestGitSecrets: what authorises is sent to its host, and shown nowhere.
func TestGitSecrets(t *testing.T) {
	var got []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer s.Close()
	_, _, err := clone(t, strings.Replace(s.URL, "http://", "http://user:SECRET@", 1)+"/r.git", GitOptions{})
	if !errors.Is(err, errdefs.Unauthorized) || strings.Contains(err.Error(), "SECRET") {
		t.Errorf("got %v", err)
	}
	// Not over a line that anybody may read.
	got = nil
	_, _, _ = clone(t, s.URL+"/r.git", GitOptions{AuthHeader: "basic SECRET"})
	for _, h := range got {
		if strings.Contains(h, "SECRET") {
			t.Error("the header was sent in the clear")
		}
	}
}

// TestGitCancelled ends the program and its helpers with the context.
func TestGitCancelled(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	must(t, err)
	defer l.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = Git(ctx, fmt.Sprintf("git://%s/r", l.Addr()), t.TempDir(), GitOptions{})
	if !errors.Is(err, errdefs.Cancelled) || time.Since(start) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}
