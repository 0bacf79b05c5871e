package engine

import (
	"slices"
	"strings"

	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/oci"
	"berth/internal/reference"
)

// imageConflicts are reasons not to remove an image.
type imageConflicts int

const (
	conflictChildren imageConflicts = 1 << iota // another image was committed from it
	conflictRunning                             // a running container uses it
	conflictNamed                               // it has names
	conflictStopped                             // a container that does not run uses it

	// conflictHard are those that force does not overcome.
	conflictHard = conflictChildren | conflictRunning
)

// imageConflict is the reason found.
type imageConflict struct {
	id          oci.Digest
	message     string
	hard        bool
	used        bool // by a container
	hasChildren bool
	hint        string
}

// asError has Docker's words.
func (c *imageConflict) asError() error {
	force := "must be forced"
	if c.hard {
		force = "cannot be forced"
	}
	err := errdefs.New(errdefs.Conflict, "conflict: unable to delete %s (%s) - %s", ident.Short(c.id.Hex()), force, c.message)
	err.Hint = c.hint
	return err
}

// conflict returns the first of the given reasons that holds, or nil.
func (r *imageRemoval) conflict(id oci.Digest, check imageConflicts) (*imageConflict, error) {
	c := &imageConflict{id: id, hasChildren: len(r.images.children[id]) > 0}
	if check&conflictChildren != 0 && c.hasChildren {
		c.message, c.hard = "image has dependent child images", true
		return c, nil
	}
	users := r.users(id)
	for _, u := range users {
		if check&conflictRunning != 0 && u.Status.Live() {
			c.message, c.hard, c.used = "image is being used by running container "+ident.Short(u.ID), true, true
			c.hint = "berth stop " + u.Name
			return c, nil
		}
	}
	if check&conflictNamed != 0 {
		names, err := r.names(id)
		if err != nil {
			return nil, err
		}
		if len(names.all()) > 0 {
			c.message = "image is referenced in multiple repositories"
			c.hint = "name one of " + strings.Join(names.all(), ", ") + " instead of the id"
			return c, nil
		}
	}
	if check&conflictStopped != 0 && len(users) > 0 {
		c.message, c.used = "image is being used by stopped container "+ident.Short(users[0].ID), true
		c.hint = "berth rm " + users[0].Name
		return c, nil
	}
	return nil, nil
}

// imageNames are the names of one image.
type imageNames struct{ tags, digests []string }

func (n imageNames) all() []string { return append(slices.Clone(n.tags), n.digests...) }

// isSingle reports whether the names are one as users see it: at most one tag,
// and digests of that tag's repository only.
func (n imageNames) isSingle() bool {
	if len(n.tags)+len(n.digests) <= 1 {
		return true
	}
	repos := map[string]bool{}
	for _, d := range n.digests {
		repo, _, _ := strings.Cut(d, "@")
		repos[repo] = true
	}
	if len(n.tags) > 1 || len(repos) != 1 {
		return false
	}
	return len(n.tags) == 0 || repos[n.tags[0][:strings.LastIndexByte(n.tags[0], ':')]]
}

// hasOtherTag reports whether the repository has a tag besides name.
func (n imageNames) hasOtherTag(name reference.Named) bool {
	return slices.ContainsFunc(n.tags, func(t string) bool {
		return t != name.Familiar() && t[:strings.LastIndexByte(t, ':')] == name.FamiliarName()
	})
}

// digestsOf returns the names by digest in a repository.
func (n imageNames) digestsOf(repo string) []string {
	return slices.DeleteFunc(slices.Clone(n.digests), func(d string) bool { return !strings.HasPrefix(d, repo+"@") })
}
