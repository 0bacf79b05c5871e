// Package cli provides the command line: it finds the verb that was typed,
// builds that one command, runs it, and turns its error into a message and an
// exit code.
//
// The time to the first system call of the verb counts: scripts start berth
// thousands of times. So only the command named on the command line is built;
// the whole tree exists for help and completion only, and `berth version`
// needs none of it.
package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/pflag"

	"berth/internal/buildinfo"
	"berth/internal/cli/command"
	"berth/internal/cli/streams"
	"berth/internal/cli/system"
	"berth/internal/hello"
)

// Main runs the command line args (without the program's name) on s and returns
// the exit code.
func Main(ctx context.Context, args []string, s *streams.Streams) int {
	env := command.New(s)
	if len(args) == 1 && args[0] == "version" {
		return report(env, "version", system.PrintVersion(env.Out))
	}
	if len(args) == 1 && args[0] == "hello" { // the built-in image's program
		return hello.Main(s.In, s.Out)
	}
	args, done, err := globals(env, args)
	if done || err != nil {
		return report(env, "", err)
	}
	if len(args) == 0 {
		return report(env, "", printRoot(env.Out, tree(env), flagUsages(globalFlags(env, nil), helpWidth)))
	}
	switch args[0] {
	case "help":
		return report(env, "", help(ctx, env, args[1:]))
	case "completion", "__complete", "__completeNoDesc":
		return report(env, "", completion(ctx, env, args))
	}
	verb := verbOf(args)
	return report(env, verb, dispatch(ctx, env, args))
}

// verbOf returns the name by which exit codes know the verb: "run" also for
// `container run`.
func verbOf(args []string) string {
	if len(args) > 1 && args[0] == "container" {
		return args[1]
	}
	return args[0]
}

// report prints err and returns its exit code.
func report(env *command.Env, verb string, err error) int {
	var exit command.ExitError
	if err != nil && !errors.As(err, &exit) {
		command.PrintError(env.Err, err)
	}
	return exitCode(verb, err)
}

// dispatch runs the command that args name.
func dispatch(ctx context.Context, env *command.Env, args []string) error {
	cmd, rest, known := find(env, args)
	switch {
	case cmd == nil:
		return unknownCommand(args, rest, known)
	case cmd.RunE == nil:
		return group(env, args[0], rest)
	}
	return execute(ctx, env, cmd, rest)
}

// group prints the verbs of a noun that was typed alone or with --help.
func group(env *command.Env, name string, rest []string) error {
	for _, n := range nouns() {
		if n.is(name) {
			if len(rest) > 0 && rest[0] != "--help" && rest[0] != "-h" {
				return &command.UsageError{Path: "berth " + name, Err: fmt.Errorf("unknown flag: %s", rest[0]), Flags: true}
			}
			return printNoun(env.Out, &n, func(v *verb) *cobraCommand { return v.build(env) })
		}
	}
	return nil
}

// unknownCommand names the nearest command, or says why Docker's is not here.
func unknownCommand(args, rest, known []string) error {
	typed := strings.Join(args[:len(args)-len(rest)+1], " ")
	u := &command.UsageError{Path: "berth", Err: fmt.Errorf("unknown command: berth %s", typed)}
	if len(args) > len(rest) {
		u.Path = "berth " + args[0]
	}
	if why := missingCommand(rest[0]); why != "" && len(args) == len(rest) {
		u.Hint = why
	} else if near := nearest(rest[0], known); near != "" {
		u.Hint = fmt.Sprintf("did you mean '%s %s'?", u.Path, near)
	}
	return u
}

// missingCommand says what became of a command of Docker's that berth has not.
func missingCommand(name string) string {
	switch name {
	case "swarm", "node", "service", "stack", "secret", "config", "plugin":
		return "berth has no Swarm and no plugins"
	case "push", "save", "login", "logout", "search", "compose", "network", "export", "update":
		return "this command is not part of berth yet"
	case "context", "trust", "manifest", "checkpoint":
		return "berth has no such command; 'berth --help' lists all"
	}
	return ""
}

// globalFlags are the flags before the command.
func globalFlags(env *command.Env, level *string) *pflag.FlagSet {
	if level == nil {
		level = new(string)
	}
	fs := pflag.NewFlagSet("berth", pflag.ContinueOnError)
	fs.SetInterspersed(false)
	fs.StringVar(&env.DataRoot, "data-root", env.DataRoot, "Directory of images, containers and volumes")
	fs.StringVar(&env.StateRoot, "state-root", env.StateRoot, "Directory of what need not survive a reboot")
	fs.BoolVarP(&env.Debug, "debug", "D", false, "Log everything to standard error")
	fs.StringVarP(level, "log-level", "l", "", "Log to standard error: debug, info, warn, error")
	fs.BoolP("version", "v", false, "Print the version")
	fs.BoolP("help", "h", false, "Print this help")
	return fs
}

// globals reads the flags before the command. done means that nothing is left to do.
func globals(env *command.Env, args []string) (rest []string, done bool, err error) {
	if len(args) == 0 || len(args[0]) < 2 || args[0][0] != '-' {
		return args, false, nil
	}
	var level string
	fs := globalFlags(env, &level)
	fs.SetOutput(env.Err)
	fs.Usage = func() {}
	if err := fs.Parse(args); err != nil {
		return nil, false, globalError(err)
	}
	if yes, _ := fs.GetBool("version"); yes { // defined above
		_, err := fmt.Fprintf(env.Out, "berth version %s, build %s\n", buildinfo.Version, buildinfo.Read().GitCommit)
		return nil, true, err
	}
	if yes, _ := fs.GetBool("help"); yes { // defined above
		return nil, true, printRoot(env.Out, tree(env), flagUsages(fs, helpWidth))
	}
	return fs.Args(), false, setLog(env, level)
}

func globalError(err error) error {
	u := &command.UsageError{Path: "berth", Err: err, Flags: true}
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		if why := refusedFlag(unknown.GetSpecifiedName()); why != "" {
			u.Hint = why
		}
	}
	return u
}

// setLog opens the log that --debug or --log-level ask for, and keeps both for a sibling.
func setLog(env *command.Env, level string) error {
	if level == "" && !env.Debug {
		return nil
	}
	var l slog.Level
	switch {
	case env.Debug:
		l = slog.LevelDebug
		env.Global = append(env.Global, "--debug")
	case l.UnmarshalText([]byte(level)) != nil:
		return &command.UsageError{Path: "berth", Err: fmt.Errorf("unable to parse logging level: %s", level), Flags: true}
	default:
		env.Global = append(env.Global, "--log-level", level)
	}
	env.Log = slog.New(slog.NewTextHandler(env.Err, &slog.HandlerOptions{Level: l}))
	return nil
}
