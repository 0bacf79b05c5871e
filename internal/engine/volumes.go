package engine

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"berth/internal/container/events"
	"berth/internal/errdefs"
	"berth/internal/storage/snapshot"
	"berth/internal/storage/volume"
)

// VolumeInfo is one volume.
type VolumeInfo struct {
	Name       string            `json:"Name"`
	Driver     string            `json:"Driver"` // "local"
	Mountpoint string            `json:"Mountpoint"`
	CreatedAt  time.Time         `json:"CreatedAt"`
	Labels     map[string]string `json:"Labels"`
	Options    map[string]string `json:"Options"`
	Scope      string            `json:"Scope"` // "local"
	Anonymous  bool              `json:"-"`
	InUse      bool              `json:"-"`
}

func volumeInfo(v *volume.Volume) VolumeInfo {
	return VolumeInfo{
		Name: v.Name, Driver: "local", Mountpoint: v.Path, CreatedAt: v.CreatedAt.Local().Truncate(time.Second),
		Labels: v.Labels, Options: v.Options, Scope: "local", Anonymous: v.Anonymous,
	}
}

// Create makes a volume, or returns the existing one of that name; "" makes a random name.
func (v *Volumes) Create(_ context.Context, name string, labels, options map[string]string) (VolumeInfo, error) {
	_, err := v.e.volumes.Get(name)
	isNew := errors.Is(err, errdefs.NotFound)
	made, err := v.e.volumes.Create(name, volume.Options{Labels: labels, Driver: options, Durable: true})
	if err != nil {
		return VolumeInfo{}, err
	}
	if isNew {
		v.emit("create", made.Name)
	}
	return volumeInfo(&made), nil
}

func (v *Volumes) emit(action, name string) {
	err := v.e.events.Append(events.Event{Type: events.Volume, Action: action, ID: name, Attr: map[string]string{"driver": "local"}})
	if err != nil { // as for containers: the journal only tells what happened
		v.e.opt.Log.Warn("write an event", "action", action, "volume", name, "error", err)
	}
}

// List returns all volumes by name.
func (v *Volumes) List(_ context.Context, f Filters) ([]VolumeInfo, error) {
	selects, err := volumeFilter(f, false)
	if err != nil {
		return nil, err
	}
	all, err := v.e.volumes.List()
	if err != nil {
		return nil, err
	}
	used, err := v.usedBy()
	if err != nil {
		return nil, err
	}
	list := make([]VolumeInfo, 0, len(all))
	for i := range all {
		info := volumeInfo(&all[i])
		info.InUse = len(used[info.Name]) > 0
		if selects(&info) {
			list = append(list, info)
		}
	}
	return list, nil
}

// Inspect returns one volume.
func (v *Volumes) Inspect(_ context.Context, name string) (VolumeInfo, error) {
	got, err := v.e.volumes.Get(name)
	if err != nil {
		return VolumeInfo{}, err
	}
	used, err := v.usedBy()
	if err != nil {
		return VolumeInfo{}, err
	}
	info := volumeInfo(&got)
	info.InUse = len(used[name]) > 0
	return info, nil
}

// usedBy returns the ids of the containers that have each volume, running or not.
func (v *Volumes) usedBy() (map[string][]string, error) {
	states, err := v.e.store.States()
	if err != nil {
		return nil, err
	}
	used := map[string][]string{}
	for i := range states {
		for _, name := range states[i].MountNames { // paths are among them, and no volume's name has a slash
			used[name] = append(used[name], states[i].ID)
		}
	}
	return used, nil
}

// users is what volume.Store.RemoveUnused asks: the containers that have a volume.
func (v *Volumes) users(name string) func() ([]string, error) {
	return func() ([]string, error) {
		used, err := v.usedBy()
		return used[name], err
	}
}

// Remove deletes a volume that no container uses; force ignores a missing one.
func (v *Volumes) Remove(_ context.Context, name string, force bool) error {
	err := v.e.volumes.RemoveUnused(name, v.users(name))
	if force && errors.Is(err, errdefs.NotFound) {
		return nil
	}
	if err == nil {
		v.emit("destroy", name)
	}
	return err
}

// Prune removes anonymous unused volumes, or with all every unused one.
func (v *Volumes) Prune(ctx context.Context, all bool, f Filters) (names []string, freed int64, err error) {
	selects, err := volumeFilter(f, true)
	if err != nil {
		return nil, 0, err
	}
	for _, value := range f["all"] {
		if all, err = strconv.ParseBool(value); err != nil {
			return nil, 0, errdefs.New(errdefs.InvalidArgument, "invalid filter 'all=%s'", value)
		}
	}
	list, err := v.List(ctx, nil)
	if err != nil {
		return nil, 0, err
	}
	var errs []error
	for i := range list {
		info := &list[i]
		if ctx.Err() != nil {
			return names, freed, context.Cause(ctx)
		}
		if info.InUse || !all && !info.Anonymous || !selects(info) {
			continue
		}
		size, err := snapshot.TreeSize(info.Mountpoint)
		if err != nil {
			size = 0 // something of it vanishes meanwhile: then it is not known what is freed
		}
		switch err := v.Remove(ctx, info.Name, false); {
		case err == nil:
			names, freed = append(names, info.Name), freed+size
		case errors.Is(err, errdefs.NotFound), errors.Is(err, errdefs.Conflict): // removed or taken since
		default:
			errs = append(errs, err)
		}
	}
	return names, freed, errors.Join(append(errs, v.e.volumes.GC())...)
}

// volumeFilter returns the test for the --filter flags of ls, or of prune.
func volumeFilter(f Filters, prune bool) (func(*VolumeInfo) bool, error) {
	var patterns []*pattern
	var dangling []bool
	for key, values := range f {
		switch {
		case key == "label", prune && (key == "label!" || key == "all"):
		case !prune && key == "driver":
		case !prune && key == "name":
			for _, v := range values {
				patterns = append(patterns, compilePattern(v))
			}
		case !prune && key == "dangling":
			for _, v := range values {
				b, err := strconv.ParseBool(v)
				if err != nil {
					return nil, errdefs.New(errdefs.InvalidArgument, "invalid filter 'dangling=%s'", v)
				}
				dangling = append(dangling, b)
			}
		default:
			hint := "volumes are filtered by dangling, driver, label and name"
			if prune {
				hint = "volume prune is filtered by all, label and label!"
			}
			return nil, errdefs.New(errdefs.InvalidArgument, "invalid filter '%s'", key).WithHint("%s", hint)
		}
	}
	return func(v *VolumeInfo) bool {
		switch {
		case len(f["driver"]) > 0 && !slices.Contains(f["driver"], v.Driver),
			len(dangling) > 0 && !slices.Contains(dangling, !v.InUse),
			len(patterns) > 0 && !slices.ContainsFunc(patterns, func(p *pattern) bool { return p.find(v.Name) }),
			!hasLabels(v.Labels, f["label"]):
			return false
		}
		return !slices.ContainsFunc(f["label!"], func(l string) bool { return hasLabels(v.Labels, []string{l}) })
	}, nil
}
