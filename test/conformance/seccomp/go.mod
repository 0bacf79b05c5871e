module berth/test/conformance/seccomp

go 1.26.8

replace berth => ../../..

require (
	berth v0.0.0-00010101000000-000000000000
	github.com/moby/profiles/seccomp v0.3.0
	github.com/opencontainers/runtime-spec v1.3.0
	github.com/seccomp/libseccomp-golang v0.11.1
	golang.org/x/sys v0.49.0
)
