// Package hosts says which hosts serve the images of a registry, in what order,
// and how each is spoken to.
//
// A registry's name stands in an image's: docker.io, ghcr.io, registry:5000. A
// mirror is another host that has the same images: a cache in the same rack, or
// a copy where the registry itself cannot be reached. Since documents and layers
// are named by their digests, a mirror cannot change them unnoticed; what a tag
// leads to is the mirror's word, so a host must have the right to resolve.
//
// Three kinds of settings are read, and all go together:
//
//   - The plain one, BERTH_MIRRORS or the file /etc/berth/mirrors. Each line is
//     a prefix of image names and what stands in its place elsewhere, in the
//     order of trying; the longest prefix counts:
//
//     docker.io          = mirror.gcr.io http://cache:5000
//     docker.io/library  = https://harbor.example/hub/library
//
//   - containerd's directories: CERTS.D/HOST[:PORT]/hosts.toml, or _default.
//
//   - Docker's: CERTS.D/HOST[:PORT]/ with *.crt of authorities that are trusted
//     for this host, and *.cert with *.key to prove who we are.
//
// CERTS.D is each of /etc/berth/certs.d, /etc/containerd/certs.d and
// /etc/docker/certs.d, or those in BERTH_CERTS_D, separated by colons. After all
// mirrors comes the registry itself. Nothing here goes over the network.
package hosts
