package engine

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/linux/rootpath"
	"berth/internal/runtime/bootstrap"
	"berth/internal/storage/volume"
)

// planMounts turns -v, --mount, --tmpfs and the image's volumes into mount
// points. Anonymous volumes get their names here and are listed in the record.
func planMounts(r *container.Record) error {
	asked := map[string]container.MountPoint{}
	add := func(m container.MountPoint) error {
		m.Destination = path.Clean(m.Destination)
		if !path.IsAbs(m.Destination) || m.Destination == "/" {
			return errdefs.New(errdefs.InvalidArgument, "invalid mount target %q: it must be an absolute path other than /", m.Destination)
		}
		if _, twice := asked[m.Destination]; twice {
			return errdefs.New(errdefs.InvalidArgument, "Duplicate mount point: %s", m.Destination)
		}
		asked[m.Destination] = m
		return nil
	}
	for _, b := range r.HostConfig.Binds {
		m, err := bindPoint(b)
		if err != nil {
			return err
		}
		if err := add(m); err != nil {
			return err
		}
	}
	for _, m := range r.HostConfig.Mounts {
		if err := add(mountPoint(m)); err != nil {
			return err
		}
	}
	for target, options := range r.HostConfig.Tmpfs {
		if err := bootstrap.CheckTmpfs(options); err != nil {
			return errdefs.Wrap(err, "use", "--tmpfs "+target+":"+options)
		}
		if err := add(container.MountPoint{Type: "tmpfs", Destination: target, Mode: options, RW: true}); err != nil {
			return err
		}
	}
	for target := range r.Config.Volumes {
		if _, taken := asked[path.Clean(target)]; !taken {
			if err := add(container.MountPoint{Type: "volume", Destination: target, RW: true}); err != nil {
				return err
			}
		}
	}
	r.Mounts = r.Mounts[:0]
	for _, m := range asked {
		if m.Type == "volume" && m.Name == "" {
			m.Name = ident.New()
			r.AnonymousVolumes = append(r.AnonymousVolumes, m.Name)
		}
		r.Mounts = append(r.Mounts, m)
	}
	sort.Slice(r.Mounts, func(i, j int) bool { return r.Mounts[i].Destination < r.Mounts[j].Destination })
	return nil
}

// bindPoint reads "src:dst[:options]", "name:dst[:options]" or "dst".
func bindPoint(s string) (container.MountPoint, error) {
	parts := strings.Split(s, ":")
	m := container.MountPoint{Type: "volume", RW: true}
	switch len(parts) {
	case 1:
		m.Destination = parts[0]
		return m, nil
	case 2:
		m.Source, m.Destination = parts[0], parts[1]
	case 3:
		m.Source, m.Destination, m.Mode = parts[0], parts[1], parts[2]
	default:
		return m, errdefs.New(errdefs.InvalidArgument, "invalid volume specification: '%s'", s)
	}
	for _, o := range strings.Split(m.Mode, ",") {
		switch o {
		case "ro":
			m.RW = false
		case "private", "rprivate", "slave", "rslave", "shared", "rshared":
			m.Propagation = o
		case "", "rw", "z", "Z", "nocopy", "cached", "delegated", "consistent":
		default:
			return m, errdefs.New(errdefs.InvalidArgument, "invalid volume specification: '%s': invalid mode: %s", s, o)
		}
	}
	if filepath.IsAbs(m.Source) {
		m.Type, m.Source = "bind", filepath.Clean(m.Source)
		if m.Propagation == "" {
			m.Propagation = "rprivate"
		}
	} else {
		m.Name, m.Source = m.Source, ""
	}
	return m, nil
}

func mountPoint(m container.Mount) container.MountPoint {
	p := container.MountPoint{Type: m.Type, Destination: m.Target, RW: !m.ReadOnly, Propagation: m.Propagation}
	switch m.Type {
	case "bind":
		p.Source = filepath.Clean(m.Source)
		if p.Propagation == "" {
			p.Propagation = "rprivate"
		}
		if !m.CreateSource {
			p.Mode = modeMustExist
		}
		if m.NonRecursive {
			p.Mode = strings.TrimPrefix(p.Mode+","+modeNonRecursive, ",")
		}
	case "volume":
		p.Name = m.Source
		if m.NoCopy {
			p.Mode = "nocopy"
		}
	case "tmpfs":
		var o []string
		if m.TmpfsSize > 0 {
			o = append(o, "size="+itoa(m.TmpfsSize))
		}
		if m.TmpfsMode != 0 {
			o = append(o, "mode="+octal(m.TmpfsMode))
		}
		p.Mode = strings.Join(o, ",")
	}
	return p
}

func octal(n uint32) string {
	if n < 8 {
		return string(rune('0' + n))
	}
	return octal(n/8) + string(rune('0'+n%8))
}

// Words in a mount point's Mode that --mount has and -v has not.
const (
	modeMustExist    = "must-exist"
	modeNonRecursive = "bind-nonrecursive"
)

// makeMounts makes what the mount points need on the host (volumes filled from
// the image, missing bind sources) and returns them for the specification.
func (e *Engine) makeMounts(ctx context.Context, r *container.Record, rootfs *os.File) ([]specs.Mount, error) {
	list := make([]specs.Mount, 0, len(r.Mounts))
	for i := range r.Mounts {
		m := &r.Mounts[i]
		spec := specs.Mount{Destination: m.Destination, Type: "bind"}
		switch m.Type {
		case "bind":
			if err := bindSource(m); err != nil {
				return nil, err
			}
			spec.Options = []string{"rbind"}
			if hasOption(m.Mode, modeNonRecursive) {
				spec.Options = []string{"bind"}
			}
		case "volume":
			spec.Options = []string{"rbind"}
			if err := e.volumeSource(ctx, r, m, rootfs, &spec); err != nil {
				return nil, err
			}
		case "tmpfs":
			spec.Type, spec.Source = "tmpfs", "tmpfs"
			spec.Options = []string{"nosuid", "nodev", "noexec"}
			if m.Mode != "" {
				spec.Options = append(spec.Options, strings.Split(m.Mode, ",")...)
			}
			list = append(list, spec)
			continue
		}
		if spec.Source == "" {
			spec.Source = m.Source
		}
		if !m.RW {
			spec.Options = append(spec.Options, "ro")
		}
		if m.Propagation != "" {
			spec.Options = append(spec.Options, m.Propagation)
		}
		list = append(list, spec)
	}
	return list, nil
}

func hasOption(mode, option string) bool {
	for _, o := range strings.Split(mode, ",") {
		if o == option {
			return true
		}
	}
	return false
}

// bindSource makes a missing directory for -v, as Docker does; --mount wants it to exist.
func bindSource(m *container.MountPoint) error {
	_, err := os.Stat(m.Source)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if hasOption(m.Mode, modeMustExist) {
		return errdefs.New(errdefs.InvalidArgument, "invalid mount config for type \"bind\": bind source path does not exist: %s", m.Source).
			WithHint("create it first, or use -v, which creates a directory")
	}
	return os.MkdirAll(m.Source, 0o755)
}

// volumeSource makes the volume, fills a new one from the image, and notes its
// directory. A volume with options of its own says in spec what it mounts instead.
func (e *Engine) volumeSource(ctx context.Context, r *container.Record, m *container.MountPoint, rootfs *os.File, spec *specs.Mount) error {
	anonymous := false
	for _, name := range r.AnonymousVolumes {
		anonymous = anonymous || name == m.Name
	}
	v, err := e.volumes.Create(m.Name, volume.Options{Anonymous: anonymous})
	if err != nil {
		return err
	}
	m.Source, m.Driver = v.Path, "local"
	if elsewhere, err := mountOptions(&v, spec); elsewhere || err != nil {
		return err
	}
	if r.IDs != nil {
		if err := e.volumes.Give(m.Name, r.IDs.UID, r.IDs.GID); err != nil {
			return err
		}
	}
	if hasOption(m.Mode, "nocopy") || rootfs == nil {
		return nil
	}
	return e.volumes.FillFrom(ctx, m.Name, rootfs, m.Destination)
}

// openRootfs opens a mounted root filesystem as the root of safe path resolution.
func openRootfs(dir string) (*os.File, error) { return rootpath.OpenRoot(dir) }
