package probe

import "strconv"

// Feature is one row of `berth info`.
type Feature struct {
	Name   string
	Since  string // the kernel that brought it
	Yes    bool
	Detail string // more about a yes
	// Instead says what berth does without it.
	Instead string
}

// String returns "yes" or what is done instead.
func (f Feature) String() string {
	switch {
	case !f.Yes:
		return "no: " + f.Instead
	case f.Detail != "":
		return "yes (" + f.Detail + ")"
	}
	return "yes"
}

// required marks what nothing replaces.
const required = "berth cannot start containers"

// Features asks every question.
func (k *Kernel) Features() []Feature {
	abi := k.Landlock()
	return []Feature{
		{Name: "mount API", Since: "5.2", Yes: k.MountAPI() && k.OpenTree(), Instead: required},
		{Name: "openat2", Since: "5.6", Yes: k.Openat2(), Instead: required},
		{Name: "clone3", Since: "5.3", Yes: k.Clone3(), Instead: required},
		{Name: "mount_setattr", Since: "5.12", Yes: k.MountSetattr(), Instead: required},
		{Name: "close_range", Since: "5.9", Yes: k.CloseRange(), Instead: required},
		{Name: "clone into cgroup", Since: "5.7", Yes: k.CloneIntoCgroup(), Instead: "the child writes itself into its cgroup"},
		{Name: "pidfd", Since: "5.3", Yes: k.Pidfd(), Instead: required},
		{Name: "overlay", Since: "3.18", Yes: k.Overlay(), Instead: "images cannot be used, only --rootfs"},
		{Name: "overlay layers by descriptor", Since: "6.5", Yes: k.OverlayContext(), Instead: "one option string, at most a page long"},
		{Name: "overlay volatile", Since: "5.10", Yes: k.OverlayVolatile(), Instead: "containers sync when they end"},
		{Name: "overlay userxattr", Since: "5.11", Yes: k.OverlayUserXattr(), Instead: "rootless containers have no overlay"},
		{Name: "id-mapped mounts", Since: "5.12", Yes: k.IDMappedMounts(), Instead: "no --userns"},
		{Name: "user namespaces", Since: "3.8", Yes: k.UserNamespace(), Instead: "no --userns, no rootless containers"},
		{Name: "time namespaces", Since: "6.2", Yes: k.TimeNamespaceAtExec(), Instead: "containers see the host's uptime"},
		{Name: "cgroup.kill", Since: "5.14", Yes: k.CgroupKill(), Instead: "a group is frozen and killed process by process"},
		{Name: "seccomp filters", Since: "4.14", Yes: k.Seccomp(), Instead: "containers can be run with --security-opt seccomp=unconfined only"},
		{Name: "landlock", Since: "5.13", Yes: abi > 0, Detail: "ABI " + strconv.Itoa(abi), Instead: "unpacking is confined by openat2 alone"},
		{Name: "AppArmor", Since: "2.6.36", Yes: k.AppArmor(), Instead: "containers have no profile"},
		{Name: "SELinux", Since: "2.6", Yes: k.SELinux(), Instead: "containers have no label"},
		{Name: "CAP_SYS_RESOURCE", Since: "2.2", Yes: k.SysResource(), Instead: "a container's limits end at this process's own hard limits"},
	}
}
