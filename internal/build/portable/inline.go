package portable

import (
	"cmp"
	"encoding/json"
	"slices"

	"berth/internal/errdefs"
	"berth/internal/image/catalog"
	"berth/internal/oci"
)

// Inline is the cache of an image as its own config holds it, in the field
// "berth.build.cache.v1": the layers are the image's, so a step says only how many
// of them it stands on.
type Inline struct {
	Version int          `json:"version"`
	Base    int          `json:"base"` // layers of the base image
	Steps   []InlineStep `json:"steps"`
	Reads   []Reading    `json:"reads,omitempty"`
}

// InlineStep is a Step: Layers counts those above the base, -1: a hollow step's.
type InlineStep struct {
	Key    oci.Digest `json:"key"`
	Layers int        `json:"layers"`
}

// NewInline returns the empty cache of an image that stands on a base of so many layers.
func NewInline(base int) *Inline { return &Inline{Version: version, Base: base, Steps: []InlineStep{}} }

// Sort orders the parts, so that equal builds write equal images. Of steps that
// stand on as many layers the one that was made first stays first.
func (i *Inline) Sort() {
	slices.SortStableFunc(i.Steps, func(a, b InlineStep) int {
		if c := cmp.Compare(a.Layers, b.Layers); c != 0 || a.Layers >= 0 {
			return c
		}
		return cmp.Compare(a.Key, b.Key)
	})
	i.Reads = sorted(i.Reads)
}

// Config is an image's config with the cache of the image in it.
type Config struct {
	oci.ImageConfig
	Inline *Inline `json:"berth.build.cache.v1,omitempty"`
}

// ParseInline reads the cache inside the config of an image; nil if it has none.
// The layers have no blobs: who knows the image's manifest fills them in.
func ParseInline(config []byte) (*Document, error) {
	var holder Config
	if err := json.Unmarshal(config, &holder); err != nil {
		return nil, errdefs.New(errdefs.InvalidArgument, "its cache is malformed: %w", err)
	}
	in := holder.Inline
	if in == nil {
		return nil, nil
	}
	c, err := oci.ParseConfig(config)
	if err != nil {
		return nil, err
	}
	if in.Version != version {
		return nil, errdefs.New(errdefs.Unsupported, "its cache is of version %d, and this berth reads %d", in.Version, version)
	}
	chains := catalog.ChainIDs(c.RootFS.DiffIDs)
	if in.Base < 0 || in.Base > len(chains) {
		return nil, errdefs.New(errdefs.InvalidArgument, "its cache stands on %d layers of %d", in.Base, len(chains))
	}
	chain := func(n int) oci.Digest {
		if n == 0 {
			return ""
		}
		return chains[n-1]
	}
	d := &Document{Version: version, Reads: in.Reads}
	makers := map[int]oci.Digest{}
	for _, s := range in.Steps {
		if s.Layers < -1 || s.Layers > len(chains)-in.Base {
			return nil, errdefs.New(errdefs.InvalidArgument, "a step of its cache stands on %d layers of %d", s.Layers, len(chains)-in.Base)
		}
		if s.Layers == -1 {
			d.Steps = append(d.Steps, Step{Key: s.Key, Hollow: true})
			continue
		}
		d.Steps = append(d.Steps, Step{Key: s.Key, Chain: chain(in.Base + s.Layers)})
		if _, ok := makers[s.Layers]; !ok {
			makers[s.Layers] = s.Key
		}
	}
	times := layerHistory(c)
	for n := 1; n <= len(chains)-in.Base; n++ {
		key, ok := makers[n]
		if !ok {
			break // what lies above no step can lead to
		}
		i := in.Base + n - 1
		l := Layer{Chain: chains[i], Below: chain(i), DiffID: c.RootFS.DiffIDs[i], Key: key}
		if i < len(times) && times[i].Created != nil {
			l.Created, l.Text = *times[i].Created, times[i].CreatedBy
		}
		if l.Created.IsZero() && c.Created != nil {
			l.Created = *c.Created
		}
		d.Layers = append(d.Layers, l)
	}
	raw, err := d.Encode()
	if err != nil {
		return nil, err
	}
	return Parse(raw) // the one place that says what is right
}

// layerHistory returns the lines of the history that have layers.
func layerHistory(c *oci.ImageConfig) (lines []oci.History) {
	for _, h := range c.History {
		if !h.EmptyLayer {
			lines = append(lines, h)
		}
	}
	return lines
}
