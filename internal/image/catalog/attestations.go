package catalog

import (
	"encoding/json"
	"errors"
	"io"
	"os"

	"berth/internal/atomicfile"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/image/attestation"
	"berth/internal/oci"
)

// maxAttestations bounds what is kept for one image, in bytes. The packages of
// a whole distribution make some megabytes.
const maxAttestations = 64 << 20

func (s *Store) attestations(id oci.Digest) string { return s.metadata(id) + "/attestations.json" }

// Attest keeps what is said about an image of this lease beside it, durably, in
// place of what was said before. It goes with the image.
func (l *Lease) Attest(id oci.Digest, said []attestation.Predicate) error {
	b, err := json.Marshal(said)
	if err != nil {
		return err
	}
	if len(b) > maxAttestations {
		return errdefs.New(errdefs.Exhausted, "attestations of %d bytes: at most %d are kept for an image", len(b), maxAttestations)
	}
	hold, err := l.s.Hold()
	if err != nil {
		return err
	}
	defer hold.Release()
	if err := os.MkdirAll(l.s.metadata(id), 0o700); err != nil {
		return err
	}
	if err := atomicfile.Write(l.s.attestations(id), b, 0o600, atomicfile.Durable); err != nil {
		return errdefs.Wrap(err, "store the attestations of", ident.Short(id.Hex()))
	}
	return atomicfile.SyncDir(l.s.metadataDir())
}

// Attestations returns what is said about an image; nothing if nothing is.
func (s *Store) Attestations(id oci.Digest) ([]attestation.Predicate, error) {
	f, err := os.Open(s.attestations(id))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxAttestations+1))
	if err != nil {
		return nil, err
	}
	var said []attestation.Predicate
	if len(b) > maxAttestations {
		err = errdefs.New(errdefs.Exhausted, "it is larger than %d bytes", maxAttestations)
	} else {
		err = json.Unmarshal(b, &said)
	}
	if err != nil {
		return nil, (&errdefs.Error{Kind: errdefs.Internal, Op: "read", Subject: f.Name(), Err: err}).
			WithHint("the file is damaged: remove it, or build the image again")
	}
	return said, nil
}
