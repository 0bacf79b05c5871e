package dockerfile

import (
	"context"
	"strings"
	"sync"

	"berth/internal/build/plan"
	"berth/internal/errdefs"
	"berth/internal/oci"
	"berth/internal/reference"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// outside is what does not come from this Dockerfile: an image, a context of
// the user's, or no files at all. Equal ones are the same pointer, so that each
// is asked for once.
type outside struct {
	key   outsideKey
	want  oci.Platform
	image *plan.Image // set when it has been resolved
}

// outsideKey tells what to ask for. image is "" for a context of files, and
// both are "" for scratch.
type outsideKey struct{ image, context, platform string }

// ready reports whether nothing has to be asked.
func (o *outside) ready() bool { return o.image != nil || o.key.image == "" }

// source returns o as the plan has it.
func (o *outside) source() plan.Source {
	switch {
	case o.image != nil:
		return plan.Source{Image: o.image}
	case o.key.context != "":
		return plan.Source{Context: o.key.context}
	}
	return plan.Source{Scratch: true}
}

// outsideNamed returns what name means where no stage has that name.
func (t *translation) outsideNamed(name string, want oci.Platform) (*outside, error) {
	if name == scratch {
		return t.outside(outsideKey{}, want), nil
	}
	if o, ok := t.contextNamed(name, want); ok {
		return o, nil
	}
	if _, err := reference.Parse(name); err != nil {
		e := errdefs.New(errdefs.InvalidArgument, "%q is no stage above and no image's name: %w", name, err)
		if n := nearest(strings.ToLower(name), append(t.stageNames(), scratch)); n != "" {
			return nil, e.WithHint("did you mean %s?", n)
		}
		if _, ok := t.byName[strings.ToLower(name)]; ok {
			return nil, e.WithHint("write the stage's name in small letters: %s", strings.ToLower(name))
		}
		return nil, e.WithHint("an image's name is [registry/]name[:tag], in small letters")
	}
	return t.outside(outsideKey{image: name}, want), nil
}

func (t *translation) outside(k outsideKey, want oci.Platform) *outside {
	k.platform = want.String() + " " + want.OSVersion
	o, ok := t.outsides[k]
	if !ok {
		o = &outside{key: k, want: want}
		t.outsides[k] = o
	}
	return o
}

// contextNamed returns the context that the user gave under a name. Image names
// may be written in several ways, so the whole names are compared.
func (t *translation) contextNamed(name string, want oci.Platform) (*outside, bool) {
	if name == "" || strings.EqualFold(name, scratch) || strings.EqualFold(name, "context") {
		return nil, false
	}
	given := func(key string) (*outside, bool) {
		if image := t.set.Contexts[key].Image; image != "" {
			return t.outside(outsideKey{image: image}, want), true
		}
		return t.outside(outsideKey{context: key}, want), true
	}
	if _, ok := t.set.Contexts[name]; ok {
		return given(name)
	}
	whole, err := reference.Parse(name)
	if err != nil {
		return nil, false
	}
	for _, key := range sortedKeys(t.set.Contexts) {
		if k, err := reference.Parse(key); err == nil && k == whole {
			return given(key)
		}
	}
	return nil, false
}

// need is one thing to resolve, and the first place that asks for it.
type need struct {
	*outside
	where []parser.Range
	word  string
}

// missing lists what the needed stages want and what has not been asked for, in the order of
// the file.
func (t *translation) missing(needed map[*stage]bool) (list []need) {
	seen := map[*outside]bool{}
	add := func(o *outside, where []parser.Range, word string) {
		if o != nil && !o.ready() && !seen[o] {
			seen[o] = true
			list = append(list, need{o, where, word})
		}
	}
	for _, s := range t.stages {
		if !needed[s] {
			continue
		}
		add(s.from.outside, s.Location, s.BaseName)
		for _, c := range s.commands {
			for _, src := range c.sources {
				if src != nil {
					add(src.outside, c.Location(), "")
				}
			}
		}
	}
	return list
}

// ask resolves what is missing, at the same time. Of several errors the first
// in the order of the file counts, so that the message is the same each time.
func (t *translation) ask(ctx context.Context, list []need) error {
	const atOnce = 8
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(list))
	slots := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i, n := range list {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if errs[i] = ctx.Err(); errs[i] != nil {
				return
			}
			n.image, errs[i] = t.set.Resolve(ctx, n.key.image, n.want)
			if errs[i] == nil && n.image == nil {
				errs[i] = errdefs.New(errdefs.NotFound, "image %s", n.key.image)
			}
			if errs[i] != nil {
				cancel()
			}
		})
	}
	all.Wait()
	var first error
	for i, err := range errs {
		if err == nil {
			continue
		}
		located := t.file.at(pointed(list[i].word, t.explain(err, list[i].key.image)), list[i].where)
		if errdefs.KindOf(err) != errdefs.Cancelled && !isCancel(err) {
			return located
		}
		if first == nil {
			first = located
		}
	}
	return first
}

// explain adds to an image that is not there that a stage may have been meant.
func (t *translation) explain(err error, name string) error {
	if errdefs.KindOf(err) != errdefs.NotFound && errdefs.KindOf(err) != errdefs.Unauthorized {
		return err
	}
	if n := nearest(name, t.stageNames()); n != "" {
		return errdefs.New(errdefs.KindOf(err), "%w", err).WithHint("did you mean the stage %s?", n)
	}
	return err
}
