package build

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"berth/internal/build/ignore"
	"berth/internal/build/source"
	"berth/internal/cli/streams"
	"berth/internal/errdefs"
)

// maxText is more than build/dockerfile accepts of a Dockerfile, in bytes.
const maxText = 8 << 20

// definition is the text that says what to build.
type definition struct {
	name string // as messages show it
	text []byte
}

// definition opens the main context and reads the Dockerfile.
//
// What -f names is looked for where the user stands; only in a context that is
// no directory of this host, it is a path in the context.
func (c *contexts) definition(ctx context.Context, r *request, in io.Reader) (d definition, err error) {
	k, err := classify(r.context)
	if err != nil {
		return d, err
	}
	v := begin(c.sink, "[internal] load build definition from "+definitionName(r.file))
	defer func() {
		if err == nil {
			v.moved("transferring dockerfile:", int64(len(d.text)))
		}
		v.finish(err)
	}()
	switch {
	case k == directory:
		return c.fromDirectory(ctx, r, in)
	case k == repository:
		if c.main, err = c.checkout(ctx, r.context, source.GitOptions{}); err == nil {
			c.from = c.main.Origin
		}
	default:
		d, err = c.fromStream(ctx, r.context, k, in)
	}
	switch {
	case err != nil, d.text != nil:
		return d, err
	case r.file == "-":
		d, err = c.fromStdin(ctx, in)
	default:
		d, err = c.fromTree(r.file)
	}
	return d, err
}

func definitionName(file string) string {
	switch file {
	case "":
		return "Dockerfile"
	case "-":
		return "stdin"
	}
	return filepath.Base(file)
}

// fromDirectory reads the Dockerfile of a context that is a directory here.
func (c *contexts) fromDirectory(ctx context.Context, r *request, in io.Reader) (d definition, err error) {
	if c.main, err = c.directory(r.context); err != nil {
		return d, err
	}
	switch r.file {
	case "":
		return c.fromTree("")
	case "-":
		return c.fromStdin(ctx, in)
	}
	d = definition{name: r.file}
	if source.IsURL(r.file) {
		if d.text, err = c.fetchText(ctx, r.file); err != nil {
			return d, err
		}
		return d, c.ignore(c.main, ignore.DefaultName)
	}
	return c.fromFile(r.file)
}

// fromFile reads a Dockerfile of the host, and the rules that belong to it and
// stand beside it. Both may be of somebody else's making: as links they lead
// nowhere but into the Dockerfile's own directory.
func (c *contexts) fromFile(path string) (d definition, err error) {
	d.name = path
	beside, err := source.Dir(filepath.Dir(path))
	if err != nil {
		return d, noDockerfile(path)
	}
	defer beside.Close()
	name := filepath.Base(path)
	if d.text, err = beside.ReadFile(name, maxText); err != nil {
		if missing(err) {
			return d, noDockerfile(path)
		}
		return d, errdefs.Wrap(err, "read", "the Dockerfile "+path)
	}
	own := ignore.Names(name)[0]
	text, err := beside.ReadFile(own, maxText)
	switch {
	case missing(err):
		return d, c.ignore(c.main, ignore.DefaultName)
	case err != nil:
		return d, errdefs.Wrap(err, "read", own)
	}
	return d, rules(c.main, filepath.Join(filepath.Dir(path), own), text)
}

// missing reports whether a file is not there, or leads out of where it is looked for.
func missing(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, errdefs.NotFound)
}

// fromTree reads a Dockerfile inside the context.
func (c *contexts) fromTree(file string) (d definition, err error) {
	names := []string{file}
	if file == "" {
		names = []string{"Dockerfile", "dockerfile"}
	}
	for _, name := range names {
		d = definition{name: name}
		if d.text, err = c.main.ReadFile(name, maxText); err == nil {
			return d, c.ignore(c.main, ignore.Names(name)...)
		}
		if !missing(err) {
			return d, errdefs.Wrap(err, "read", "the Dockerfile "+name)
		}
	}
	return d, noDockerfile(names[0])
}

func noDockerfile(name string) error {
	return errdefs.New(errdefs.NotFound, "failed to read dockerfile: open %s: no such file or directory", name).
		WithHint("the context has no %s; name another file with -f", name)
}

// fromStdin reads the Dockerfile that standard input holds.
func (c *contexts) fromStdin(ctx context.Context, in io.Reader) (definition, error) {
	d := definition{name: "stdin"}
	if streams.Terminal(in) != nil {
		return d, errdefs.New(errdefs.InvalidArgument, "cannot read the Dockerfile from a terminal").WithHint("berth build -f - . < Dockerfile")
	}
	var err error
	d.text, err = io.ReadAll(io.LimitReader(streams.Interruptible(ctx, in), maxText))
	if err != nil {
		return d, errdefs.Wrap(err, "read", "the Dockerfile")
	}
	return d, c.ignore(c.main, ignore.DefaultName)
}

// fromStream reads a context that comes as one file: an archive with the
// Dockerfile inside, or a Dockerfile alone, which then is the result.
func (c *contexts) fromStream(ctx context.Context, at string, k kind, in io.Reader) (d definition, err error) {
	var f *os.File
	d.name = "Dockerfile"
	if k == standardInput {
		if streams.Terminal(in) != nil {
			return d, errdefs.New(errdefs.InvalidArgument, "cannot read the build context from a terminal").
				WithHint("berth build - < Dockerfile, or tar -c . | berth build -")
		}
		f, err = c.spool(ctx, in)
	} else {
		f, d.name, err = c.download(ctx, at, k)
	}
	if err != nil {
		return d, err
	}
	if k == address {
		c.from = &c.origins()[0] // the first that was fetched
	}
	defer f.Close()
	if isArchive(f) {
		c.main, err = c.unpack(ctx, f)
		return d, err
	}
	if k == archiveFile {
		return d, errdefs.New(errdefs.InvalidArgument, "unable to prepare context: %s is neither a directory nor an archive", at).
			WithHint("berth build -f %s %s", at, filepath.Dir(at))
	}
	d.text, err = io.ReadAll(io.LimitReader(f, maxText))
	if d.text == nil {
		d.text = []byte{}
	}
	return d, err
}

// fetchText gets a Dockerfile from an address.
func (c *contexts) fetchText(ctx context.Context, at string) ([]byte, error) {
	f, _, err := c.download(ctx, at, address)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxText))
}

func itoa(n int) string { return strconv.Itoa(n) }
