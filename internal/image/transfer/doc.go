// Package transfer brings images in: from registries (Pull), from archives and
// directories (Load), and from the tar of a root file system (Import). And it
// brings them out: to registries (Push) and into archives (Save).
//
// An image arrives as packed layers. Each is unpacked once, while it arrives,
// into the directory where it will stay; the packed form is not kept:
//
//	download -> SHA-256 (the digest) -> gunzip -> SHA-256 (the diff id) -> unpack
//
// Layers do not depend on each other while they are unpacked, so several are at
// work at once. They are committed in order, since a layer's record names the
// stack it lies on (its chain id). Nothing has a name before its digests were
// compared and its data synced; what a killed process leaves has no name, and
// the next pull or a garbage collection removes it.
//
// Two processes that pull the same image share the work: the image and each
// stack of layers have a lock file, and who gets it second finds there what it
// wanted. Images are locked before layers, and a chain id depends on all layers
// below it, so waiting follows the order of stacks and cannot go in circles.
//
// A large blob comes in ranges, several at once and in order. A download that
// ends before its blob does leaves the packed bytes so far in
// distribution/partial, and the next pull goes on from there in every range.
//
// Out goes the tar of each layer as it came (image/layertar). An archive has it as
// it is; for a registry it is packed again, unless the registry has it: where
// packed forms of a layer are is noted with each pull and push, so an unchanged
// image is pushed without packing anything, by the manifest it came by.
//
// What arrives is untrusted: documents are read by oci's strict parsers,
// digests are compared before anything is built on them, unpacking is
// storage/archive's, and every length has a limit. Only berthd links this package.
package transfer
