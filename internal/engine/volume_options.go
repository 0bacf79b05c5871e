package engine

import (
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	"berth/internal/errdefs"
	"berth/internal/storage/volume"
)

// mountOptions makes spec mount what a volume made with `volume create -o`
// stands for, and reports whether it is such a volume: a directory of the host
// (type=none,device=/srv,o=bind) or a tmpfs. The latter is each container's own.
func mountOptions(v *volume.Volume, spec *specs.Mount) (bool, error) {
	fstype, device, options, ok := v.Mount()
	if !ok {
		return false, nil
	}
	isBind := func(o string) bool { return o == "bind" || o == "rbind" }
	rest := slices.DeleteFunc(slices.Clone(options), func(o string) bool { return isBind(o) || o == "defaults" || o == "" })
	switch {
	case slices.ContainsFunc(options, isBind):
		if !isDir(device) {
			return true, errdefs.New(errdefs.InvalidArgument, "cannot mount volume %s: %s is not a directory", v.Name, device).WithHint("mkdir -p %s", device)
		}
		spec.Source, spec.Options = device, append([]string{"rbind"}, rest...)
	case fstype == "tmpfs":
		spec.Type, spec.Source, spec.Options = "tmpfs", device, append([]string{"nosuid", "nodev"}, rest...)
	default:
		return true, errdefs.New(errdefs.Unsupported, "cannot mount volume %s: type %q is not supported", v.Name, fstype).
			WithHint("mount it on the host and make the volume with: -o type=none -o o=bind -o device=DIRECTORY")
	}
	return true, nil
}
