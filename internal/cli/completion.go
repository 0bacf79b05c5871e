package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"berth/internal/cli/command"
)

// cobraCommand shortens signatures in this package.
type cobraCommand = cobra.Command

// help prints the help of the command that args name.
func help(ctx context.Context, env *command.Env, args []string) error {
	if len(args) == 0 {
		return printRoot(env.Out, tree(env), flagUsages(globalFlags(env, nil), helpWidth))
	}
	cmd, rest, known := find(env, args)
	switch {
	case cmd == nil:
		return unknownCommand(args, rest, known)
	case cmd.RunE == nil:
		return group(env, args[0], nil)
	}
	if cmd.DisableFlagParsing {
		return cmd.RunE(cmd, []string{"--help"})
	}
	return execute(ctx, env, cmd, []string{"--help"})
}

// completion prints the script that teaches a shell to complete berth's command
// lines, or answers the question such a script asks ("__complete").
func completion(ctx context.Context, env *command.Env, args []string) error {
	root := tree(env)
	root.SetOut(env.Out)
	root.SetErr(env.Err)
	if args[0] != "completion" {
		root.SetArgs(args)
		return root.ExecuteContext(ctx)
	}
	shell := ""
	if len(args) == 2 {
		shell = args[1]
	}
	switch shell {
	case "bash":
		return root.GenBashCompletionV2(env.Out, true)
	case "zsh":
		return root.GenZshCompletion(env.Out)
	case "fish":
		return root.GenFishCompletion(env.Out, true)
	}
	return &command.UsageError{
		Path: "berth completion", Err: fmt.Errorf("name a shell: bash, zsh or fish"),
		Hint: "for bash: source <(berth completion bash)",
	}
}
