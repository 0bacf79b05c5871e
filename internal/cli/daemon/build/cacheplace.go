package build

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"

	"berth/internal/build/export"
	"berth/internal/build/portable"
	"berth/internal/build/solve"
	"berth/internal/errdefs"
	"berth/internal/image/catalog"
	"berth/internal/image/packing"
	"berth/internal/oci"
	"berth/internal/reference"
)

// cachePlace is a --cache-from or --cache-to: where builds elsewhere keep what
// they made, or look for it.
type cachePlace struct {
	kind        string // "local", "registry", "inline"
	dir, tag    string // of a local one
	ref         reference.Named
	all         bool // mode=max
	ignoreError bool
	insecure    bool
	packing     packing.Options
}

// parseCacheFrom reads "type=local,src=DIR[,tag=NAME]", "type=registry,ref=NAME"
// or the short form "NAME".
func parseCacheFrom(s string) (cachePlace, error) { return parseCachePlace(s, "src") }

// parseCacheTo reads "type=local,dest=DIR[,tag=NAME][,mode=min|max]",
// "type=registry,ref=NAME[,mode=min|max]", "type=inline" or the short form "NAME".
func parseCacheTo(s string) (cachePlace, error) { return parseCachePlace(s, "dest") }

// parseCachePlace reads either; where is the key that names a directory.
func parseCachePlace(s, where string) (cachePlace, error) {
	p := cachePlace{tag: "latest"}
	fields, err := parseFields(s)
	if err != nil {
		return p, err
	}
	if len(fields) == 1 && !fields[0].ok {
		fields = []field{{"type", "registry", true}, {"ref", s, true}}
	}
	for _, f := range fields {
		if !f.ok {
			return p, fmt.Errorf("%q must be a key=value pair", f.key)
		}
		if err := p.set(f, where); err != nil {
			return p, err
		}
	}
	return p, p.check(where)
}

func (p *cachePlace) set(f field, where string) (err error) {
	writing := where == "dest"
	switch {
	case f.key == "type":
		p.kind = f.value
	case f.key == where:
		p.dir = f.value
	case f.key == "tag":
		p.tag = f.value
	case f.key == "ref":
		p.ref, err = reference.Parse(f.value)
	case f.key == "registry.insecure":
		p.insecure, err = strconv.ParseBool(f.value)
	case f.key == "mode" && writing:
		if f.value != "min" && f.value != "max" {
			return fmt.Errorf("mode is min or max, not %q", f.value)
		}
		p.all = f.value == "max"
	case f.key == "ignore-error" && writing:
		p.ignoreError, err = strconv.ParseBool(f.value)
	case f.key == "compression" && writing:
		p.packing.Compression, err = packing.ParseCompression(f.value)
	case f.key == "compression-level" && writing:
		p.packing.Level, err = strconv.Atoi(f.value)
	case f.key == "digest" && !writing, f.key == "oci-mediatypes" && writing, f.key == "image-manifest" && writing, f.key == "force-compression" && writing: // BuildKit's, of its own form
	default:
		return fmt.Errorf("unknown field %q", f.key)
	}
	if err != nil {
		return fmt.Errorf("%s=%s: %w", f.key, f.value, err)
	}
	return nil
}

func (p *cachePlace) check(where string) error {
	writing := where == "dest"
	switch {
	case p.kind == "local" && p.dir == "":
		return fmt.Errorf("%s is required for a local cache", where)
	case p.kind == "registry" && p.ref == (reference.Named{}):
		return fmt.Errorf("ref is required for a cache in a registry")
	case p.kind == "registry" && writing && p.ref.Digest() != "":
		return fmt.Errorf("a cache is written to a tag, not to a digest")
	case p.kind == "inline" && !writing:
		return errdefs.New(errdefs.InvalidArgument, "a cache inside an image is read by the image's name").WithHint("--cache-from NAME")
	case p.kind == "local", p.kind == "registry", p.kind == "inline":
		return nil
	case p.kind == "":
		return fmt.Errorf("type is required: local, registry or inline")
	}
	return errdefs.New(errdefs.Unsupported, "unsupported cache type=%s", p.kind).WithHint("there are local, registry and inline; a CI can keep the directory of type=local")
}

// String names the place, in BuildKit's words.
func (p *cachePlace) String() string {
	if p.kind == "local" {
		return "local:" + p.dir
	}
	return "registry:" + p.ref.Familiar()
}

// open returns the place, to be read only or written to as well.
func (b *build) open(ctx context.Context, p *cachePlace, write bool) (place portable.Place, tag string, err error) {
	if p.kind == "local" {
		dir, err := filepath.Abs(p.dir)
		return portable.NewDirectory(dir), p.tag, err
	}
	r, err := b.Repository(ctx, p.ref, RepositoryOptions{Write: write, Insecure: p.insecure})
	tag = p.ref.Tag()
	if d := p.ref.Digest(); d != "" {
		tag = string(d)
	}
	return r, tag, err
}

// imports loads the caches of --cache-from. One that cannot be had is a remark:
// the build takes longer without it.
func (b *build) imports(ctx context.Context) *portable.Imports {
	all := &portable.Imports{Warn: b.warn}
	for i := range b.cacheFrom {
		p := &b.cacheFrom[i]
		v := begin(b.sink, "importing cache manifest from "+p.String())
		for _, platform := range b.platformsOf() {
			if platform.Architecture == "" {
				platform = oci.HostPlatform()
			}
			c, err := b.load(ctx, p, platform)
			if err != nil && ctx.Err() == nil {
				b.warn(fmt.Sprintf("--cache-from %s is not used: %v", p, err))
				break
			}
			if err == nil {
				all.Add(c)
			}
		}
		v.finish(nil)
	}
	return all
}

// load reads one cache. An image that is here is asked before a registry.
func (b *build) load(ctx context.Context, p *cachePlace, platform oci.Platform) (*portable.Import, error) {
	if p.kind == "registry" {
		if img, err := catalog.Open(b.Env.DataRoot).Resolve(p.ref.Familiar()); err == nil {
			doc, err := portable.ParseInline(img.Raw)
			if err != nil || doc != nil {
				return portable.NewImport(p.String(), doc, nil), err
			}
		}
	}
	place, tag, err := b.open(ctx, p, false)
	if err != nil {
		return nil, err
	}
	return portable.Load(ctx, place, p.String(), tag, platform)
}

// wants reports whether some --cache-to is such.
func (r *request) wants(is func(*cachePlace) bool) bool {
	for i := range r.cacheTo {
		if is(&r.cacheTo[i]) {
			return true
		}
	}
	return false
}

func isInline(p *cachePlace) bool { return p.kind == "inline" }
func isWhole(p *cachePlace) bool  { return p.all && p.kind != "inline" }

// writeCache writes the caches of --cache-to, but for the one inside the image.
func (b *build) writeCache(ctx context.Context, results []*solve.Result) error {
	for i := range b.cacheTo {
		p := &b.cacheTo[i]
		if isInline(p) {
			continue
		}
		err := b.writeOne(ctx, p, results)
		switch {
		case err != nil && p.ignoreError && ctx.Err() == nil:
			b.warn(fmt.Sprintf("--cache-to %s failed: %v", p, err))
		case err != nil:
			return errdefs.Wrap(err, "write", "the cache "+p.String())
		}
	}
	return nil
}

func (b *build) writeOne(ctx context.Context, p *cachePlace, results []*solve.Result) error {
	place, tag, err := b.open(ctx, p, true)
	if err != nil {
		return err
	}
	return export.Cache(ctx, results, export.CacheOptions{
		DataRoot: b.Env.DataRoot, Name: p.String(), Place: place, Tag: tag, All: p.all, Packing: p.packing, Events: b.sink,
	})
}
