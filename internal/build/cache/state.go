package cache

import (
	"strings"

	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/oci"
)

// State returns the record that a user means by an id, or a unique prefix of
// one, as `builder du` shows it. Its layer is there, and stays for as long as the
// caller holds the catalog's lock.
func (c *Cache) State(prefix string) (*Record, error) {
	if !ident.IsPrefix(prefix) {
		return nil, errdefs.New(errdefs.NotFound, "no such build state: %s", prefix)
	}
	records, err := c.records()
	if err != nil {
		return nil, err
	}
	byID := map[string]*Record{}
	var ids []string
	for _, r := range records {
		if c.current(r.Record) && r.Layer != "" && c.layers.Exists(r.Layer) {
			byID[r.Key.Hex()] = r.Record
			ids = append(ids, r.Key.Hex())
		}
	}
	mounts, err := c.mountNames()
	if err != nil {
		return nil, err
	}
	for _, name := range mounts {
		if isMountName(name) && strings.HasPrefix(name, prefix) {
			return nil, errdefs.New(errdefs.InvalidArgument, "%s is a cache mount: it has no program to run", prefix)
		}
	}
	id, err := ident.Resolve(prefix, ids, "build state")
	if err != nil {
		return nil, err
	}
	return byID[id], c.touch(byID[id].Key)
}

// Look returns the record of a key as it is, nil if there is none; it is no use of it.
func (c *Cache) Look(key oci.Digest) (*Record, error) { return c.read(key) }
