package dockerfile

import (
	"path"
	"strings"

	"berth/internal/build/ignore"
	"berth/internal/build/plan"
	"berth/internal/errdefs"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
)

// copy carries out COPY.
func (e *evaluation) copy(in *instructions.CopyCommand) error {
	op := &plan.Copy{Chown: in.Chown, Chmod: in.Chmod, Link: in.Link, Parents: in.Parents, Exclude: in.ExcludePatterns}
	for _, p := range in.SourcePaths {
		git, err := isGit(p)
		switch {
		case err != nil:
			return pointed(p, err)
		case git:
			return pointed(p, errdefs.New(errdefs.InvalidArgument, "source can't be a git ref for COPY").WithHint("use ADD"))
		case isURL(p):
			return pointed(p, errdefs.New(errdefs.InvalidArgument, "source can't be a URL for COPY").WithHint("use ADD"))
		}
	}
	if len(e.now.sources) > 0 {
		src := e.now.sources[0]
		if src.stage != nil && src.stage.out == nil {
			return pointed("--from="+in.From, e.stageOrder("copy from", src.stage))
		}
		op.From = e.from(in.From, src)
	}
	return e.transfer("COPY", op, in.SourcesAndDest)
}

// add carries out ADD.
func (e *evaluation) add(in *instructions.AddCommand) error {
	op := &plan.Copy{Chown: in.Chown, Chmod: in.Chmod, Link: in.Link, Exclude: in.ExcludePatterns, Checksum: in.Checksum, Unpack: plan.UnpackLocal}
	if in.Unpack != nil && *in.Unpack {
		op.Unpack = plan.UnpackAlways
	} else if in.Unpack != nil {
		op.Unpack = plan.UnpackNever
	}
	if err := e.remotes(op, in); err != nil {
		return err
	}
	return e.transfer("ADD", op, in.SourcesAndDest)
}

// transfer fills in what COPY and ADD have alike. ADD's remotes are in op already.
func (e *evaluation) transfer(name string, op *plan.Copy, in instructions.SourcesAndDest) error {
	if op.Link && namedOwner(op.Chown) {
		return pointed("--chown", errdefs.New(errdefs.InvalidArgument, "--chown=%s: user and group names can't be resolved when used with --link", op.Chown).
			WithHint("use numbers: --chown=uid:gid"))
	}
	if err := checkMode(op.Chmod); err != nil {
		return pointed("--chmod", err)
	}
	if _, err := ignore.New(op.Exclude); err != nil {
		return pointed("--exclude", err)
	}
	said := name
	if op.Parents {
		said += " --parents"
	}
	if op.Chown != "" {
		said += " --chown=" + op.Chown
	}
	if op.Chmod != "" {
		said += " --chmod=" + op.Chmod
	}
	for _, p := range in.SourcePaths {
		said += " " + p
		if name == "ADD" && isRemote(p) {
			continue
		}
		e.checkIgnored(name, op, p)
		op.Paths = append(op.Paths, sourcePath(p, op.Parents))
	}
	for _, doc := range in.SourceContents {
		said += " <<" + doc.Path
		op.Files = append(op.Files, plan.File{Name: doc.Path, Data: []byte(doc.Data), Mode: 0o644})
	}
	op.Dest = e.destination(in.DestPath)
	return e.step(op, said+" "+in.DestPath)
}

// sourcePath returns a source as the plan has it. A "/./" divides what is only
// the way to the files from what --parents makes anew.
func sourcePath(p string, parents bool) string {
	if parents {
		if way, rest, ok := strings.Cut(p, "/./"); ok {
			return strings.TrimSuffix(path.Join("/", way), "/") + "/." + path.Join("/", rest)
		}
	}
	return path.Join("/", p)
}

// destination returns where to: a slash or a dot at the end says that it is a directory.
func (e *evaluation) destination(p string) string {
	dest := e.inside(p)
	if last := path.Base(p); dest != "/" && (p == "" || strings.HasSuffix(p, "/") || last == ".") {
		dest += "/"
	}
	return dest
}

// checkIgnored remarks a source that .dockerignore leaves out.
func (e *evaluation) checkIgnored(name string, op *plan.Copy, p string) {
	if e.t.set.Ignored == nil || op.From != (plan.Source{}) {
		return
	}
	if rel := strings.TrimPrefix(path.Join("/", p), "/"); rel != "" && e.t.set.Ignored(rel) {
		verb := map[string]string{"ADD": "Add", "COPY": "Copy"}[name]
		e.lint.Run(&linter.RuleCopyIgnoredFile, e.now.Location(), linter.RuleCopyIgnoredFile.Format(verb, rel))
	}
}

// namedOwner reports whether --chown has a name, which only a stage with
// /etc/passwd can look up.
func namedOwner(chown string) bool {
	user, group, _ := strings.Cut(chown, ":")
	return !isNumeric(user) || !isNumeric(group)
}

// isNumeric reports whether an owner needs no look-up: root is 0 everywhere.
func isNumeric(s string) bool { return s == "root" || strings.Trim(s, "0123456789") == "" }
