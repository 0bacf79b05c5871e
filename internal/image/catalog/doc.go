// Package catalog provides the images that the host has: their names, their
// configs and which layers they are made of.
//
// An image is a config document, and its id is the SHA-256 of that document.
// The config lists the layers by diff id, the digest of a layer's tar. What a
// layer looks like also depends on all those below it, so a stack of layers is
// named by its chain id: the digest of "chain id below, blank, diff id", and for
// a base layer just its diff id (OCI image specification, "Layer ChainID").
// Names are separate: a name leads to an image id and may be moved.
//
// Everything is a plain file in the places that Docker made known:
//
//	ROOT/image/overlay2/
//	  repositories.json                          {"Repositories":{"busybox":{"busybox:latest":"sha256:..."}}}
//	  imagedb/content/sha256/<image id>          the config, byte for byte
//	  imagedb/metadata/sha256/<image id>/parent  the image that this one was committed from
//	                                   .../lastUpdated  when it was last tagged
//	                                   .../attestations.json  what its builder says of it (image/attestation)
//	                                   .../manifest.json  the manifest by which it was pulled
//	  layerdb/sha256/<chain id>/diff             diff id of the top layer of this stack
//	                        .../parent           chain id below; absent for a base layer
//	                        .../cache-id         the directory in ROOT/overlay2 with its files
//	                        .../size             their bytes
//	                        .../tar-record       how its tar was put together (storage/tarrecord)
//	                        .../blobs.json       packed forms of it, and repositories that have them
//	  distribution/                              downloads that are not complete
//
// Durability: a record is written after what it refers to, and each is synced
// before the next: layer data, layer record, image config, name. They are removed
// in the opposite order. So whatever moment the power fails in, every record
// found is complete.
//
// Locks. Two kinds of work must not meet: removing what nobody uses, and
// beginning to use it. All are advisory locks on files, which end with their
// process:
//
//   - ".lock" is held shared (Hold) from looking an image up until the new user is
//     on record: a container's creation, a tag. Those are milliseconds, and any
//     number at once. Removal holds it exclusively (Exclusive) while it decides and
//     takes names away, not while it deletes files.
//   - A pull takes minutes, too long for that. It has a Lease instead: a locked
//     file in ".leases" that lists the layers and images it counts on. They are in
//     use as long as the lock is held. Each line is added under the shared lock,
//     so a removal sees it or the pull sees that the layer is gone. A build's lease
//     also lists layers that are in the layer store and in no record (Keep): they
//     get one when an image is made of them (Adopt).
//   - ".names.lock" orders the writers of repositories.json. Readers need no lock:
//     the file is replaced as a whole.
//
// Order: ".lock" before ".names.lock".
package catalog
