package build

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"berth/internal/cli/command"
	"berth/internal/cli/daemon/build/printer"
	"berth/internal/cli/flagvalue"
	"berth/internal/errdefs"
	"berth/internal/oci"
	"berth/internal/reference"
)

// request is what the user wants, checked as a whole.
type request struct {
	*flags
	context     string // a directory, "-", an archive or an address
	mode        printer.Mode
	platforms   []oci.Platform // none: not said
	buildArgs   map[string]string
	labels      map[string]string
	contexts    []named
	secrets     []secret
	ssh         []sshSpec
	annotations []annotation
	tags        []reference.Named
	outputs     []destination
	cacheFrom   []cachePlace
	cacheTo     []cachePlace
	// allowHost and allowInsecure are the consents of --allow.
	allowHost, allowInsecure bool
	attestations             attestations
	callJSON                 bool // --call ...,format=json
	callIgnoresStatus        bool // --call ...,ignorestatus=true
}

// epochVariable is the time that a reproducible build is of, a build argument. As
// with buildx the environment's counts if none is given.
const epochVariable = "SOURCE_DATE_EPOCH"

// named is a build context with a name of the user's.
type named struct{ name, at string }

// request judges the flags together.
func (f *flags) request(context string) (*request, error) {
	r := &request{flags: f, context: context, labels: flagvalue.Pairs(f.labels.Values), buildArgs: map[string]string{}}
	for _, a := range f.args.Values {
		if name, value, ok := strings.Cut(a, "="); ok {
			r.buildArgs[name] = value
		}
	}
	if v, ok := f.lookup(epochVariable); ok && v != "" && r.buildArgs[epochVariable] == "" {
		r.buildArgs[epochVariable] = v
	}
	for _, step := range [...]func() error{r.proxies, r.refuse, r.values, r.results, r.several, r.consents, r.doing, r.attesting} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// refuse says what berth cannot do, before anything is done.
func (r *request) refuse() error {
	unsupported := func(what, hint string) error {
		return errdefs.New(errdefs.Unsupported, "%s", what).WithHint("%s", hint)
	}
	switch {
	case r.policy != "":
		return unsupported("berth has no build policies", "leave --policy out")
	case r.isolation != "" && r.isolation != "default":
		return unsupported(fmt.Sprintf("unsupported isolation %q on linux", r.isolation), "--isolation=default is the only one")
	case len(r.securityOpts.Values) > 0:
		return unsupported("--security-opt does not apply to builds on linux", "RUN --security=insecure with --allow security.insecure lifts a step's limits")
	}
	return r.failing()
}

// values parses what the flags' own checks let through.
func (r *request) values() (err error) {
	if r.mode, err = printer.ParseMode(r.progress); err != nil {
		return err
	}
	if r.quiet {
		r.mode = printer.Quiet
	}
	for _, s := range r.flags.platforms {
		p, err := oci.ParsePlatform(s)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(r.platforms, func(q oci.Platform) bool { return q.String() == p.String() }) {
			r.platforms = append(r.platforms, p)
		}
	}
	for _, c := range r.flags.contexts.Values {
		name, at, _ := strings.Cut(c, "=")
		r.contexts = append(r.contexts, named{name, at})
	}
	var errs [4]error
	r.secrets, errs[0] = parseAll(r.flags.secrets.Values, parseSecret)
	r.ssh, errs[1] = parseAll(r.flags.ssh.Values, parseSSH)
	r.annotations, errs[2] = parseAll(r.flags.annotations.Values, parseAnnotation)
	r.tags, errs[3] = parseAll(r.flags.tags.Values, reference.Parse)
	return errors.Join(errs[:]...)
}

// results decides where the result goes: into the store, unless outputs say
// otherwise.
func (r *request) results() (err error) {
	if r.outputs, err = parseAll(r.flags.outputs.Values, parseDestination); err != nil {
		return err
	}
	streams := 0
	for _, o := range r.outputs {
		if o.toStdout() {
			streams++
		}
		for _, n := range o.names {
			name, err := reference.Parse(n)
			if err != nil {
				return err
			}
			r.tags = append(r.tags, name)
		}
	}
	if streams > 1 {
		return errdefs.New(errdefs.InvalidArgument, "several outputs to standard output").WithHint("give all but one a file: dest=FILE")
	}
	if streams == 1 && r.mode == printer.Classic {
		return errdefs.New(errdefs.InvalidArgument, "--progress=classic and an output both want standard output").WithHint("use --progress=plain")
	}
	stored := slices.ContainsFunc(r.outputs, func(o destination) bool { return o.kind == "image" })
	if len(r.outputs) == 0 || r.load && !stored {
		r.outputs = append(r.outputs, destination{kind: "image"})
	}
	if err := r.pushing(); err != nil {
		return err
	}
	return r.caches()
}

// caches reads --cache-from and --cache-to.
func (r *request) caches() (err error) {
	if r.cacheFrom, err = parseAll(r.flags.cacheFrom.Values, parseCacheFrom); err != nil {
		return err
	}
	if r.cacheTo, err = parseAll(r.flags.cacheTo.Values, parseCacheTo); err != nil {
		return err
	}
	if !r.wants(isInline) {
		return nil
	}
	if r.squash {
		return errdefs.New(errdefs.InvalidArgument, "--squash leaves no layers of steps, so the image cannot hold their cache").
			WithHint("use --cache-to type=local,dest=DIR or type=registry")
	}
	if !slices.ContainsFunc(r.outputs, func(o destination) bool { return o.kind == "image" || o.kind == "oci" || o.kind == "docker" }) {
		return errdefs.New(errdefs.InvalidArgument, "--cache-to type=inline puts the cache into the image, and none is made").WithHint("use --cache-to type=local,dest=DIR")
	}
	return nil
}

// several checks what can be done with the results of several platforms.
func (r *request) several() error {
	if len(r.platforms) < 2 {
		return nil
	}
	switch {
	case r.mode == printer.Classic:
		return errdefs.New(errdefs.InvalidArgument, "--progress=classic shows the build of one platform").WithHint("use --progress=plain")
	case r.verify:
		return errdefs.New(errdefs.InvalidArgument, "--verify compares builds of one platform").WithHint("run it once for each --platform")
	}
	for i := range r.outputs {
		o := &r.outputs[i]
		split, err := strconv.ParseBool(cmp.Or(o.attrs["platform-split"], "true"))
		switch {
		case o.kind == "image" && !o.push:
			return errdefs.New(errdefs.Unsupported, "the store holds images of one platform, and %d are to be built", len(r.platforms)).
				WithHint("write them out together: --output type=oci,dest=FILE")
		case o.kind == "docker":
			return errdefs.New(errdefs.Unsupported, "Docker's image format holds one platform").WithHint("use --output type=oci,dest=FILE")
		case (o.kind == "tar" || o.kind == "local") && (err != nil || !split):
			return errdefs.New(errdefs.InvalidArgument, "the files of several platforms in one directory would replace each other").WithHint("leave platform-split out")
		}
	}
	return nil
}

func (r *request) consents() error {
	for _, a := range r.allow {
		name, _, _ := strings.Cut(a, "=")
		switch name {
		case "network.host":
			r.allowHost = true
		case "security.insecure":
			r.allowInsecure = true
		case "fs", "fs.read", "fs.write", "ssh", "image.load", "registry.push": // buildx asks for its own process
		default:
			return errdefs.New(errdefs.InvalidArgument, "invalid entitlement: %s", a).WithHint("one of network.host, security.insecure")
		}
	}
	switch r.network {
	case "", "default", "bridge":
		r.network = "default"
	case "none":
	case "host":
		r.allowHost = true // the user said it
	default:
		return errdefs.New(errdefs.InvalidArgument, "network mode %q is not one a build can have", r.network).WithHint("one of default, none, host")
	}
	return nil
}

// failing checks --on-error.
func (r *request) failing() error {
	switch r.onError {
	case "", "keep":
		return nil
	case "shell":
		if !r.interactive {
			return errdefs.New(errdefs.InvalidArgument, "--on-error=shell needs a terminal: standard input or output is none").
				WithHint("--on-error=keep keeps the files of a step that failed, for 'berth run'")
		}
		return nil
	}
	return errdefs.New(errdefs.InvalidArgument, "invalid --on-error %q", r.onError).WithHint("one of shell, keep")
}

// doing settles what is to be done: --check is a way to say --call=check.
func (r *request) doing() error {
	if r.check {
		r.call = "check"
	}
	if err := r.parseCall(); err != nil {
		return &command.UsageError{Path: "berth build", Err: fmt.Errorf("invalid --call %q: %w", r.call, err), Hint: "one of build, check, outline, targets; ,format=json behind it gives JSON"}
	}
	if r.file == "-" && r.context == "-" {
		return errdefs.New(errdefs.InvalidArgument, "invalid argument: can't use stdin for both build context and dockerfile").
			WithHint("give the context as a directory: berth build -f - .")
	}
	return nil
}
