package engine

import (
	"maps"
	"slices"
	"strings"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/oci"
)

// mergeImage fills what the user left open from the image, by Docker's rules:
// the user's environment and labels are added over the image's, a user's
// entrypoint also discards the image's command.
func mergeImage(c *container.Config, image *oci.RunConfig) {
	if c.User == "" {
		c.User = image.User
	}
	if c.WorkingDir == "" {
		c.WorkingDir = image.WorkingDir
	}
	if c.StopSignal == "" {
		c.StopSignal = image.StopSignal
	}
	c.Env = mergeEnv(image.Env, c.Env)
	c.Labels = mergeMap(image.Labels, c.Labels)
	c.ExposedPorts = mergeMap(image.ExposedPorts, c.ExposedPorts)
	c.Volumes = mergeMap(image.Volumes, c.Volumes)
	if c.Entrypoint == nil {
		if len(c.Cmd) == 0 {
			c.Cmd = image.Cmd
		}
		c.Entrypoint = image.Entrypoint
	}
	if len(c.Entrypoint) == 1 && c.Entrypoint[0] == "" { // --entrypoint "": none
		c.Entrypoint = nil
	}
}

func mergeMap[V any](image, user map[string]V) map[string]V {
	if len(image) == 0 {
		return user
	}
	m := maps.Clone(image)
	maps.Copy(m, user)
	return m
}

// mergeEnv replaces variables of the image in place and appends the others. A
// user's entry without "=" removes the variable.
func mergeEnv(image, user []string) []string {
	env := slices.Clone(image)
	for _, e := range user {
		name, _, hasValue := strings.Cut(e, "=")
		i := slices.IndexFunc(env, func(have string) bool { return strings.HasPrefix(have, name+"=") })
		switch {
		case !hasValue && i >= 0:
			env = slices.Delete(env, i, i+1)
		case !hasValue:
		case i >= 0:
			env[i] = e
		default:
			env = append(env, e)
		}
	}
	return env
}

// command returns argv of PID 1.
func command(c *container.Config) (path string, args []string, err error) {
	argv := slices.Concat(c.Entrypoint, c.Cmd)
	if len(argv) == 0 || argv[0] == "" {
		return "", nil, errdefs.New(errdefs.InvalidArgument, "no command specified").
			WithHint("the image names none: give one after the image's name")
	}
	return argv[0], argv[1:], nil
}

// withDefaults fills what neither user nor image says.
func withDefaults(r *container.Record) {
	c, h := &r.Config, &r.HostConfig
	if c.Hostname == "" && h.UTSMode != "host" && h.NetworkMode != "host" && !strings.HasPrefix(h.NetworkMode, "container:") {
		c.Hostname = ident.Short(r.ID)
	}
	for p, fallback := range map[*string]string{&h.NetworkMode: "bridge", &h.IpcMode: "private", &h.CgroupnsMode: "private", &h.LogConfig.Type: "json-file", &h.RestartPolicy.Name: "no", &h.Runtime: "berth"} {
		if *p == "" {
			*p = fallback
		}
	}
	if h.NetworkMode == "default" {
		h.NetworkMode = "bridge"
	}
	if h.ShmSize == 0 {
		h.ShmSize = defaultShmSize
	}
	if h.LogConfig.Config == nil {
		h.LogConfig.Config = map[string]string{}
	}
}

const defaultShmSize = 64 << 20
