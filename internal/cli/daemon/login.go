package daemon

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"oras.land/oras-go/v2/registry/remote/auth"

	"berth/internal/cli/command"
	"berth/internal/cli/streams"
	"berth/internal/errdefs"
	"berth/internal/image/registry"
)

type loginOptions struct {
	env            *command.Env
	server         string
	user, password string
	stdin          bool
	plain          bool
	insecure       bool
}

func newLogin(env *command.Env) *cobra.Command {
	o := &loginOptions{env: env}
	cmd := &cobra.Command{
		Use:                   "login [OPTIONS] [SERVER]",
		DisableFlagsInUseLine: true,
		Short:                 "Log in to a registry",
		Long: "Log in to a registry.\n\nThe password goes to the credential helper that ~/.docker/config.json names. Without one it is\n" +
			"kept in memory until the next boot, and written to that file only with --plain-text.",
		Example: "  berth login registry.example.com\n  berth login -u me --password-stdin registry.example.com < token",
		Args:    command.AtMost(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			o.server, err = registry.Server(strings.Join(args, ""))
			if err == nil {
				err = o.run(cmd.Context())
			}
			return err
		},
	}
	fs := cmd.Flags()
	fs.StringVarP(&o.user, "username", "u", "", "Username")
	fs.StringVarP(&o.password, "password", "p", "", "Password or access token; others on this machine can read it here")
	fs.BoolVar(&o.stdin, "password-stdin", false, "Take the password from standard input")
	fs.BoolVar(&o.plain, "plain-text", false, "Allow to write the password unencrypted to config.json")
	fs.BoolVar(&o.insecure, "insecure", false, "Allow plain HTTP and unknown certificates")
	return cmd
}

func (o *loginOptions) run(ctx context.Context) error {
	accounts, err := registry.OpenAccounts(o.env.StateRoot)
	if err != nil {
		return err
	}
	c, known, err := o.credentials(ctx, accounts)
	if err != nil {
		return err
	}
	ro, err := registryOptions(o.env, o.insecure)
	if err != nil {
		return err
	}
	ro.Notice = notice(o.env, nil)
	ro.Credentials = func(context.Context, string) (auth.Credential, error) { return c, nil }
	if err := registry.Authenticate(ctx, o.server, ro); err != nil {
		return err
	}
	if !known {
		kept, where, err := accounts.Put(ctx, o.server, c, o.plain)
		if err != nil {
			return err
		}
		o.tell(kept, where)
	}
	fmt.Fprintln(o.env.Out, "Login Succeeded") //nolint:errcheck // a closed pipe ends the process by SIGPIPE
	return nil
}

// credentials returns what to log in with. known tells that it is kept already.
func (o *loginOptions) credentials(ctx context.Context, accounts *registry.Accounts) (c auth.Credential, known bool, err error) {
	switch {
	case o.stdin && o.password != "":
		return c, false, misuse("--password and --password-stdin are mutually exclusive", "leave --password out")
	case o.stdin && o.user == "":
		return c, false, misuse("Must provide --username with --password-stdin", "add -u NAME")
	case o.password != "":
		fmt.Fprintln(o.env.Err, "WARNING! Using --password via the CLI is insecure. Use --password-stdin.") //nolint:errcheck // stderr is the last resort
	}
	if o.user == "" && o.password == "" {
		if c, err := accounts.Stored(ctx, o.server); err != nil || c != auth.EmptyCredential {
			fmt.Fprintf(o.env.Err, "Authenticating with existing credentials... [Username: %s]\n", c.Username) //nolint:errcheck // as above
			return c, true, err
		}
	}
	c = auth.Credential{Username: o.user, Password: o.password}
	if o.stdin {
		text, err := io.ReadAll(io.LimitReader(streams.Interruptible(ctx, o.env.In), maxPassword+1))
		if err != nil {
			return c, false, err
		}
		c.Password = strings.TrimRight(string(text), "\r\n")
		if len(text) > maxPassword {
			return c, false, errdefs.New(errdefs.InvalidArgument, "a password of more than %d bytes", maxPassword)
		}
		if c.Password == "" {
			return c, false, misuse("the password on standard input is empty", "pipe it in: berth login --password-stdin < FILE")
		}
	}
	if c.Username == "" || c.Password == "" {
		err = o.ask(ctx, &c)
	}
	return c, false, err
}

// misuse is a wrong command line, in Docker's words.
func misuse(text, hint string) error {
	return &command.UsageError{Path: "berth login", Err: errors.New(text), Hint: hint}
}

// maxPassword is how long a password may be; access tokens take some kilobytes.
const maxPassword = 64 << 10

// ask asks the user on the terminal for what is missing.
func (o *loginOptions) ask(ctx context.Context, c *auth.Credential) error {
	tty := streams.Terminal(o.env.In)
	if tty == nil {
		return misuse("Cannot perform an interactive login from a non TTY device", "use -u NAME --password-stdin")
	}
	if c.Username == "" {
		fmt.Fprint(o.env.Out, "Username: ") //nolint:errcheck // as in run
		line, err := bufio.NewReader(streams.Interruptible(ctx, o.env.In)).ReadString('\n')
		if c.Username = strings.TrimSpace(line); err != nil || c.Username == "" {
			return errors.Join(errdefs.New(errdefs.InvalidArgument, "username is required"), err)
		}
	}
	if c.Password != "" {
		return nil
	}
	fmt.Fprint(o.env.Out, "Password: ") //nolint:errcheck // as in run
	defer fmt.Fprintln(o.env.Out)       //nolint:errcheck // as in run
	password, err := readHidden(ctx, int(tty.Fd()))
	if err != nil {
		return err
	}
	if c.Password = password; password == "" {
		return errdefs.New(errdefs.InvalidArgument, "password is required")
	}
	return nil
}

// readHidden reads a line without showing it. Ctrl-C ends it, and the terminal
// shows what is typed again.
func readHidden(ctx context.Context, fd int) (string, error) {
	before, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	type answer struct {
		text []byte
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		text, err := term.ReadPassword(fd)
		got <- answer{text, err}
	}()
	select {
	case a := <-got:
		return string(a.text), a.err
	case <-ctx.Done():
		return "", errors.Join(context.Cause(ctx), term.Restore(fd, before))
	}
}

// tell says where the password is now, unless it is where the user wants it.
func (o *loginOptions) tell(kept registry.Kept, where string) {
	switch kept {
	case registry.InMemory:
		fmt.Fprintf(o.env.Err, "The password is kept in memory (%s) until the next boot.\n"+ //nolint:errcheck // stderr is the last resort
			"To keep it longer, configure a credential helper (credsStore in config.json), or allow to write it there unencrypted: --plain-text\n", where)
	case registry.InFile:
		fmt.Fprintf(o.env.Err, "WARNING! Your credentials are stored unencrypted in '%s'.\n", where) //nolint:errcheck // as above
	case registry.InHelper:
	}
}

func newLogout(env *command.Env) *cobra.Command {
	return &cobra.Command{
		Use:                   "logout [SERVER]",
		DisableFlagsInUseLine: true,
		Short:                 "Log out from a registry",
		Example:               "  berth logout registry.example.com",
		Args:                  command.AtMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			server, err := registry.Server(strings.Join(args, ""))
			if err != nil {
				return err
			}
			accounts, err := registry.OpenAccounts(env.StateRoot)
			if err != nil {
				return err
			}
			found, err := accounts.Remove(cmd.Context(), server)
			if err != nil {
				return err
			}
			line := "Not logged in to " + server
			if found {
				line = "Removing login credentials for " + server
			}
			fmt.Fprintln(env.Out, line) //nolint:errcheck // as in login
			return nil
		},
	}
}
