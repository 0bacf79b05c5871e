// Package attest writes what is attached to an image that was built: how it was
// made, and what is inside.
//
//	Provenance  a predicate of SLSA provenance, version 1 (slsa.dev/spec/v1.0/provenance)
//	SBOM        an SPDX document of the packages in the final files (attest/packages, attest/spdx)
//
// Provenance answers "where does this image come from": the Dockerfile, the
// parameters of the build, and every image, address and commit that went into
// it, each with a digest. Its fields are those that BuildKit documents for its
// own (docs/attestations/slsa-definitions.md there), under BuildKit's build
// type: policies that check images built by Docker read berth's too. In mode
// "min" it holds nothing that could be a secret; "max" adds the values of build
// arguments and labels, the names of secrets, the steps and the Dockerfile itself.
//
// Both are predicates. Who writes the image out makes statements of them
// (image/attestation).
package attest

import (
	"encoding/json"
	"time"

	"berth/internal/build/plan"
	"berth/internal/build/source"
	"berth/internal/image/attestation"
	"berth/internal/oci"
)

// Mode is how much provenance tells.
type Mode string

// The modes of BuildKit.
const (
	Min Mode = "min"
	Max Mode = "max"
)

// Build is what is known of a build that has ended.
type Build struct {
	Plan       *plan.Plan
	Dockerfile Dockerfile
	// Context is where the main build context came from; nil: a directory of the
	// builder, or what it was given on its standard input.
	Context *source.Origin
	// Origins are what was fetched from elsewhere.
	Origins []source.Origin
	// Image finds the digest under which a registry knows an image, "" if none does.
	Image func(*plan.Image) oci.Digest

	// What the user asked for.
	Target    string
	Platform  string // "" if not said
	BuildArgs map[string]string
	Labels    map[string]string
	Named     map[string]string // build contexts by name: their addresses, "local:NAME" of a directory
	Options   map[string]string // others, in the words of BuildKit's frontend: "no-cache", "force-network-mode"

	InvocationID      string // of this run, any string that no other run has
	Started, Finished time.Time
}

// Dockerfile is the text that was built.
type Dockerfile struct {
	Name string // as the user gave it
	Text []byte
	// Local says that it is a file of the builder, and no part of a remote context.
	Local bool
}

// Options are the user's about provenance.
type Options struct {
	Mode         Mode
	BuilderID    string // a URI that names who builds; "": nobody vouches for this machine
	Reproducible bool   // the user says that the build is
}

// buildType names the meaning of the parameters: they are those of BuildKit's
// Dockerfile frontend.
const buildType = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md"

// predicate is SLSA's with BuildKit's extensions.
type predicate struct {
	BuildDefinition definition `json:"buildDefinition"`
	RunDetails      runDetails `json:"runDetails"`
}

type definition struct {
	BuildType    string     `json:"buildType"`
	External     external   `json:"externalParameters"`
	Internal     internal   `json:"internalParameters"`
	Dependencies []resource `json:"resolvedDependencies,omitempty"`
}

type external struct {
	ConfigSource configSource `json:"configSource"`
	Request      request      `json:"request"`
}

// configSource is where the Dockerfile came from.
type configSource struct {
	URI    string            `json:"uri,omitempty"`
	Digest map[string]string `json:"digest,omitempty"`
	Path   string            `json:"path,omitempty"`
}

type request struct {
	Frontend string            `json:"frontend"`
	Args     map[string]string `json:"args,omitempty"`
	Secrets  []given           `json:"secrets,omitempty"`
	SSH      []given           `json:"ssh,omitempty"`
	Locals   []local           `json:"locals,omitempty"`
	// Omitted are the names of args whose values mode=min does not tell.
	Omitted []string `json:"omitted,omitempty"`
}

type given struct {
	ID       string `json:"id"`
	Optional bool   `json:"optional,omitempty"`
}

type local struct {
	Name string `json:"name"`
}

type internal struct {
	BuilderPlatform string `json:"builderPlatform"`
	TargetPlatform  string `json:"targetPlatform"`
	Steps           []step `json:"steps,omitempty"`
}

// resource is SLSA's ResourceDescriptor.
type resource struct {
	URI    string            `json:"uri"`
	Digest map[string]string `json:"digest,omitempty"`
	// MediaType says what the digest is of, where that is not what the URI leads to.
	MediaType string `json:"mediaType,omitempty"`
}

type runDetails struct {
	Builder  builder  `json:"builder"`
	Metadata metadata `json:"metadata"`
}

type builder struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version,omitempty"`
}

type metadata struct {
	InvocationID string       `json:"invocationID"`
	StartedOn    time.Time    `json:"startedOn"`
	FinishedOn   time.Time    `json:"finishedOn"`
	BuildKit     extra        `json:"buildkit_metadata"`
	Hermetic     bool         `json:"buildkit_hermetic,omitempty"`
	Completeness completeness `json:"buildkit_completeness"`
	Reproducible bool         `json:"buildkit_reproducible,omitempty"`
}

type extra struct {
	Source *sources `json:"source,omitempty"`
}

type completeness struct {
	Request              bool `json:"request"`
	ResolvedDependencies bool `json:"resolvedDependencies"`
}

// Provenance tells how a build was made.
func Provenance(b *Build, o Options) (attestation.Predicate, error) {
	u := survey(b)
	p := predicate{
		BuildDefinition: definition{
			BuildType:    buildType,
			External:     external{ConfigSource: b.configSource(), Request: b.request(u, o.Mode)},
			Internal:     internal{BuilderPlatform: oci.HostPlatform().String(), TargetPlatform: b.Plan.Platform.String()},
			Dependencies: b.dependencies(u),
		},
		RunDetails: runDetails{
			Builder: builder{ID: o.BuilderID, Version: version()},
			Metadata: metadata{
				InvocationID: b.InvocationID, StartedOn: b.Started.UTC(), FinishedOn: b.Finished.UTC(), Reproducible: o.Reproducible,
			},
		},
	}
	request, meta := &p.BuildDefinition.External.Request, &p.RunDetails.Metadata
	complete := len(request.Locals) == 0
	meta.Completeness = completeness{Request: len(request.Omitted) == 0, ResolvedDependencies: complete}
	meta.Hermetic = complete && !u.network
	if o.Mode == Max {
		p.BuildDefinition.Internal.Steps, meta.BuildKit.Source = b.steps()
	}
	content, err := json.Marshal(p)
	return attestation.Predicate{Type: attestation.Provenance, Content: content}, err
}
