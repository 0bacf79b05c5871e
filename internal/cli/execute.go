package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"berth/internal/cli/command"
)

// execute parses args for cmd and runs it. It does what cobra's Execute does
// for one command, without building the tree of all others first.
func execute(ctx context.Context, env *command.Env, cmd *cobra.Command, args []string) error {
	cmd.SetContext(ctx)
	if cmd.DisableFlagParsing {
		return cmd.RunE(cmd, args)
	}
	fs := cmd.Flags()
	defineHelp(fs)
	if err := parse(env, cmd, args); err != nil {
		return flagError(cmd, err)
	}
	if help, _ := fs.GetBool("help"); help { // the flag was defined above
		return printHelp(env.Out, cmd)
	}
	if cmd.Args != nil {
		if err := cmd.Args(cmd, fs.Args()); err != nil {
			return err
		}
	}
	return cmd.RunE(cmd, fs.Args())
}

// defineHelp adds --help, and -h where a verb has no use of its own for it.
func defineHelp(fs *pflag.FlagSet) {
	if fs.Lookup("help") != nil {
		return
	}
	short := "h"
	if fs.ShorthandLookup(short) != nil {
		short = ""
	}
	fs.BoolP("help", short, false, "Print this help")
}

// parse parses args, reading pasted dashes as the flags they were. Where flags
// end at the first word (a container's command follows), only that word can
// have been meant as a flag.
func parse(env *command.Env, cmd *cobra.Command, args []string) error {
	fs := cmd.Flags()
	fs.SetOutput(env.Err)
	for {
		if err := fs.Parse(args); err != nil {
			return err
		}
		words := fs.Args()
		at, flag := pastedFlag(fs, words, command.HasFlagsFirst(cmd))
		if at < 0 {
			return nil
		}
		explainDash(env.Err, words[at], flag)
		args = slices.Concat(words[:at], []string{flag}, words[at+1:])
	}
}

// pastedFlag finds the first of words that is a flag with a pasted dash. Words
// behind a "--" are never flags.
func pastedFlag(fs *pflag.FlagSet, words []string, firstOnly bool) (at int, flag string) {
	if end := fs.ArgsLenAtDash(); end >= 0 {
		words = words[:end]
	}
	if firstOnly {
		words = words[:min(1, len(words))]
	}
	for i, w := range words {
		if f, ok := plainDash(fs, w); ok {
			return i, f
		}
	}
	return -1, ""
}

// flagError makes a parse error of pflag a usage error with a next step.
func flagError(cmd *cobra.Command, err error) error {
	u := &command.UsageError{Path: cmd.CommandPath(), Err: err, Flags: true}
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		name := unknown.GetSpecifiedName()
		if why := refusedFlag(name); why != "" {
			u.Err = fmt.Errorf("--%s: %s", name, why)
		} else if near := nearest(name, flagNames(cmd.Flags())); near != "" {
			u.Hint = fmt.Sprintf("did you mean --%s? See '%s --help'", near, cmd.CommandPath())
		}
	}
	return u
}

func flagNames(fs *pflag.FlagSet) []string {
	var names []string
	fs.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return names
}

// refusedFlag says why a flag of Docker's is not one of berth's, or "".
func refusedFlag(name string) string {
	switch name {
	case "gpus":
		return "berth cannot hand out GPUs; give the device files with --device"
	case "link":
		return "links are not supported; containers on one network reach each other by address"
	case "volumes-from":
		return "not supported; name the volumes with -v"
	case "volume-driver", "storage-opt":
		return "berth has one storage driver, without options"
	case "isolation", "cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops":
		return "this flag is for Windows containers"
	case "cpu-rt-period", "cpu-rt-runtime":
		return "real-time CPU budgets are not supported; use --cpus and --ulimit rtprio"
	case "ip", "ip6", "link-local-ip", "mac-address", "network-alias":
		return "addresses on the default network are given out by berth"
	case "use-api-socket":
		return "berth needs no daemon, so there is no API socket to mount"
	case "annotation":
		return "annotations are not supported; use --label"
	case "platform-config", "with-registry-auth", "replicas", "endpoint-mode", "update-parallelism":
		return "this flag belongs to Swarm, which berth does not have"
	case "tls", "tlsverify", "tlscacert", "tlscert", "tlskey", "host", "context", "config":
		return "berth has no daemon to connect to"
	}
	if strings.HasPrefix(name, "health-") {
		return "health checks are not supported yet"
	}
	return ""
}
