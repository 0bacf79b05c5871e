// Package snapshot provides the layers of containers on disk: read-only ones
// that images are made of, and one writable one for each container.
//
// A layer is a directory with the files that one step changed. An overlay mount
// (linux/overlay) stacks them: a container sees the image's layers with its own
// writable directory on top. The tree can be read with ls and cat; its shape is
// the one that Docker's overlay2 driver made known:
//
//	ROOT/overlay2/
//	  <id>/diff        the layer's files
//	  <id>/link        a 26-character name, unique in the store
//	  <id>/lower       the layers below, topmost first: "l/<26>:l/<26>:..."; absent in a base layer
//	  <id>/work        overlay's own scratch directory
//	  <id>/merged      writable layers: where the container's root appears while it runs
//	  <id>/committed   image layers: empty; nobody writes to diff any more
//	  <top>-init/      one for each topmost image layer; see below
//	  l/<26> -> ../<id>/diff
//
// The life of an image layer: Begin makes a Draft under a temporary name, the
// caller unpacks into Draft.Dir, Commit syncs the files to disk and only then
// gives the layer its name. A draft that was given up, or whose process died,
// never becomes a layer; GC removes it.
//
// A draft can also be written through an overlay on its parents (Draft.Mount):
// that is how a program makes a layer. Such layers are many and can be made
// again, so CommitUnsynced leaves them to the kernel's own time, until Sync.
//
// The life of a writable layer: Prepare, Mount, Unmount (the last two any number
// of times), Remove. Nothing of it is synced: it is as durable as the container's
// own writes, and what a power cut can take from it Mount makes again.
//
// Between a container's writable layer and its image lies the init layer, with
// an empty file or directory wherever the engine will mount something
// (/etc/hosts, /proc, ...), so that the mounting itself never shows up as a
// change that the container made. Docker makes one for every container; here
// all containers of an image share it, which saves some thirty system calls in
// each run. It can always be made again and so is never synced either.
//
// Removing is two steps: Remove renames the layer away, which is instant and
// needs no free space; Reclaim deletes what was renamed, whenever there is time.
//
// Which layers belong to which image is not known here: image/catalog keeps
// that. GC and the removal of image layers need the caller to make sure that
// nobody is about to use them: see catalog.Store.Exclusive.
package snapshot
