package dockerfile

import (
	"fmt"
	"slices"
	"strings"

	"berth/internal/build/plan"
	"berth/internal/oci"
)

// describe writes a plan down, what is default left out, so that a test can
// show it and a reader can check it.
func describe(p *plan.Plan) string {
	var b strings.Builder
	for _, s := range p.Stages {
		fmt.Fprintf(&b, "stage %d %s on %s: %s\n", s.Index, s.Name, s.Platform, baseText(s.Base))
		for _, st := range s.Steps {
			fmt.Fprintf(&b, "%3d %s\n", st.Line, st.Text)
			if st.Op != nil {
				fmt.Fprintf(&b, "    %s\n", opText(st.Op))
			}
			if said := strings.TrimSuffix(st.History.CreatedBy, " # buildkit"); said != st.Text {
				fmt.Fprintf(&b, "    history: %s\n", strings.ReplaceAll(said, "\n", `\n`))
			}
		}
		fmt.Fprintf(&b, "    %s\n", configText(s.Config))
	}
	for _, w := range p.Warnings {
		fmt.Fprintf(&b, "warning %d %s: %s\n", w.Line, w.Rule, w.Detail)
	}
	if len(p.UnusedArgs) > 0 {
		fmt.Fprintf(&b, "unused: %s\n", strings.Join(p.UnusedArgs, " "))
	}
	if p.Epoch != nil {
		fmt.Fprintf(&b, "epoch: %d\n", p.Epoch.Unix())
	}
	return b.String()
}

// fields writes "name=value" for every value that is not empty.
func fields(head string, pairs ...any) string {
	for i := 0; i < len(pairs); i += 2 {
		if v := fmt.Sprint(pairs[i+1]); v != "" && v != "[]" && v != "false" && v != "0" && v != "map[]" {
			head += fmt.Sprintf(" %v=%s", pairs[i], strings.ReplaceAll(v, "\n", `\n`))
		}
	}
	return head
}

func baseText(b plan.Base) string {
	switch {
	case b.Image != nil:
		return "image " + b.Image.Name
	case b.Stage != nil:
		return "stage " + b.Stage.Name
	case b.Context != "":
		return "context " + b.Context
	}
	return "scratch"
}

func sourceText(s plan.Source) string {
	switch {
	case s.Image != nil:
		return "image " + s.Image.Name
	case s.Stage != nil:
		return "stage " + s.Stage.Name
	case s.Context != "":
		return "context " + s.Context
	case s.Scratch:
		return "scratch"
	}
	return ""
}

func filesText(files []plan.File) (list []string) {
	for _, f := range files {
		list = append(list, fmt.Sprintf("%s:%o:%q", f.Name, f.Mode, f.Data))
	}
	return list
}

func opText(op plan.Op) string {
	switch op := op.(type) {
	case *plan.MakeDir:
		return fields("mkdir "+op.Path, "user", op.User, "created", timeText(op.Created != nil))
	case *plan.Copy:
		unpack := [...]string{"never", "", "always"}[op.Unpack]
		return fields("copy", "from", sourceText(op.From), "paths", op.Paths, "files", filesText(op.Files), "remote", op.Remote, "dest", op.Dest,
			"chown", op.Chown, "chmod", op.Chmod, "link", op.Link, "parents", op.Parents, "exclude", op.Exclude,
			"unpack", unpack, "checksum", op.Checksum, "keepgit", op.KeepGitDir)
	case *plan.Run:
		text := fields(fmt.Sprintf("run %q", op.Args), "files", filesText(op.Files), "dir", strings.TrimPrefix(op.Dir, "/"), "user", op.User,
			"net", strings.TrimPrefix(op.Network, "default"), "host", op.Hostname, "insecure", op.Insecure, "proxy", op.Proxy, "env", withoutPath(op.Env))
		for _, m := range op.Mounts {
			text += "\n    " + fields("  "+string(m.Type), "target", m.Target, "from", sourceText(m.From), "path", strings.TrimPrefix(m.Path, "/"), "ro", m.ReadOnly,
				"id", m.ID, "sharing", m.Sharing, "required", m.Required, "env", m.Env, "mode", fmt.Sprintf("%o", m.Mode), "uid", m.UID, "gid", m.GID, "size", m.Size)
		}
		return text
	}
	return fmt.Sprintf("%T", op)
}

func timeText(set bool) string {
	if set {
		return "epoch"
	}
	return ""
}

func withoutPath(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(v string) bool { return strings.HasPrefix(v, "PATH=") })
}

func configText(c oci.ImageConfig) string {
	r := c.Config
	text := fields("config:", "platform", oci.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant}, "author", c.Author, "user", r.User,
		"dir", r.WorkingDir, "ports", sortedKeys(r.ExposedPorts), "volumes", sortedKeys(r.Volumes), "labels", r.Labels,
		"signal", r.StopSignal, "onbuild", r.OnBuild, "shell", r.Shell, "env", withoutPath(r.Env))
	if r.Entrypoint != nil {
		text += fmt.Sprintf(" entrypoint=%q", r.Entrypoint)
	}
	if r.Cmd != nil {
		text += fmt.Sprintf(" cmd=%q", r.Cmd)
	}
	if r.Healthcheck != nil {
		text += fmt.Sprintf(" healthcheck=%+v", *r.Healthcheck)
	}
	return text
}
