package engine

import (
	"context"
	"slices"
	"time"
)

// HistoryRow is one row of image history, newest first.
type HistoryRow struct {
	ID        string // "<missing>" for all but the newest
	Created   time.Time
	CreatedBy string
	Size      int64
	Comment   string
	Tags      []string
}

// History returns the steps that made an image. A step has the id of an image
// only if that image is here and this one was committed from it.
func (i *Images) History(ctx context.Context, ref string) ([]HistoryRow, error) {
	img, err := i.e.images.Resolve(ref)
	if err != nil {
		return nil, err
	}
	names, err := i.e.images.Names()
	if err != nil {
		return nil, err
	}
	sizes, err := i.e.images.LayerSizes(img)
	if err != nil {
		return nil, err
	}
	var rows []HistoryRow
	for _, h := range img.Config.History {
		row := HistoryRow{ID: "<missing>", CreatedBy: h.CreatedBy, Comment: h.Comment}
		if h.Created != nil {
			row.Created = *h.Created
		}
		if !h.EmptyLayer && len(sizes) > 0 {
			row.Size, sizes = sizes[0], sizes[1:]
		}
		rows = append(rows, row)
	}
	slices.Reverse(rows)
	id := img.ID
	for n := range rows {
		rows[n].ID = id.String()
		rows[n].Tags, _ = names.Of(id)
		if id = i.e.images.Parent(id); id == "" {
			break
		}
		if _, err := i.e.images.Get(id); err != nil {
			break
		}
	}
	return rows, nil
}
