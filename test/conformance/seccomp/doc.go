// Package seccomp compares berth's filters with those of libseccomp, the library
// that all other engines use.
//
// It is a module of its own because it needs cgo and libseccomp's headers
// (Debian: libseccomp-dev), which nothing else in berth does. Both compile the
// same profile; both filters are then asked about every call number, on every
// architecture, with every argument at which a rule may change its mind. Where
// they differ, difference says why, or the test fails.
package seccomp
