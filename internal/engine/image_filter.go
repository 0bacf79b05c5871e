package engine

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/internal/errdefs"
	"berth/internal/image/catalog"
	"berth/internal/units"
)

// imageFilter selects images for ls and prune.
type imageFilter struct {
	dangling  *bool     // only images without (true) or with (false) a tag
	patterns  []string  // of names; any may match
	labels    []string  // "key" or "key=value"; all must match
	notLabels []string  // none may match
	after     time.Time // created after; zero: any
	before    time.Time
}

// newFilter reads the --filter flags of ls and its reference argument.
func (s *shelf) newFilter(e *Engine, ref string, f Filters) (*imageFilter, error) {
	filter := &imageFilter{}
	if ref != "" {
		filter.patterns = append(filter.patterns, ref)
	}
	for key, values := range f {
		for _, v := range values {
			if err := filter.add(e, key, v); err != nil {
				return nil, err
			}
		}
	}
	for _, p := range filter.patterns {
		if _, err := path.Match(p, ""); err != nil {
			return nil, errdefs.New(errdefs.InvalidArgument, "invalid reference pattern %q", p)
		}
	}
	return filter, nil
}

func (f *imageFilter) add(e *Engine, key, value string) error {
	switch key {
	case "dangling":
		b, err := parseFilterBool(value)
		if err != nil {
			return err
		}
		f.dangling = &b
	case "label":
		f.labels = append(f.labels, value)
	case "label!":
		f.notLabels = append(f.notLabels, value)
	case "reference":
		f.patterns = append(f.patterns, value)
	case "before", "since":
		img, err := e.images.Resolve(value)
		if err != nil {
			return err
		}
		if key == "before" {
			f.before = earlier(f.before, img.Created())
		} else if c := img.Created(); c.After(f.after) {
			f.after = c
		}
	case "until":
		t, err := units.ParseTime(value, time.Now())
		if err != nil {
			return err
		}
		f.before = earlier(f.before, t)
	default:
		return errdefs.New(errdefs.InvalidArgument, "invalid filter '%s'", key).
			WithHint("images are filtered by dangling, label, before, since, reference and until")
	}
	return nil
}

func parseFilterBool(value string) (bool, error) {
	b, err := strconv.ParseBool(value)
	if err != nil {
		return false, errdefs.New(errdefs.InvalidArgument, "invalid filter 'dangling=[%s]'", value).WithHint("say dangling=true or dangling=false")
	}
	return b, nil
}

// earlier returns the earlier of two times, of which the zero one means none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// apply returns the row of an image, with the names that match, if it is selected.
func (f *imageFilter) apply(s *shelf, e catalog.Entry, all bool) (ImageSummary, bool) {
	if !f.selects(e) {
		return ImageSummary{}, false
	}
	row := summarize(e)
	if len(f.patterns) > 0 {
		row.RepoTags, row.RepoDigests = f.matching(row.RepoTags, ":"), f.matching(row.RepoDigests, "@")
	}
	onlyDangling := f.dangling != nil && *f.dangling
	hasChildren := len(s.children[e.ID]) > 0
	switch {
	case onlyDangling && (hasChildren || len(row.RepoTags) > 0):
		return row, false
	case len(row.RepoTags)+len(row.RepoDigests) > 0:
		return row, true
	case len(f.patterns) > 0, f.dangling != nil && !onlyDangling:
		return row, false
	}
	return row, all || !hasChildren
}

// selects applies the filters that look at the image alone.
func (f *imageFilter) selects(e catalog.Entry) bool {
	created := e.Created()
	if !f.before.IsZero() && !created.Before(f.before) || !f.after.IsZero() && !created.After(f.after) {
		return false
	}
	has := func(label string) bool {
		key, value, exact := strings.Cut(label, "=")
		v, ok := e.Config.Config.Labels[key]
		return ok && (!exact || v == value)
	}
	for _, l := range f.labels {
		if !has(l) {
			return false
		}
	}
	return !slices.ContainsFunc(f.notLabels, has)
}

// matching returns the names that match a pattern, as a whole or by their repository.
func (f *imageFilter) matching(names []string, separator string) []string {
	var out []string
	for _, name := range names {
		repo := name[:strings.LastIndex(name, separator)]
		for _, p := range f.patterns {
			whole, _ := path.Match(p, name)
			if part, _ := path.Match(p, repo); whole || part {
				out = append(out, name)
				break
			}
		}
	}
	return out
}
