package attest

import (
	"cmp"
	"maps"
	"slices"

	"berth/internal/build/plan"
	"berth/internal/build/source"
	"berth/internal/buildinfo"
	"berth/internal/image/attestation"
	"berth/internal/oci"
	"berth/internal/reference"
)

// used is what the stages of a plan read.
type used struct {
	images   []*plan.Image
	contexts map[string]bool // "" is the main one
	secrets  map[string]bool // id -> it may be missing
	ssh      map[string]bool
	network  bool
}

// survey looks through a plan.
func survey(b *Build) *used {
	u := &used{contexts: map[string]bool{}, secrets: map[string]bool{}, ssh: map[string]bool{}}
	for _, s := range b.Plan.Stages {
		switch base := s.Base; {
		case base.Image != nil:
			u.image(base.Image)
		case base.Context != "":
			u.contexts[base.Context] = true
		}
		for _, step := range s.Steps {
			switch op := step.Op.(type) {
			case *plan.Copy:
				if len(op.Paths) > 0 {
					u.source(op.From)
				}
			case *plan.Run:
				u.run(op)
			}
		}
	}
	return u
}

func (u *used) run(op *plan.Run) {
	u.network = u.network || op.Network != "none"
	for _, m := range op.Mounts {
		switch m.Type {
		case plan.MountBind, plan.MountCache:
			u.source(m.From)
		case plan.MountSecret:
			optional, seen := u.secrets[m.ID]
			u.secrets[m.ID] = !m.Required && (optional || !seen)
		case plan.MountSSH:
			optional, seen := u.ssh[m.ID]
			u.ssh[m.ID] = !m.Required && (optional || !seen)
		}
	}
}

func (u *used) source(from plan.Source) {
	switch {
	case from.Image != nil:
		u.image(from.Image)
	case from.Stage == nil && !from.Scratch:
		u.contexts[from.Context] = true
	}
}

func (u *used) image(i *plan.Image) {
	if !slices.ContainsFunc(u.images, func(have *plan.Image) bool { return have.Name == i.Name && have.ID == i.ID }) {
		u.images = append(u.images, i)
	}
}

func (b *Build) configSource() configSource {
	c := configSource{Path: b.Dockerfile.Name}
	if b.Context != nil {
		c.URI, c.Digest = b.Context.URL, digests(b.Context)
	}
	return c
}

// digests says what was found at an address.
func digests(o *source.Origin) map[string]string {
	switch {
	case o.Digest != "":
		return map[string]string{"sha256": o.Digest.Hex()}
	case len(o.Commit) == 64:
		return map[string]string{"sha256": o.Commit}
	default:
		return map[string]string{"sha1": o.Commit}
	}
}

func (b *Build) request(u *used, mode Mode) request {
	r := request{Frontend: "dockerfile.v0", Args: maps.Clone(b.Options)}
	if r.Args == nil {
		r.Args = map[string]string{}
	}
	set := func(key, value string) {
		if value != "" {
			r.Args[key] = value
		}
	}
	set("target", b.Target)
	set("platform", b.Platform)
	for name, address := range b.Named {
		set("context:"+name, address)
	}
	for prefix, values := range map[string]map[string]string{"build-arg:": b.BuildArgs, "label:": b.Labels} {
		for name, value := range values {
			if mode == Max {
				r.Args[prefix+name] = value
			} else {
				r.Omitted = append(r.Omitted, prefix+name)
			}
		}
	}
	slices.Sort(r.Omitted)
	if mode == Max {
		r.Secrets, r.SSH = list(u.secrets), list(u.ssh)
	}
	if b.Dockerfile.Local {
		r.Locals = append(r.Locals, local{"dockerfile"})
	}
	for name := range u.contexts {
		switch {
		case name == "" && b.Context == nil:
			r.Locals = append(r.Locals, local{"context"})
		case name != "" && b.Named[name] == "local:"+name:
			r.Locals = append(r.Locals, local{name})
		}
	}
	slices.SortFunc(r.Locals, func(a, b local) int { return cmp.Compare(a.Name, b.Name) })
	return r
}

func list(ids map[string]bool) []given {
	all := make([]given, 0, len(ids))
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		all = append(all, given{id, ids[id]})
	}
	return all
}

// dependencies are the images, addresses and commits that went into the build.
func (b *Build) dependencies(u *used) []resource {
	var all []resource
	for _, i := range u.images {
		all = append(all, b.dependency(i))
	}
	for i := range b.Origins {
		o := &b.Origins[i]
		all = append(all, resource{URI: o.URL, Digest: digests(o)})
	}
	slices.SortStableFunc(all, func(a, b resource) int { return cmp.Compare(a.URI, b.URI) })
	return slices.CompactFunc(all, func(a, b resource) bool { return a.URI == b.URI && maps.Equal(a.Digest, b.Digest) })
}

// dependency names an image. One that no registry gave has the digest of its
// config, which is its id.
func (b *Build) dependency(i *plan.Image) resource {
	platform := oci.Platform{OS: i.Config.OS, Architecture: i.Config.Architecture, Variant: i.Config.Variant}.Normalize()
	r := resource{Digest: map[string]string{"sha256": i.ID.Hex()}, MediaType: oci.MediaTypeConfig}
	n, err := reference.Parse(i.Name)
	if err != nil || b.isID(i) {
		r.URI = attestation.PackageURL{Type: "oci", Name: "image", Version: string(i.ID), Qualifiers: map[string]string{"arch": platform.Architecture}}.String()
		return r
	}
	r.URI = attestation.ImageURL(n, platform)
	if d := b.Image(i); d != "" {
		r.Digest, r.MediaType = map[string]string{"sha256": d.Hex()}, ""
	}
	return r
}

// isID reports whether an image was named by its id, or the beginning of it.
func (b *Build) isID(i *plan.Image) bool {
	const shortest = 12
	name := i.Name
	if len(name) > len("sha256:") && name[:len("sha256:")] == "sha256:" {
		name = name[len("sha256:"):]
	}
	hex := i.ID.Hex()
	return len(name) >= shortest && len(name) <= len(hex) && hex[:len(name)] == name
}

// version says which berth it was.
func version() map[string]string { return map[string]string{"berth": buildinfo.Version} }
