package catalog

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"berth/internal/errdefs"
	"berth/internal/image/attestation"
)

func TestAttestations(t *testing.T) {
	s := Open(t.TempDir())
	img := image(t, s, "a")
	if said, err := s.Attestations(img.ID); err != nil || said != nil {
		t.Fatalf("of an image that nothing is said about: %v, %v", said, err)
	}
	l, err := s.Lease()
	must(t, err)
	want := []attestation.Predicate{{Type: attestation.SPDX, Content: json.RawMessage(`{"spdxVersion":"SPDX-2.3"}`)}}
	must(t, l.Attest(img.ID, []attestation.Predicate{{Type: "x", Content: json.RawMessage(`1`)}}))
	must(t, l.Attest(img.ID, want))
	if said, err := s.Attestations(img.ID); err != nil || !reflect.DeepEqual(said, want) {
		t.Errorf("%+v, %v", said, err)
	}
	huge := attestation.Predicate{Content: json.RawMessage(`"` + strings.Repeat("x", maxAttestations) + `"`)}
	if err := l.Attest(img.ID, []attestation.Predicate{huge}); !errors.Is(err, errdefs.Exhausted) {
		t.Errorf("too much: %v", err)
	}
	must(t, l.Close())

	must(t, os.WriteFile(s.attestations(img.ID), []byte(`[{"pre`), 0o600))
	if _, err := s.Attestations(img.ID); !errors.Is(err, errdefs.Internal) || errdefs.HintOf(err) == "" {
		t.Errorf("a damaged file: %v", err)
	}
	_, err = remove(s, img.ID, noContainers)
	must(t, err)
	if _, err := os.Stat(s.attestations(img.ID)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it outlived its image: %v", err)
	}
}
