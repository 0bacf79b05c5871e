// Package archive turns layers from tar streams into directories and back.
//
// An image layer is a tar stream that holds what one step changed: new and
// changed files whole, and for each deleted name X an empty file ".wh.X" (a
// whiteout). A directory whose earlier content is to vanish holds
// ".wh..wh..opq" (it is opaque). On disk berth keeps layers as the directories
// of an overlay mount, and overlay has its own words for both: a character
// device 0/0 of the name X, and the attribute trusted.overlay.opaque=y.
//
//	Apply    stream -> directory      pull, load, import, cp into a container
//	Diff     directory -> stream      commit, push
//	Pack     any tree -> stream       cp out of a container, export
//	Changes  directory -> C/A/D list  diff
//
// A stream comes from anywhere, and the tree it is unpacked into may be one
// that a running container changes at the same time. Both are handled by the
// same rules: every path is resolved by the kernel inside the given root
// (linux/rootpath), the last element of a path is never followed, attributes
// are set through descriptors, and everything that a stream can ask for is
// counted against Limits.
//
// Nothing here is synced; SyncFS does that once for a whole layer.
package archive
