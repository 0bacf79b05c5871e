package build

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"berth/internal/cli/command"
	"berth/internal/cli/flagvalue"
	"berth/internal/cli/streams"
	"berth/internal/reference"
)

// flags are what the user typed, each value checked alone.
type flags struct {
	// What is built.
	file, target        string
	platforms           []string
	args, contexts      flagvalue.List
	secrets, ssh        flagvalue.List
	labels, annotations flagvalue.List
	allow               []string

	// What comes of it.
	tags                  flagvalue.List
	outputs               flagvalue.List
	load, push, squash    bool
	iidFile, metadataFile string
	attest                flagvalue.List
	provenance, sbom      string
	check, verify         bool
	call                  string
	cacheTo               flagvalue.List

	// How.
	noCache, pull, quiet bool
	noCacheFilter        []string
	cacheFrom            flagvalue.List
	progress             string
	onError              string
	interactive          bool                        // there is a terminal to talk to
	lookup               func(string) (string, bool) // of the environment

	// Of RUN's containers.
	network, cgroupParent  string
	hosts                  flagvalue.List
	ulimits                flagvalue.Ulimits
	shmSize, memory        flagvalue.Bytes
	swap                   flagvalue.SwapBytes
	cpuShares              int64
	cpuPeriod, cpuQuota    int64
	cpusetCPUs, cpusetMems string

	// Docker's that change nothing here, or that berth refuses.
	isolation, builder, policy   string
	compress, forceRm, rm, trust bool
	securityOpts                 flagvalue.List
}

// bind defines the flags. Names, forms and messages are those of docker build
// and docker buildx build.
func (f *flags) bind(fs *pflag.FlagSet, env *command.Env) {
	f.lookup = env.LookupEnv
	f.interactive = streams.Terminal(env.In) != nil && streams.Terminal(env.Out) != nil
	progress := "auto"
	if kit, ok := env.LookupEnv("DOCKER_BUILDKIT"); ok && (kit == "0" || kit == "false") {
		progress = "classic" // it asks Docker for its first builder; here the output is the difference
	}
	if p, ok := env.LookupEnv("BUILDKIT_PROGRESS"); ok && p != "" {
		progress = p
	}
	f.bindInput(fs, env)
	f.bindResult(fs)
	fs.BoolVar(&f.noCache, "no-cache", false, "Do not use what earlier builds made")
	fs.StringSliceVar(&f.noCacheFilter, "no-cache-filter", nil, "Do not use it for these stages")
	fs.BoolVar(&f.pull, "pull", false, "Always ask the registry for newer base images")
	fs.Var(&f.cacheFrom, "cache-from", "Use the cache of builds elsewhere too: `type=local,src=dir`, type=registry,ref=name, or an image's name")
	f.cacheFrom.Check = checked(parseCacheFrom)
	fs.StringVar(&f.progress, "progress", progress, "Form of progress: auto, plain, tty, rawjson, classic, quiet")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "Print only the image's id, at the end")
	fs.StringVar(&f.onError, "on-error", "", "When a RUN fails: shell opens one in its files, keep keeps them")
	f.bindRun(fs)
	f.bindIgnored(fs)
}

func (f *flags) bindInput(fs *pflag.FlagSet, env *command.Env) {
	fs.StringVarP(&f.file, "file", "f", "", "Dockerfile to read, - for standard input (default: Dockerfile in the context)")
	fs.StringVar(&f.target, "target", "", "Stage to build instead of the last")
	fs.StringSliceVar(&f.platforms, "platform", nil, "Platforms to build for (os/arch[/variant],...)")
	fs.Var(&f.args, "build-arg", "Value of an ARG: NAME=value, or NAME for that of the environment")
	f.args.Check = buildArg(env.LookupEnv)
	fs.Var(&f.contexts, "build-context", "More places to copy from: name=dir, name=docker-image://ref, name=oci-layout://dir, name=URL")
	f.contexts.Check = checkContext
	fs.Var(&f.secrets, "secret", "File or variable for RUN --mount=type=secret: id=name,src=file or id=name,env=NAME")
	f.secrets.Check = checked(parseSecret)
	fs.Var(&f.ssh, "ssh", "Agent or keys for RUN --mount=type=ssh: default or id=socket|key[,key]")
	f.ssh.Check = checked(parseSSH)
	fs.Var(&f.labels, "label", "Label of the image")
	f.labels.Check = flagvalue.Label
	fs.Var(&f.annotations, "annotation", "Annotation of the image's manifest")
	f.annotations.Check = checked(parseAnnotation)
	fs.StringSliceVar(&f.allow, "allow", nil, "Permit RUN more: network.host, security.insecure")
}

func (f *flags) bindResult(fs *pflag.FlagSet) {
	fs.VarP(&f.tags, "tag", "t", "Name of the image (name[:tag]); may be given several times")
	f.tags.Check = checkTag
	fs.VarP(&f.outputs, "output", "o", "Where the result goes: a directory, - for a tar, or type=image|local|tar|oci|docker,dest=path")
	f.outputs.Check = checked(parseDestination)
	fs.BoolVar(&f.load, "load", false, "Store the image, also with --output")
	fs.BoolVar(&f.push, "push", false, "Upload the image to its registry")
	fs.BoolVar(&f.squash, "squash", false, "Make one layer of all new ones")
	fs.StringVar(&f.iidFile, "iidfile", "", "Write the image's id to this file")
	fs.StringVar(&f.metadataFile, "metadata-file", "", "Write digest and names of the result to this file, as JSON")
	fs.Var(&f.attest, "attest", "Attach a document about the image: type=provenance,mode=min|max or type=sbom")
	f.attest.Check = checked(parseFields)
	fs.StringVar(&f.provenance, "provenance", "", "Attach how the image was made (true, false, mode=min, mode=max)")
	fs.StringVar(&f.sbom, "sbom", "", "Attach a list of the packages inside")
	fs.Lookup("provenance").NoOptDefVal, fs.Lookup("sbom").NoOptDefVal = "true", "true"
	fs.BoolVar(&f.check, "check", false, "Look for mistakes in the Dockerfile and build nothing")
	fs.BoolVar(&f.verify, "verify", false, "Build twice without the cache and show what differs")
	fs.StringVar(&f.call, "call", "build", "What to do: build, check, outline, targets")
	fs.Var(&f.cacheTo, "cache-to", "Write the cache for builds elsewhere: `type=local,dest=dir[,mode=min|max]`, type=registry,ref=name, type=inline")
	f.cacheTo.Check = checked(parseCacheTo)
}

// bindRun defines what the containers of RUN get.
func (f *flags) bindRun(fs *pflag.FlagSet) {
	fs.StringVar(&f.network, "network", "default", "Network of RUN: default, none, host")
	fs.StringVar(&f.cgroupParent, "cgroup-parent", "", "Parent of RUN's control groups")
	fs.Var(&f.hosts, "add-host", "More names in /etc/hosts of RUN (host:ip)")
	f.hosts.Check = flagvalue.ExtraHost
	fs.Var(&f.ulimits, "ulimit", "Limits of RUN's processes (name=soft[:hard])")
	fs.Var(&f.shmSize, "shm-size", "Size of /dev/shm for RUN")
	fs.VarP(&f.memory, "memory", "m", "Memory that a RUN may use")
	fs.Var(&f.swap, "memory-swap", "Memory and swap that a RUN may use; -1: no limit")
	fs.Int64VarP(&f.cpuShares, "cpu-shares", "c", 0, "Weight of RUN against other containers")
	fs.Int64Var(&f.cpuPeriod, "cpu-period", 0, "Period of RUN's CPU quota, in microseconds")
	fs.Int64Var(&f.cpuQuota, "cpu-quota", 0, "CPU time per period that a RUN may use, in microseconds")
	fs.StringVar(&f.cpusetCPUs, "cpuset-cpus", "", "CPUs that a RUN may use (0-3, 0,1)")
	fs.StringVar(&f.cpusetMems, "cpuset-mems", "", "Memory nodes that a RUN may use")
}

// bindIgnored defines flags that scripts pass and that have no meaning here, or
// one that berth has not.
func (f *flags) bindIgnored(fs *pflag.FlagSet) {
	fs.BoolVar(&f.forceRm, "force-rm", false, "Always remove intermediate containers (berth leaves none)")
	fs.BoolVar(&f.rm, "rm", true, "Remove intermediate containers (berth leaves none)")
	fs.BoolVar(&f.compress, "compress", false, "Compress the context (berth sends none)")
	fs.BoolVar(&f.trust, "disable-content-trust", true, "Skip the verification of images")
	fs.StringVar(&f.isolation, "isolation", "", "Isolation technology: default")
	fs.Var(&f.securityOpts, "security-opt", "Security options")
	fs.StringVar(&f.builder, "builder", "", "Name of a builder instance")
	fs.StringVar(&f.policy, "policy", "", "Policy for what is built from")
	for _, name := range []string{"force-rm", "rm", "compress", "disable-content-trust", "isolation", "security-opt", "builder", "policy"} {
		fs.Lookup(name).Hidden = true
	}
}

// checked makes a check for a flagvalue.List of a parser.
func checked[T any](parse func(string) (T, error)) func(string) (string, error) {
	return func(s string) (string, error) {
		_, err := parse(s)
		return s, err
	}
}

// parseAll parses values that a checked list let through.
func parseAll[T any](list []string, parse func(string) (T, error)) ([]T, error) {
	all := make([]T, 0, len(list))
	for _, s := range list {
		v, err := parse(s)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// buildArg checks a --build-arg. A bare NAME takes the value that the client
// has; one that it does not have is left for the Dockerfile's default.
func buildArg(lookup func(string) (string, bool)) func(string) (string, error) {
	return func(s string) (string, error) {
		name, _, ok := strings.Cut(s, "=")
		if name == "" {
			return "", fmt.Errorf("invalid build argument %q: it has no name", s)
		}
		if ok {
			return s, nil
		}
		if v, ok := lookup(name); ok {
			return name + "=" + v, nil
		}
		return name, nil
	}
}

func checkTag(s string) (string, error) {
	n, err := reference.Parse(s)
	if err == nil && n.Digest() != "" {
		err = fmt.Errorf("refusing to create a tag with a digest reference")
	}
	return s, err
}
