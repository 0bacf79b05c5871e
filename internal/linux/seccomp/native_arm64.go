package seccomp

import _ "embed"

// native is the architecture of this executable and its kernel.
const native = ARM64

// The default filter, compiled by go generate: for a container with
// CAP_SYS_CHROOT, and without.
var (
	//go:embed default_arm64.bpf
	precompiled string
	//go:embed default_nochroot_arm64.bpf
	precompiledNoChroot string
)
