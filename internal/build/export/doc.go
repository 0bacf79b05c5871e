// Package export turns the result of a build into what the user asked for.
//
//	Image    an image of the store, with names
//	Push     an image in registries
//	Archive  the image as one tar: an OCI layout, or what docker load reads
//	Layout   the image as an OCI layout in a directory
//	Local    the files, into a directory
//	Tar      the files, as one tar
//
// An image is a config document and a list of layers. The config names each
// layer by its diff id, the digest of its unpacked tar, and the image's id is
// the digest of the config. Until somebody asks for an image no step needs a
// diff id; it is computed here, for all layers at once, and remembered in the
// build cache.
//
// The store's image and the build's layers are the same directories: making an
// image writes some small records and syncs once. An archive is made by reading
// each layer once; what is compressed waits in files without a name, which the
// kernel deletes with the process.
//
// What is said about a result (Attest) goes along: beside the image of the store,
// into the index of an archive, as more files among files.
//
// Equal inputs give equal bytes. The times in the config are those of
// SOURCE_DATE_EPOCH if it was given, or the times when the layers were first
// made; with Rewrite the files in the layers bear none that is later.
package export
