// Package registry provides a client of image registries.
//
// A registry is an HTTP server that keeps documents and blobs under their
// digests and gives some documents a name and tag (OCI distribution
// specification). A pull asks for /v2/NAME/manifests/TAG, then for the blobs
// that the manifest names, /v2/NAME/blobs/DIGEST. A registry that wants to know
// who asks answers 401 and says where a token is to be had (the "realm").
//
// What a registry sends is untrusted, and so is where it sends us: blobs are
// usually served by another host. The rules that hold here:
//
//   - Credentials go to the registry they were stored for and to its realm, if
//     that is of the same owner by name, and nowhere else, whatever redirects,
//     realms and URLs in documents say. The transport checks it once more for
//     every request that leaves (CVE-2020-15157 and its many successors).
//   - Plain HTTP is spoken with hosts of this machine, or when the user asks for it.
//   - Bytes are compared with the digest they were asked by; documents are
//     limited to oci.MaxDocument, blobs to the size that their descriptor says.
//   - URLs inside descriptors are not followed.
//
// Several hosts may serve one registry's images (package hosts). A Repository
// is one of them, a Source all in the order of asking. Check explains what
// works with each.
//
// Tokens and the reading of Docker's credential files are oras-go's. Waiting for
// a busy registry is ours, since it must wait as long as the registry says. Only
// berthd links this package.
package registry
