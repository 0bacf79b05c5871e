package dockerfile

import (
	"fmt"
	"path"

	"berth/internal/build/plan"
	"berth/internal/errdefs"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// mounts carries out RUN --mount.
func (e *evaluation) mounts(op *plan.Run, in *instructions.RunCommand) error {
	sockets := 0
	for i, m := range instructions.GetMounts(in) {
		var out plan.Mount
		var err error
		switch m.Type {
		case instructions.MountTypeSecret:
			out, err = e.secret(m)
		case instructions.MountTypeSSH:
			out, err = e.agent(m, sockets)
			if sockets++; sockets == 1 && err == nil {
				if _, ok := e.vars.Get("SSH_AUTH_SOCK"); !ok {
					op.Env = append(op.Env, "SSH_AUTH_SOCK="+out.Target)
				}
			}
		default:
			out, err = e.mount(m, e.now.sources[i])
		}
		if err != nil {
			return err
		}
		op.Mounts = append(op.Mounts, out)
	}
	return nil
}

// mount reads a bind, cache or tmpfs mount.
func (e *evaluation) mount(m *instructions.Mount, src *source) (plan.Mount, error) {
	out := plan.Mount{Type: plan.MountType(m.Type), Target: e.inside(m.Target), ReadOnly: m.ReadOnly}
	if src != nil && src.stage != nil && src.stage.out == nil {
		return out, pointed("from="+m.From, e.stageOrder("mount from", src.stage))
	}
	if out.Target == "/" {
		return out, pointed("--mount", errdefs.New(errdefs.InvalidArgument, "invalid mount target %q", out.Target).
			WithHint("say where: target=/path"))
	}
	switch m.Type {
	case instructions.MountTypeTmpfs:
		out.Size = m.SizeLimit
		return out, nil
	case instructions.MountTypeCache:
		e.cache(&out, m)
		if src == nil {
			out.From.Scratch = true
		}
	}
	if src != nil {
		out.From = e.from(m.From, src)
	}
	out.Path = path.Join("/", m.Source)
	return out, nil
}

// cache fills in what only a cache has. One that begins as a copy of files
// keeps their owner and mode unless the text says otherwise.
func (e *evaluation) cache(out *plan.Mount, m *instructions.Mount) {
	if out.ID = m.CacheID; out.ID == "" {
		out.ID = path.Clean(m.Target)
	}
	if ns := e.t.set.BuildArgs["BUILDKIT_CACHE_MOUNT_NS"]; ns != "" {
		out.ID = ns + "/" + out.ID
	}
	if out.Sharing = string(m.CacheSharing); out.Sharing == "" {
		out.Sharing = string(instructions.MountSharingShared)
	}
	if m.From == "" || m.From == scratch || m.UID != nil || m.GID != nil || m.Mode != nil {
		owner(out, m, 0o755)
	}
}

// secret reads a secret mount: a file, a variable, or both.
func (e *evaluation) secret(m *instructions.Mount) (plan.Mount, error) {
	out := plan.Mount{Type: plan.MountSecret, ID: m.CacheID, Required: m.Required, ReadOnly: true}
	if m.Source != "" {
		out.ID = m.Source
	}
	if out.ID == "" {
		if m.Target == "" {
			return out, errdefs.New(errdefs.InvalidArgument, "one of source, target required").WithHint("write --mount=type=secret,id=NAME")
		}
		out.ID = path.Base(m.Target)
	}
	if m.Env != nil {
		if out.Env = *m.Env; out.Env == "" {
			return out, pointed("env=", errdefs.New(errdefs.InvalidArgument, "secret %s: env is empty", out.ID).WithHint("name the variable: env=NAME"))
		}
	}
	switch {
	case m.Target != "":
		out.Target = e.inside(m.Target)
	case m.Env == nil:
		out.Target = "/run/secrets/" + path.Base(out.ID)
	}
	owner(&out, m, 0o400)
	return out, nil
}

// agent reads an ssh mount: the socket of the user's key agent. n counts those
// of the instruction.
func (e *evaluation) agent(m *instructions.Mount, n int) (plan.Mount, error) {
	out := plan.Mount{Type: plan.MountSSH, ID: m.CacheID, Required: m.Required, ReadOnly: true}
	if m.Source != "" {
		return out, errdefs.New(errdefs.InvalidArgument, "ssh does not support source").WithHint("name the agent by id=NAME")
	}
	if out.ID == "" {
		out.ID = "default"
	}
	out.Target = fmt.Sprintf("/run/buildkit/ssh_agent.%d", n)
	if m.Target != "" {
		out.Target = e.inside(m.Target)
	}
	owner(&out, m, 0o600)
	return out, nil
}

// owner fills in mode and owner.
func owner(out *plan.Mount, m *instructions.Mount, mode uint32) {
	out.Mode = mode
	if m.Mode != nil {
		out.Mode = uint32(*m.Mode)
	}
	if m.UID != nil {
		out.UID = uint32(*m.UID)
	}
	if m.GID != nil {
		out.GID = uint32(*m.GID)
	}
}

// inside returns a path of the stage: relative ones are below the working directory.
func (e *evaluation) inside(p string) string { return join(e.config.Config.WorkingDir, p) }

// from returns what name stands for as the plan has it.
func (e *evaluation) from(name string, src *source) plan.Source {
	if src.stage != nil {
		return plan.Source{Stage: src.stage.out}
	}
	e.t.checkPlatform(name, src.outside, e.now.Location(), e.lint)
	return src.outside.source()
}
