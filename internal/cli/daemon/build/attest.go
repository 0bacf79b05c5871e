package build

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"berth/internal/build/attest"
	"berth/internal/build/export"
	"berth/internal/build/plan"
	"berth/internal/build/solve"
	"berth/internal/build/source"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/image/attestation"
	"berth/internal/image/catalog"
	"berth/internal/oci"
	"berth/internal/reference"
	"berth/internal/storage/snapshot"
)

// attestations are what the user wants to be said about the result.
type attestations struct {
	provenance *attest.Options // nil: nothing
	// inlineOnly keeps provenance out of outputs that are files.
	inlineOnly bool
	// byDefault says that nobody asked for provenance: archives have it, as
	// buildx's have; the store has what was asked for.
	byDefault bool
	sbom      bool
}

// noDefaultAttestations is buildx's variable that turns the default off.
const noDefaultAttestations = "BUILDX_NO_DEFAULT_ATTESTATIONS"

// attesting reads --attest, --provenance and --sbom; of several about the same
// the last counts.
func (r *request) attesting() error {
	list := r.attest.Values
	for kind, v := range map[string]string{"provenance": r.flags.provenance, "sbom": r.flags.sbom} {
		if v != "" {
			list = append(list, shorthand(kind, v))
		}
	}
	a := attestations{byDefault: true}
	for _, s := range list {
		fields, err := parseFields(s)
		if err == nil {
			err = a.add(fields)
		}
		if err != nil {
			return errdefs.New(errdefs.InvalidArgument, "invalid attestation %q: %w", s, err).
				WithHint("write --attest type=provenance,mode=min|max or --attest type=sbom")
		}
	}
	if a.byDefault {
		if off, err := r.noDefault(); err != nil || off {
			a.byDefault = false
			r.attestations = a
			return err
		}
		a.provenance, a.inlineOnly = &attest.Options{Mode: attest.Min}, true
	}
	r.attestations = a
	for _, o := range r.outputs {
		if o.kind == "docker" && (a.sbom || a.provenance != nil && !a.inlineOnly) {
			return errdefs.New(errdefs.InvalidArgument, "Docker's image format has no attestations").WithHint("use --output type=oci,dest=FILE")
		}
	}
	return nil
}

// shorthand makes "true", "false" or parameters of one kind a value of --attest.
func shorthand(kind, v string) string {
	if on, err := strconv.ParseBool(v); err == nil {
		return fmt.Sprintf("type=%s,disabled=%t", kind, !on)
	}
	return "type=" + kind + "," + v
}

// noDefault reports whether the default is off: the user's variable says so, or
// wants the same bytes from the same input, which provenance, with the times of
// the build, cannot be.
func (r *request) noDefault() (bool, error) {
	if v, ok := r.lookup(noDefaultAttestations); ok && v != "" {
		off, err := strconv.ParseBool(v)
		if err != nil {
			return false, errdefs.New(errdefs.InvalidArgument, "invalid %s: %q", noDefaultAttestations, v).WithHint("set it to 1 or 0")
		}
		if off {
			return true, nil
		}
	}
	return r.buildArgs[epochVariable] != "", nil
}

// add takes one --attest.
func (a *attestations) add(fields []field) error {
	kind, disabled := "", false
	attrs := map[string]string{}
	for _, f := range fields {
		var err error
		switch {
		case !f.ok:
			return fmt.Errorf("%q must be a key=value pair", f.key)
		case f.key == "type":
			kind = f.value
		case f.key == "disabled":
			if disabled, err = strconv.ParseBool(f.value); err != nil {
				return fmt.Errorf("disabled is true or false, not %q", f.value)
			}
		default:
			attrs[f.key] = f.value
		}
	}
	switch kind {
	case "provenance":
		a.provenance, a.inlineOnly, a.byDefault = nil, false, false
		if disabled {
			return nil
		}
		return a.setProvenance(attrs)
	case "sbom":
		a.sbom = !disabled
		for k, v := range attrs {
			if k == "generator" && v != "" {
				return fmt.Errorf("berth reads the packages itself and runs no generator (%s)", v)
			} else if k != "generator" {
				return fmt.Errorf("unknown parameter %q of an sbom", k)
			}
		}
		return nil
	case "":
		return fmt.Errorf("attestation type not specified")
	}
	return fmt.Errorf("unknown attestation type %q", kind)
}

func (a *attestations) setProvenance(attrs map[string]string) (err error) {
	o := &attest.Options{Mode: attest.Max}
	a.provenance = o
	for k, v := range attrs {
		switch k {
		case "mode":
			switch v {
			case "min":
				o.Mode = attest.Min
			case "max", "full":
				o.Mode = attest.Max
			default:
				return fmt.Errorf("mode is min or max, not %q", v)
			}
		case "builder-id":
			o.BuilderID = v
		case "reproducible":
			o.Reproducible, err = strconv.ParseBool(v)
		case "inline-only":
			a.inlineOnly, err = strconv.ParseBool(v)
		case "version":
			if v != "v1" {
				return fmt.Errorf("berth writes version v1 of SLSA provenance, not %q", v)
			}
		default:
			return fmt.Errorf("unknown parameter %q of provenance", k)
		}
		if err != nil {
			return fmt.Errorf("%s is true or false, not %q", k, v)
		}
	}
	return nil
}

// wantsProvenance reports whether an output of a kind gets provenance.
func (a *attestations) wantsProvenance(kind string) bool {
	switch {
	case a.provenance == nil:
		return false
	case a.byDefault:
		return kind == "oci"
	case a.inlineOnly:
		return kind == "oci" || kind == "image"
	}
	return true
}

// attestTo is what is said to one kind of output; nil: nothing.
func (b *build) attestTo(kind string) export.Attest {
	a := b.attestations
	provenance := a.wantsProvenance(kind)
	if !provenance && !a.sbom || kind == "docker" {
		return nil
	}
	return func(ctx context.Context, r *solve.Result) (said []attestation.Predicate, err error) {
		if provenance {
			p, err := attest.Provenance(b.story(r.Plan), *a.provenance)
			if err != nil {
				return nil, err
			}
			said = append(said, p)
		}
		if a.sbom {
			p, err := b.bill(ctx, r)
			if err != nil {
				return nil, err
			}
			said = append(said, p)
		}
		return said, nil
	}
}

// bill lists what is in the result.
func (b *build) bill(ctx context.Context, r *solve.Result) (p attestation.Predicate, err error) {
	v := begin(b.sink, "generating sbom")
	defer func() { v.finish(err) }()
	created := time.Now()
	if r.Plan.Epoch != nil {
		created = *r.Plan.Epoch
	}
	name := ""
	if len(b.tags) > 0 {
		name = b.tags[0].String()
	}
	var root *os.File
	if r.TopLayer != "" {
		if root, err = snapshot.Open(b.Env.DataRoot).MountTree(ctx, r.TopLayer); err != nil {
			return p, err
		}
		defer root.Close()
	}
	p, err = attest.SBOM(ctx, root, name, created)
	return p, errdefs.Wrap(err, "list", "what the image has inside")
}

// story is how the build went.
func (b *build) story(p *plan.Plan) *attest.Build {
	asked := "" // the platform, if it was said
	if len(b.platforms) > 0 {
		asked = p.Platform.String()
	}
	s := &attest.Build{
		Plan:       p,
		Dockerfile: attest.Dockerfile{Name: b.text.name, Text: b.text.text, Local: b.contexts.from == nil && !source.IsURL(b.flags.file) || b.flags.file == "-"},
		Context:    b.contexts.from, Origins: b.contexts.origins(), Image: b.registryDigest,
		Target: b.target, Platform: asked, BuildArgs: b.buildArgs, Labels: b.labels,
		Named: map[string]string{}, Options: map[string]string{},
		InvocationID: b.invocation, Started: b.started, Finished: time.Now(),
	}
	for _, n := range b.request.contexts {
		s.Named[n.name] = publicPlace(n)
	}
	set := func(key, value string, given bool) {
		if given {
			s.Options[key] = value
		}
	}
	set("no-cache", strings.Join(b.noCacheFilter, ","), b.noCache || len(b.noCacheFilter) > 0)
	set("force-network-mode", b.network, b.network != "default")
	set("add-hosts", strings.Join(b.hosts.Values, ","), len(b.hosts.Values) > 0)
	set("shm-size", strconv.FormatInt(int64(b.shmSize), 10), b.shmSize != 0)
	return s
}

// publicPlace is a named context as others may see it: not where it lies on this host.
func publicPlace(n named) string {
	kind, rest, ok := strings.Cut(n.at, "://")
	if ok && kind == "docker-image" {
		return "docker-image://" + rest
	}
	if k, err := classify(n.at); err == nil && (k == repository || k == address) {
		return source.WithoutUser(n.at)
	}
	return "local:" + n.name
}

// registryDigest is the digest under which a registry gave an image.
func (b *build) registryDigest(img *plan.Image) oci.Digest {
	n, err := reference.Parse(img.Name)
	if err != nil {
		return ""
	}
	if n.Digest() != "" {
		return n.Digest()
	}
	names, err := catalog.Open(b.Env.DataRoot).Names()
	if err != nil {
		return ""
	}
	_, digests := names.Of(img.ID)
	for _, d := range digests {
		if repo, digest, ok := strings.Cut(d, "@"); ok && repo == n.FamiliarName() {
			return oci.Digest(digest)
		}
	}
	return ""
}

// newInvocation names one run.
func newInvocation() string { return ident.New()[:32] }
