// Package portable provides the build cache in the form in which it travels: to
// another machine, as a directory, in a registry, or inside an image.
//
// A key (cache.Key) is the same on every machine, for it is made of what a step
// reads: the chain id of the base image, arguments, digests of content. What it
// leads to at home is the id of a layer's directory, which means nothing
// elsewhere. There it is a chain id, the name of a stack of layers by their
// content, and each layer is a packed tar under its digest.
//
// What travels is an OCI manifest. Its config is a Document, its layers are the
// layers, so that everything that can keep an image can keep a cache:
//
//	Document
//	  steps    key -> chain id of the files after it; or only that it was made
//	  layers   chain id -> the layer on top of another chain id, and its blob
//	  reads    what a step read of another stage -> the digest of that
//
// With mode=min only the layers of the result travel. Of the other stages it is
// known that they were made, and what the result read of them: so a build in
// which nothing changed does not need their files, and one that does makes them.
//
// BuildKit has a format of its own (application/vnd.buildkit.cacheconfig.v0). It
// names steps by the digests of its protocol, which berth does not speak, so
// neither could find its steps in the other's cache.
//
// Nothing of what comes from elsewhere is believed: chain ids are computed anew,
// blobs are compared with their digests and the tars inside with theirs. That a
// step made just these files nobody can check, here as in every shared cache:
// who may write to a cache is trusted with what is built from it.
package portable
