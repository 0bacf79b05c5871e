package engine

import (
	"context"
	"errors"
	"slices"
	"strings"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/image/catalog"
	"berth/internal/oci"
	"berth/internal/reference"
)

// RemovedImage is one line of image rm: exactly one field is set.
type RemovedImage struct{ Untagged, Deleted string }

// Remove removes a name, and the image with its unshared layers when it was the
// last. The rules are Docker's:
//
//   - By name, only that name is removed while there are others. The last one
//     takes the image along, and stays if a container uses the image, unless forced.
//   - By id, the image must have at most one name and no container, unless forced.
//   - A running container, or an image committed from this one, cannot be forced.
//   - Unless noPrune, parents without a name that nothing uses go too.
func (i *Images) Remove(ctx context.Context, ref string, force, noPrune bool) ([]RemovedImage, error) {
	r, err := i.e.beginRemoval()
	if err != nil {
		return nil, err
	}
	err = r.remove(ref, force, !noPrune)
	return r.end(ctx, err)
}

// imageRemoval is a removal in progress: nobody else looks images up meanwhile.
type imageRemoval struct {
	e       *Engine
	right   *catalog.Removal
	records []RemovedImage
	freed   int64

	// Asked once: nobody adds an image or a container meanwhile. That a container
	// may go unnoticed only keeps a layer until the next removal.
	images     *shelf
	containers []container.State
	inUse      func(layer string) bool
}

func (e *Engine) beginRemoval() (*imageRemoval, error) {
	right, err := e.images.Exclusive()
	if err != nil {
		return nil, err
	}
	r := &imageRemoval{e: e, right: right}
	if r.images, err = e.shelf(); err == nil {
		r.containers, err = e.store.States()
	}
	if err == nil {
		r.inUse, err = e.layersInUse(r.containers)
	}
	if err == nil {
		err = r.spareBuildCache()
	}
	if err != nil {
		return nil, errors.Join(err, right.Close())
	}
	return r, nil
}

// users returns the containers of an image, in any state.
func (r *imageRemoval) users(id oci.Digest) []container.State {
	return slices.DeleteFunc(slices.Clone(r.containers), func(s container.State) bool { return s.ImageID != id.String() })
}

// end lets others go on and then deletes the files of what was removed.
func (r *imageRemoval) end(ctx context.Context, err error) ([]RemovedImage, error) {
	err = errors.Join(err, r.right.Close())
	_, rerr := r.e.snapshots.Reclaim(ctx)
	return r.records, errors.Join(err, rerr)
}

// remove is one `image rm REF`.
func (r *imageRemoval) remove(ref string, force, prune bool) error {
	id, err := r.e.images.Lookup(ref)
	if err != nil {
		return err
	}
	if r.right.Leased(id) {
		return errdefs.New(errdefs.Conflict, "image %s is being pulled, built or committed", ident.Short(id.Hex()))
	}
	names, err := r.names(id)
	if err != nil {
		return err
	}
	byName := !strings.HasPrefix(id.String(), ref) && !strings.HasPrefix(id.Hex(), ref)
	switch {
	case byName:
		last, err := r.removeName(id, ref, names, force)
		if err != nil || !last {
			return err
		}
	case names.isSingle():
		// With the last name gone only the image itself is left to decide on.
		check := conflictHard
		if !force {
			check |= conflictStopped
		}
		conflict, err := r.conflict(id, check)
		if err == nil && conflict != nil {
			err = conflict.asError()
		}
		if err != nil {
			return err
		}
		if err := r.untag(id, names.all()); err != nil {
			return err
		}
	}
	return r.delete(id, force, prune, byName)
}

// removeName removes one name and reports whether it was the last.
func (r *imageRemoval) removeName(id oci.Digest, ref string, names imageNames, force bool) (last bool, err error) {
	if !force && names.isSingle() {
		if users := r.users(id); len(users) > 0 {
			return false, errdefs.New(errdefs.Conflict, "conflict: unable to remove repository reference %q (must force) - container %s is using its referenced image %s",
				ref, ident.Short(users[0].ID), ident.Short(id.Hex())).WithHint("berth rm %s removes the container; berth rmi -f %s only the name", users[0].Name, ref)
		}
	}
	name, err := reference.Parse(ref)
	if err != nil {
		return false, err
	}
	if name.Digest() != "" {
		name = name.WithDigest(name.Digest())
	}
	remove := []string{name.Familiar()}
	if name.Digest() == "" && !names.hasOtherTag(name) {
		// Without a tag the digests of the repository would name it for nobody.
		remove = append(remove, names.digestsOf(name.FamiliarName())...)
	}
	if err := r.untag(id, remove); err != nil {
		return false, err
	}
	left, err := r.names(id)
	return len(left.all()) == 0, err
}

func (r *imageRemoval) names(id oci.Digest) (imageNames, error) {
	all, err := r.e.images.Names()
	if err != nil {
		return imageNames{}, err
	}
	tags, digests := all.Of(id)
	return imageNames{tags, digests}, nil
}

func (r *imageRemoval) untag(id oci.Digest, names []string) error {
	removed, err := r.e.images.Untag(id, names...)
	for _, n := range names { // in the order given, which is the order shown
		for _, have := range removed {
			if have == n {
				r.records = append(r.records, RemovedImage{Untagged: n})
				r.e.emitImage("untag", id, n)
			}
		}
	}
	return err
}

// delete removes the image itself. quiet leaves it without a word if something
// uses it: then removing the name was all that could be done.
func (r *imageRemoval) delete(id oci.Digest, force, prune, quiet bool) error {
	check := conflictHard
	if !force {
		check |= conflictNamed | conflictStopped
	}
	conflict, err := r.conflict(id, check)
	if err != nil {
		return err
	}
	names, err := r.names(id)
	if err != nil {
		return err
	}
	if conflict != nil {
		dangling := len(names.all()) == 0 && !conflict.hasChildren
		if quiet && (!dangling || conflict.used) {
			return nil
		}
		return conflict.asError()
	}
	if err := r.untag(id, names.all()); err != nil {
		return err
	}
	parent := r.e.images.Parent(id)
	layers, err := r.right.Images([]oci.Digest{id}, r.inUse)
	if err != nil {
		return err
	}
	r.images.forget(id, parent)
	r.e.emitImage("delete", id, "")
	r.records = append(r.records, RemovedImage{Deleted: id.String()})
	r.note(layers)
	if !prune || parent == "" {
		return nil
	}
	return r.delete(parent, false, true, true)
}

// note records removed layers and the bytes they give back.
func (r *imageRemoval) note(layers []catalog.Layer) {
	for _, l := range layers {
		r.records = append(r.records, RemovedImage{Deleted: l.Chain.String()})
		r.freed += l.Size
	}
}
