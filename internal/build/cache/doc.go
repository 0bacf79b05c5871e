// Package cache provides the memory of builds: which layer a step made.
//
// A step is named by its key, a digest of everything that its result can depend
// on (see Key). For each key there is one small file that names the layer with
// the result; the layer itself is an ordinary one of storage/snapshot:
//
//	ROOT/build/
//	  cache/<key>          a Record; its modification time is when it was last used
//	  locks/<key>          locked while somebody makes what the key names
//	  mounts/<name>/       RUN --mount=type=cache: data, and what du tells of it
//	  mounts/<name>.lock   locked while a RUN uses it
//	  digests/<key>        digests of files of a layer, which never change
//	  collected            when garbage was last collected
//
// Three rules make a record safe to believe:
//
//   - It names the layer that its own lies on, and is a hit only for who stands
//     on that: a layer that was made anew takes those above it with it.
//   - Nothing of a build is synced before it becomes part of an image. So a record
//     carries the id of the boot in which it was written, and counts only until
//     the machine is started again; Synced takes that condition away.
//   - A record that cannot be read, or whose layer is gone, is a miss and removed.
//
// Locks are flocks: a killed builder leaves nothing locked. Layers are committed
// and recorded under the catalog's shared lock and then kept by the build's lease,
// and collected under the exclusive one, so that a layer is either named, or
// leased, or garbage. The garbage collector of images must ask Layers what the
// cache stands on.
//
// The size has one hard limit: Enforce removes what was used longest ago until
// the bytes that the cache alone holds are within it. Layers that an image has
// too cost nothing to keep and are not counted; what a running build stands on
// is not removed.
package cache
