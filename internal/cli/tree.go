package cli

import (
	"slices"

	"github.com/spf13/cobra"

	"berth/internal/cli/command"
	"berth/internal/cli/container"
	"berth/internal/cli/image"
	"berth/internal/cli/system"
	"berth/internal/cli/volume"
)

// verb is a command that is built only when it is typed.
type verb struct {
	name  string
	names []string // other names of it in this place
	build func(*command.Env) *cobra.Command
	// full is the command's path below its noun ("container run"), for a verb
	// that also stands at the top.
	full string
}

// noun is a group of verbs.
type noun struct {
	name, short string
	verbs       []verb
	names       []string // other names of it
}

// is reports whether the verb was typed as name.
func (v *verb) is(name string) bool { return v.name == name || slices.Contains(v.names, name) }

// is reports whether the noun was typed as name.
func (n *noun) is(name string) bool { return n.name == name || slices.Contains(n.names, name) }

func nouns() []noun {
	return []noun{
		{name: "builder", short: "Build images, manage what builds remember", verbs: builderVerbs(), names: []string{"buildx"}},
		{name: "container", short: "Manage containers", verbs: containerVerbs()},
		{name: "image", short: "Manage images", verbs: imageVerbs()},
		{name: "registry", short: "Look at registries", verbs: []verb{{name: "test", build: registryTest}}},
		{name: "system", short: "Manage berth itself", verbs: systemVerbs()},
		{name: "volume", short: "Manage volumes", verbs: volumeVerbs()},
	}
}

func containerVerbs() []verb {
	return []verb{
		{name: "attach", build: container.NewAttach},
		{name: "commit", build: container.NewCommit},
		{name: "cp", build: container.NewCp},
		{name: "create", build: container.NewCreate},
		{name: "diff", build: container.NewDiff},
		{name: "exec", build: container.NewExec},
		{name: "inspect", build: system.NewInspectContainer},
		{name: "kill", build: container.NewKill},
		{name: "logs", build: container.NewLogs},
		{name: "ls", names: []string{"list", "ps"}, build: container.NewPs},
		{name: "pause", build: container.NewPause},
		{name: "port", build: container.NewPort},
		{name: "prune", build: container.NewPrune},
		{name: "rename", build: container.NewRename},
		{name: "restart", build: container.NewRestart},
		{name: "rm", names: []string{"remove"}, build: container.NewRm},
		{name: "run", build: container.NewRun},
		{name: "start", build: container.NewStart},
		{name: "stats", build: container.NewStats},
		{name: "stop", build: container.NewStop},
		{name: "top", build: container.NewTop},
		{name: "unpause", build: container.NewUnpause},
		{name: "wait", build: container.NewWait},
	}
}

func imageVerbs() []verb {
	return []verb{
		{name: "build", build: buildImage},
		{name: "history", build: image.NewHistory},
		{name: "import", build: importImage},
		{name: "inspect", build: system.NewInspectImage},
		{name: "load", build: loadImage},
		{name: "ls", names: []string{"list"}, build: image.NewLs},
		{name: "prune", build: image.NewPrune},
		{name: "pull", build: pullImage},
		{name: "push", build: pushImage},
		{name: "rm", names: []string{"remove"}, build: image.NewRm},
		{name: "save", build: saveImage},
		{name: "tag", build: image.NewTag},
	}
}

func pullImage(env *command.Env) *cobra.Command {
	return image.NewSibling(env, "pull", "NAME[:TAG|@DIGEST]", "Download an image from a registry", "berth pull alpine:3.22")
}

func loadImage(env *command.Env) *cobra.Command {
	return image.NewSibling(env, "load", "", "Read images from an archive", "berth load -i images.tar")
}

func login(env *command.Env) *cobra.Command {
	return image.NewSibling(env, "login", "[SERVER]", "Log in to a registry", "berth login registry.example.com")
}

func logout(env *command.Env) *cobra.Command {
	return image.NewSibling(env, "logout", "[SERVER]", "Log out from a registry", "berth logout registry.example.com")
}

func pushImage(env *command.Env) *cobra.Command {
	return image.NewSibling(env, "push", "NAME[:TAG]", "Upload an image to a registry", "berth push registry.example.com/web:1")
}

func registryTest(env *command.Env) *cobra.Command {
	return image.NewSibling(env, "registry test", "REGISTRY[/NAME[:TAG]]", "Explain what works between here and a registry and its mirrors", "berth registry test docker.io")
}

func saveImage(env *command.Env) *cobra.Command {
	return image.NewSibling(env, "save", "IMAGE [IMAGE...]", "Write images to an archive", "berth save -o images.tar web:1")
}

func importImage(env *command.Env) *cobra.Command {
	return image.NewSibling(env, "import", "FILE|- [REPOSITORY[:TAG]]", "Make an image of a root file system in a tar", "berth import rootfs.tar tools:1")
}

func buildImage(env *command.Env) *cobra.Command {
	return image.NewSibling(env, "build", "PATH | URL | -", "Make an image from a Dockerfile", "berth build -t web .")
}

func builderVerbs() []verb {
	return []verb{
		{name: "build", build: buildImage},
		{name: "du", build: builderDu},
		{name: "mounts", build: builderMounts},
		{name: "prune", build: builderPrune},
	}
}

func builderDu(env *command.Env) *cobra.Command {
	return image.NewSibling(env, "builder du", "", "Show what builds remember, and its size", "berth builder du --verbose")
}

func builderMounts(env *command.Env) *cobra.Command {
	return image.NewSibling(env, "builder mounts", "COMMAND", "Take cache mounts to another machine", "berth builder mounts export -o mounts.tar")
}

func builderPrune(env *command.Env) *cobra.Command {
	return image.NewSibling(env, "builder prune", "", "Remove what builds remember", "berth builder prune --filter until=24h")
}

func systemVerbs() []verb {
	return []verb{
		{name: "events", build: system.NewEvents},
		{name: "info", build: system.NewInfo},
		{name: "prune", build: system.NewPrune},
	}
}

func volumeVerbs() []verb {
	return []verb{
		{name: "create", build: volume.NewCreate},
		{name: "inspect", build: volume.NewInspect},
		{name: "ls", names: []string{"list"}, build: volume.NewLs},
		{name: "prune", build: volume.NewPrune},
		{name: "rm", names: []string{"remove"}, build: volume.NewRm},
	}
}

// topVerbs are the verbs that stand at the top: those of containers and images
// that Docker has there, and the ones without a noun.
func topVerbs() []verb {
	verbs := []verb{
		{name: "images", build: image.NewLs, full: "image ls"},
		{name: "info", build: system.NewInfo, full: "system info"},
		{name: "events", build: system.NewEvents, full: "system events"},
		{name: "inspect", build: system.NewInspect},
		{name: "login", build: login},
		{name: "logout", build: logout},
		{name: "ps", build: container.NewPs, full: "container ls"},
		{name: "rmi", build: image.NewRm, full: "image rm"},
		{name: "version", build: system.NewVersion},
	}
	for _, v := range containerVerbs() {
		if v.name != "inspect" && v.name != "ls" && v.name != "prune" {
			verbs = append(verbs, verb{name: v.name, build: v.build, full: "container " + v.name})
		}
	}
	for _, v := range imageVerbs() {
		if v.name != "inspect" && v.name != "ls" && v.name != "prune" && v.name != "rm" {
			verbs = append(verbs, verb{name: v.name, build: v.build, full: "image " + v.name})
		}
	}
	slices.SortFunc(verbs, func(a, b verb) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	return verbs
}

// find returns the command that args begin with, and the arguments left for it.
// It builds that one command and its parents and no other. cmd is nil if there
// is none; then known are the names that could stand there.
func find(env *command.Env, args []string) (cmd *cobra.Command, rest, known []string) {
	root := &cobra.Command{Use: "berth"}
	for _, v := range topVerbs() {
		if v.is(args[0]) {
			return attachTo(root, env, &v), args[1:], nil
		}
		known = append(known, v.name)
	}
	for _, n := range nouns() {
		if !n.is(args[0]) {
			known = append(known, n.name)
			continue
		}
		group := newNoun(&n)
		root.AddCommand(group)
		if len(args) == 1 || args[1] == "" || args[1][0] == '-' {
			return group, args[1:], nil
		}
		known = nil
		for _, v := range n.verbs {
			if v.is(args[1]) {
				return attachTo(group, env, &v), args[2:], nil
			}
			known = append(known, v.name)
		}
		return nil, args[1:], known
	}
	return nil, args, known
}

// attachTo builds a verb below its parent.
func attachTo(parent *cobra.Command, env *command.Env, v *verb) *cobra.Command {
	cmd := v.build(env)
	_, usage := cutWord(cmd.Use)
	cmd.Use = v.name + usage
	cmd.DisableFlagsInUseLine = true
	cmd.Aliases = v.names
	if v.full != "" {
		if cmd.Annotations == nil {
			cmd.Annotations = map[string]string{}
		}
		cmd.Annotations[alsoKnownAs] = "berth " + v.full
	}
	parent.AddCommand(cmd)
	return cmd
}

// alsoKnownAs is the annotation that holds a verb's path below its noun.
const alsoKnownAs = "also"

func newNoun(n *noun) *cobra.Command {
	return &cobra.Command{Use: n.name, Short: n.short, DisableFlagsInUseLine: true}
}

func cutWord(s string) (word, rest string) {
	for i := range len(s) {
		if s[i] == ' ' {
			return s[:i], s[i:]
		}
	}
	return s, ""
}

// tree builds every command, for help and completion.
func tree(env *command.Env) *cobra.Command {
	root := &cobra.Command{
		Use: "berth", Short: "A container engine without a daemon", SilenceErrors: true, SilenceUsage: true,
		DisableFlagsInUseLine: true,
	}
	for _, v := range topVerbs() {
		attachTo(root, env, &v)
	}
	for _, n := range nouns() {
		group := newNoun(&n)
		group.Annotations = map[string]string{isNoun: ""}
		for _, v := range n.verbs {
			attachTo(group, env, &v)
		}
		root.AddCommand(group)
	}
	return root
}

// isNoun is the annotation of a group of verbs.
const isNoun = "noun"
