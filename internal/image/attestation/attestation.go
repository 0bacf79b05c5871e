// Package attestation provides what is said about an image: the documents of
// in-toto that builders attach to it, and their place beside it.
//
// An attestation is a statement (in-toto attestation framework, version 1): some
// subjects, each a name and the digests of its bytes, and a predicate, which is
// what is claimed of them. The predicate's type says how to read it: how the
// image was made (SLSA provenance), or what is inside (an SPDX document).
//
// A predicate can be written as soon as the files are there; a statement needs
// the digest of the manifest, and so the compression and the names under which
// the image leaves the host. That is why a store keeps predicates, and statements
// are made where an image is written out.
//
// Registries know nothing of this. As BuildKit has it, the statements of one
// image are the layers of another manifest, for the platform "unknown/unknown",
// which no machine asks for; it stands in the image's index and names the image
// by two annotations:
//
//	index ─┬─ manifest (linux/amd64) ── config, layers
//	       └─ manifest (unknown/unknown, vnd.docker.reference.digest: sha256 of the one above)
//	            └─ application/vnd.in-toto+json for each statement
package attestation

import (
	"encoding/json"

	"berth/internal/oci"
)

// The types of predicates that berth makes.
const (
	Provenance = "https://slsa.dev/provenance/v1"
	SPDX       = "https://spdx.dev/Document"
)

// MediaType is that of a statement in a registry.
const MediaType = "application/vnd.in-toto+json"

// The annotations that join statements and images.
const (
	predicateType   = "in-toto.io/predicate-type"
	referenceType   = "vnd.docker.reference.type"
	referenceDigest = "vnd.docker.reference.digest"

	attestationManifest = "attestation-manifest"
)

// Predicate is a claim about an image of which only the files are known.
type Predicate struct {
	Type    string          `json:"predicateType"`
	Content json.RawMessage `json:"predicate"`
}

// Subject is something that a statement is about.
type Subject struct {
	Name   string            `json:"name"`   // a package URL, a path, or "_"
	Digest map[string]string `json:"digest"` // algorithm -> hex digits
}

// NewSubject returns the subject that has a digest.
func NewSubject(name string, d oci.Digest) Subject {
	return Subject{Name: name, Digest: map[string]string{"sha256": d.Hex()}}
}

// Statement is an in-toto statement.
type Statement struct {
	Type          string          `json:"_type"`
	PredicateType string          `json:"predicateType"`
	Subject       []Subject       `json:"subject"`
	Predicate     json.RawMessage `json:"predicate"`
}

// About makes a statement of the predicate.
func (p Predicate) About(subjects []Subject) Statement {
	return Statement{Type: "https://in-toto.io/Statement/v1", PredicateType: p.Type, Subject: subjects, Predicate: p.Content}
}

// Manifest is an attestation manifest with everything that it refers to.
type Manifest struct {
	// Descriptor is the entry of the image's index.
	Descriptor oci.Descriptor
	// Blobs are the manifest, its config and the statements.
	Blobs map[oci.Digest][]byte
}

// NewManifest makes the attestation manifest of an image from statements about it.
func NewManifest(image oci.Descriptor, statements []Statement) (*Manifest, error) {
	m := &Manifest{Blobs: map[oci.Digest][]byte{}}
	doc := oci.Manifest{SchemaVersion: 2, MediaType: oci.MediaTypeManifest}
	nowhere := oci.Platform{OS: "unknown", Architecture: "unknown"}
	config := oci.ImageConfig{OS: nowhere.OS, Architecture: nowhere.Architecture, RootFS: oci.RootFS{Type: "layers"}}
	for _, s := range statements {
		d, err := m.add(MediaType, s)
		if err != nil {
			return nil, err
		}
		d.Annotations = map[string]string{predicateType: s.PredicateType}
		doc.Layers = append(doc.Layers, d)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, d.Digest)
	}
	var err error
	if doc.Config, err = m.add(oci.MediaTypeConfig, config); err != nil {
		return nil, err
	}
	if m.Descriptor, err = m.add(doc.MediaType, doc); err != nil {
		return nil, err
	}
	m.Descriptor.Annotations = map[string]string{referenceType: attestationManifest, referenceDigest: string(image.Digest)}
	m.Descriptor.Platform = &nowhere
	return m, nil
}

func (m *Manifest) add(mediaType string, v any) (oci.Descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return oci.Descriptor{}, err
	}
	d := oci.Descriptor{MediaType: mediaType, Digest: oci.DigestOf(b), Size: int64(len(b))}
	m.Blobs[d.Digest] = b
	return d, nil
}
