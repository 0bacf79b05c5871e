package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"berth/internal/cli/command"
	"berth/internal/cli/streams"
	"berth/internal/engine"
	"berth/internal/errdefs"
	"berth/internal/storage/archive"
)

type cpOptions struct {
	archive, followLink, quiet bool
}

// NewCp is `berth cp`.
func NewCp(env *command.Env) *cobra.Command {
	var o cpOptions
	cmd := &cobra.Command{
		Use:     "cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|- | SRC_PATH|- CONTAINER:DEST_PATH",
		Short:   "Copy files between a container and the host; - is a tar on standard input or output",
		Example: "berth cp web:/etc/nginx .\nberth cp site.conf web:/etc/nginx/conf.d/\nberth cp web:/var/log - | tar t",
		Args:    command.Exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := command.Interruptible(cmd.Context())
			defer cancel()
			return cp(ctx, env, &o, args[0], args[1])
		},
	}
	fs := cmd.Flags()
	fs.BoolVarP(&o.archive, "archive", "a", false, "Keep owners and groups")
	fs.BoolVarP(&o.followLink, "follow-link", "L", false, "Copy what SRC_PATH points to if it is a symbolic link")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "Accepted for compatibility; cp prints nothing")
	return cmd
}

// splitCopyArg splits "container:path". A path of the host that has a colon is
// told apart by beginning with "/" or ".".
func splitCopyArg(arg string) (ref, p string) {
	if filepath.IsAbs(arg) || strings.HasPrefix(arg, ".") {
		return "", arg
	}
	ref, p, ok := strings.Cut(arg, ":")
	if !ok {
		return "", arg
	}
	return ref, p
}

func cp(ctx context.Context, env *command.Env, o *cpOptions, from, to string) error {
	srcRef, src := splitCopyArg(from)
	dstRef, dst := splitCopyArg(to)
	switch {
	case srcRef != "" && dstRef != "":
		return errdefs.New(errdefs.Unsupported, "copying between containers is not supported").
			WithHint("berth cp %s - | berth cp - %s", from, to)
	case srcRef == "" && dstRef == "":
		return errdefs.New(errdefs.InvalidArgument, "must specify at least one container source").
			WithHint("a path in a container is written CONTAINER:PATH")
	}
	e, err := env.Open(ctx)
	if err != nil {
		return err
	}
	c := copier{env, e.Containers, o}
	if srcRef != "" {
		return c.download(ctx, srcRef, src, dst)
	}
	return c.upload(ctx, src, dstRef, dst)
}

// copier copies in one of the two directions.
type copier struct {
	env        *command.Env
	containers *engine.Containers
	o          *cpOptions
}

// inContainer makes a path of a container absolute and keeps a trailing "/" or
// "/.", which mean something to cp.
func inContainer(p string) string {
	clean := path.Join("/", p)
	switch {
	case clean == "/":
		return clean
	case strings.HasSuffix(p, "/."):
		return clean + "/."
	case strings.HasSuffix(p, "/"):
		return clean + "/"
	}
	return clean
}

func (c *copier) download(ctx context.Context, ref, src, dst string) error {
	src = inContainer(src)
	end, err := c.statEnd(ctx, ref, src, c.o.followLink)
	if err != nil {
		return err
	}
	if !end.exists {
		return errdefs.New(errdefs.NotFound, "could not find the file %s in container %s", src, ref)
	}
	inside := path.Clean(end.path)
	if dst == "-" {
		if streams.Terminal(c.env.Out) != nil {
			return errdefs.New(errdefs.InvalidArgument, "refusing to write a tar to the terminal").WithHint("redirect the output, as in '> files.tar'")
		}
		return c.containers.CopyFrom(ctx, ref, inside, false, c.env.Out)
	}
	plan, err := planCopy(copyEnd{path: src, exists: true, isDir: end.isDir}, statHost(dst))
	if err != nil {
		return err
	}
	return pipe(
		func(w io.Writer) error { return c.containers.CopyFrom(ctx, ref, inside, false, w) },
		func(r io.Reader) error { return c.unpack(ctx, plan, path.Base(inside), r) },
	)
}

// unpack writes a tar whose entries begin with base to the host as the plan says.
func (c *copier) unpack(ctx context.Context, plan copyPlan, base string, r io.Reader) error {
	dir, err := os.Open(plan.dir)
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // it was only read
	o := archive.ApplyOptions{Plain: true, KeepKinds: true}
	if !c.o.archive {
		uid, gid := uint32(os.Getuid()), uint32(os.Getgid())
		o.MapOwner = func(uint32, uint32) (uint32, uint32, error) { return uid, gid, nil }
	}
	return pipe(
		func(w io.Writer) error { return archive.Rename(r, w, base, plan.name) },
		func(r io.Reader) error { _, err := archive.Apply(ctx, dir, r, o); return err },
	)
}

func (c *copier) upload(ctx context.Context, src, ref, dst string) error {
	dst = inContainer(dst)
	end, err := c.statEnd(ctx, ref, dst, true)
	if err != nil {
		return err
	}
	if src == "-" {
		if !end.exists || !end.isDir {
			return errdefs.New(errdefs.InvalidArgument, "destination \"%s:%s\" must be a directory", ref, dst)
		}
		return c.containers.CopyTo(ctx, ref, path.Clean(end.path), c.o.archive, c.env.In)
	}
	host := src
	if c.o.followLink {
		if host, err = filepath.EvalSymlinks(src); err != nil {
			return err
		}
	}
	fi, err := os.Lstat(filepath.Clean(host))
	if err != nil {
		return err
	}
	abs, err := filepath.Abs(src)
	if err != nil {
		return err
	}
	plan, err := planCopy(copyEnd{path: abs + trailing(src), exists: true, isDir: fi.IsDir()}, end)
	if err != nil {
		return err
	}
	return pipe(
		func(w io.Writer) error { return packHost(ctx, host, plan.name, w) },
		func(r io.Reader) error { return c.containers.CopyTo(ctx, ref, plan.dir, c.o.archive, r) },
	)
}

// packHost writes the file or tree at p to w as a tar whose first entry is name;
// "." gives the content of a directory without the directory.
func packHost(ctx context.Context, p, name string, w io.Writer) error {
	abs, err := filepath.Abs(p)
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(abs))
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // it was only read
	last := filepath.Base(abs)
	if abs == "/" {
		last = "."
	}
	if name == "." {
		name = ""
	}
	_, err = archive.Pack(ctx, w, dir, last, archive.PackOptions{Name: name, Precise: true})
	return err
}

// trailing returns what path.Clean would take away and cp must see.
func trailing(p string) string {
	switch {
	case p == ".", strings.HasSuffix(p, "/."):
		return "/."
	case strings.HasSuffix(p, "/"):
		return "/"
	}
	return ""
}

// maxLinks is the kernel's own bound of symbolic links in a row (path_resolution(7)).
const maxLinks = 40

// statEnd looks at a path in a container; with follow it goes on to where links lead.
func (c *copier) statEnd(ctx context.Context, ref, p string, follow bool) (copyEnd, error) {
	for range maxLinks {
		st, err := c.containers.StatPath(ctx, ref, path.Clean(p))
		if errors.Is(err, errdefs.NotFound) {
			// Either the path or the container is missing: the container's own error tells more.
			if _, cerr := c.containers.Inspect(ctx, ref, false); cerr != nil {
				return copyEnd{}, cerr
			}
			return copyEnd{path: p}, nil
		}
		if err != nil {
			return copyEnd{}, err
		}
		if st.LinkTarget == "" || !follow {
			return copyEnd{path: p, exists: true, isDir: st.IsDir}, nil
		}
		target := st.LinkTarget
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(path.Clean(p)), target)
		}
		p = target + trailing(p)
	}
	return copyEnd{}, errdefs.New(errdefs.InvalidArgument, "too many links at %s in container %s", p, ref)
}

func statHost(p string) copyEnd {
	fi, err := os.Stat(p)
	return copyEnd{path: p, exists: err == nil, isDir: err == nil && fi.IsDir()}
}

// pipe runs write and read on the two ends of a pipe and returns the first
// error that is not only the echo of the other's.
func pipe(write func(io.Writer) error, read func(io.Reader) error) error {
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := write(w)
		w.CloseWithError(err) //nolint:errcheck // always nil
		done <- err
	}()
	readErr := read(r)
	if readErr == nil {
		_, readErr = io.Copy(io.Discard, r) // padding behind the end of the tar
	}
	r.CloseWithError(errReaderGone) //nolint:errcheck // always nil
	writeErr := <-done
	if writeErr != nil && !errors.Is(writeErr, errReaderGone) {
		return writeErr
	}
	return readErr
}

var errReaderGone = fmt.Errorf("the other side stopped reading")
