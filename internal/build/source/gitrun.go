package source

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
)

// maxGitOutput bounds what git may answer: a server decides how many refs it has.
const maxGitOutput = 16 << 20

// gitSettings are in force whatever a repository's own configuration says.
var gitSettings = []string{
	"core.hooksPath=/dev/null",      // no hook runs
	"core.fsmonitor=false",          // no program is asked what has changed
	"core.attributesFile=/dev/null", // no filter of this host's user
	"core.autocrlf=false",
	"credential.helper=",
	"gc.auto=0", "maintenance.auto=false", // nothing goes on in the background
	"advice.detachedHead=false",
	"http.lowSpeedLimit=1", "http.lowSpeedTime=120", // a silent server ends the build
	"submodule.fetchJobs=1",
}

// gitProtocols are those that a repository and its submodules may be fetched by:
// not "file", which reads this host, nor "ext", which runs programs.
const gitProtocols = "https:http:git:ssh"

// git runs one command of git, whose output goes to out.
func (c *checkout) git(ctx context.Context, out io.Writer, args ...string) error {
	program, err := exec.LookPath("git")
	if err != nil {
		return errdefs.New(errdefs.Unsupported, "the program git is not installed").
			WithHint("install it (`apt install git`), or pass the repository's files as a directory or archive")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all []string
	for _, s := range gitSettings {
		all = append(all, "-c", s)
	}
	cmd := exec.CommandContext(ctx, program, append(all, args...)...)
	cmd.Dir, cmd.Env = c.files, c.environment(args[0])
	// git starts helpers (git-remote-https, ssh): all of them end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	said := &tail{}
	cmd.Stderr = said
	if c.options.Log != nil {
		cmd.Stderr = io.MultiWriter(said, c.options.Log)
	}
	if out != nil {
		cmd.Stdout = &bounded{w: out, left: maxGitOutput, stop: cancel}
	}
	err = cmd.Run()
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		if errors.Is(cause, errdefs.Exhausted) {
			return cause
		}
		return &errdefs.Error{Kind: errdefs.Cancelled, Err: cause}
	}
	return c.explain(args[0], said.String(), err)
}

// explain turns what git said into one line.
func (c *checkout) explain(verb, said string, err error) error {
	line := ""
	for l := range strings.Lines(said) {
		l = strings.TrimSpace(l)
		if strings.HasPrefix(l, "fatal: ") || strings.HasPrefix(l, "error: ") || line == "" {
			line = strings.TrimPrefix(strings.TrimPrefix(l, "fatal: "), "error: ")
		}
	}
	line = strings.ReplaceAll(line, c.ref.Remote, Redact(c.ref.Remote))
	e := errdefs.New(errdefs.Unavailable, "git %s: %s", verb, line)
	switch {
	case line == "":
		return errdefs.New(errdefs.Internal, "git %s: %w", verb, err)
	case strings.Contains(said, "could not read Username"), strings.Contains(said, "Authentication failed"), strings.Contains(said, "Permission denied"):
		e.Kind = errdefs.Unauthorized
		return e.WithHint("check the address; a private repository needs --secret id=GIT_AUTH_TOKEN or --ssh default")
	case strings.Contains(said, "not found"), strings.Contains(said, "access denied or repository not exported"):
		e.Kind = errdefs.NotFound
	case strings.Contains(said, "transport '"):
		e.Kind = errdefs.Forbidden
	}
	return e
}

// environment is all that git knows of us.
func (c *checkout) environment(verb string) []string {
	ssh := "ssh -F /dev/null -o BatchMode=yes"
	if c.options.KnownHosts != "" {
		ssh += " -o UserKnownHostsFile='" + strings.ReplaceAll(c.options.KnownHosts, "'", `'\''`) + "'"
	}
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/dev/null", "LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0", "GIT_NO_REPLACE_OBJECTS=1",
		"GIT_ALLOW_PROTOCOL=" + gitProtocols, "GIT_SSH_COMMAND=" + ssh,
		"GIT_DIR=" + c.gitDir,
	}
	if verb != "init" { // it would write the place of the files into the repository's configuration
		env = append(env, "GIT_WORK_TREE="+c.files)
	}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	if c.options.SSHAuthSock != "" {
		env = append(env, "SSH_AUTH_SOCK="+c.options.SSHAuthSock)
	}
	if u, err := url.Parse(c.ref.Remote); err == nil && c.options.AuthHeader != "" && u.Scheme == "https" {
		env = append(env, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.https://"+u.Host+"/.extraheader",
			"GIT_CONFIG_VALUE_0=Authorization: "+c.options.AuthHeader)
	}
	return env
}

// tail keeps the end of what is written to it.
type tail struct{ b bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	const keep = 64 << 10
	t.b.Write(p)
	if extra := t.b.Len() - keep; extra > 0 {
		t.b.Next(extra)
	}
	return len(p), nil
}

func (t *tail) String() string { return t.b.String() }

// bounded ends the command that writes more than left to it.
type bounded struct {
	w    io.Writer
	left int
	stop context.CancelCauseFunc
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		err := errdefs.New(errdefs.Exhausted, "git says more than %d bytes", maxGitOutput)
		b.stop(err)
		return 0, err
	}
	return b.w.Write(p)
}

func parseSeconds(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, errdefs.New(errdefs.Internal, "git says %q for a time", s)
	}
	return n, nil
}

// eachFile calls do for everything below the directory name in dir, and for
// itself, what is in a directory first. No link is followed.
func eachFile(dir int, name string, depth int, do func(dir int, name string) error) error {
	if depth > 1000 {
		return errdefs.New(errdefs.Exhausted, "directories lie more than 1000 deep")
	}
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == nil {
		d := os.NewFile(uintptr(fd), name)
		defer d.Close()
		names, err := d.Readdirnames(-1)
		if err != nil {
			return err
		}
		for _, n := range names {
			if err := eachFile(fd, n, depth+1, do); err != nil {
				return err
			}
		}
	} else if !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP) {
		return err
	}
	return do(dir, name)
}
