// Package spec provides the translation from what a user asked for (a
// container record in Docker's words) to what a runtime does (an OCI runtime
// specification), and berth's defaults on the way: which mounts every
// container has, which paths of /proc and /sys are hidden, which limits apply.
//
// Policy is data here and nowhere else: the packages below offer mechanisms
// and have no opinion. The package opens nothing on the host; facts that come
// from there (the user's ids, the volumes' directories) are given to it.
package spec
