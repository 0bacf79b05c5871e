package attest

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"berth/internal/build/attest/packages"
	"berth/internal/build/attest/spdx"
	"berth/internal/buildinfo"
	"berth/internal/image/attestation"
)

// SBOM lists the packages in the tree that root is the open top of; nil is an
// empty one. name is that of the image, "" if it has none.
func SBOM(ctx context.Context, root *os.File, name string, created time.Time) (attestation.Predicate, error) {
	inv := &packages.Inventory{}
	if root != nil {
		var err error
		if inv, err = packages.Read(ctx, root); err != nil {
			return attestation.Predicate{}, err
		}
	}
	d, err := spdx.New(inv, spdx.Options{Name: name, Created: created, Tool: "berth-" + buildinfo.Version})
	if err != nil {
		return attestation.Predicate{}, err
	}
	content, err := json.Marshal(d)
	return attestation.Predicate{Type: attestation.SPDX, Content: content}, err
}
