// Package packing packs the tars of layers for their way.
//
// A registry and an OCI layout know a layer by the digest of its packed form, so
// the digest must be there before the first byte is sent: a layer is packed into
// a file without a name, which the kernel deletes with the process. The same tar
// gives the same bytes every time, however many processors pack it; so a layer
// that was sent once is found again by its digest.
package packing
