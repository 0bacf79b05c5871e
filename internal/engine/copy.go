package engine

import (
	"context"
	"errors"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
	"berth/internal/storage/archive"
)

// PathStat is what cp needs to know of a path inside a container.
type PathStat struct {
	Name       string
	IsDir      bool
	LinkTarget string // "" if it is no symbolic link
	Size       int64
}

// StatPath describes a path in a container for cp: kind and link target;
// NotFound if it is absent. The path itself is not followed if it is a link.
func (c *Containers) StatPath(ctx context.Context, ref, p string) (PathStat, error) {
	var st PathStat
	err := c.withRoot(ctx, ref, false, func(root *os.File, _ *container.Record) (err error) {
		st, err = statPath(root, p)
		return notInContainer(err, ref, p)
	})
	return st, err
}

func statPath(root *os.File, p string) (PathStat, error) {
	st, err := rootpath.Lstat(root, p)
	if err != nil {
		return PathStat{}, err
	}
	out := PathStat{Name: path.Base(path.Join("/", p)), IsDir: st.Mode&unix.S_IFMT == unix.S_IFDIR, Size: st.Size}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		out.LinkTarget, err = rootpath.ReadLink(root, p)
	}
	return out, err
}

// CopyFrom writes a tar of a path in the container to w. Its first entry is the
// path's last element, "." for the root and for a path that ends in "/.".
// followLink resolves the path itself if it is a symbolic link.
func (c *Containers) CopyFrom(ctx context.Context, ref, p string, followLink bool, w io.Writer) error {
	return c.withRoot(ctx, ref, false, func(root *os.File, rec *container.Record) error {
		_, err := archive.Pack(ctx, w, root, p, archive.PackOptions{Name: topName(p), FollowTop: followLink, Precise: true, MapOwner: ownersInside(rec)})
		return notInContainer(err, ref, p)
	})
}

// topName is the name that a path's tar begins with.
func topName(p string) string {
	if _, base := rootpath.SplitLast(p); base != "" && base != ".." {
		return base
	}
	return "."
}

// CopyTo unpacks a tar into the directory p of the container, which must exist.
// Files belong to whom the tar says; with archive and a container that has a
// user of its own, to that user, as Docker does with its -a.
func (c *Containers) CopyTo(ctx context.Context, ref, p string, toUser bool, r io.Reader) error {
	return c.withRoot(ctx, ref, true, func(root *os.File, rec *container.Record) error {
		st, err := rootpath.Stat(root, p)
		if err != nil {
			return notInContainer(err, ref, p)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return errdefs.New(errdefs.InvalidArgument, "extraction point is not a directory: %s", p)
		}
		o := archive.ApplyOptions{Base: p, Plain: true, KeepKinds: true, MapOwner: ownersOutside(rec)}
		if toUser && rec.Config.User != "" {
			user, err := lookUpUser(root, rec.Config.User, nil)
			if err != nil {
				return err
			}
			o.MapOwner = func(uint32, uint32) (uint32, uint32, error) {
				if rec.IDs != nil {
					return rec.IDs.Host(user.UID, user.GID)
				}
				return user.UID, user.GID, nil
			}
		}
		_, err = archive.Apply(ctx, root, r, o)
		if errors.Is(err, unix.EROFS) {
			return readOnly(rec, err)
		}
		return err
	})
}

// ownersInside translates the owners of files as the host sees them to the
// container's, which are what an archive tells; nil: they are the same.
func ownersInside(rec *container.Record) func(uid, gid uint32) (uint32, uint32, error) {
	if rec.IDs == nil {
		return nil
	}
	return func(uid, gid uint32) (uint32, uint32, error) {
		uid, gid = rec.IDs.Inside(uid, gid)
		return uid, gid, nil
	}
}

// ownersOutside is the way back.
func ownersOutside(rec *container.Record) func(uid, gid uint32) (uint32, uint32, error) {
	if rec.IDs == nil {
		return nil
	}
	return rec.IDs.Host
}

// readOnly says why nothing can be written.
func readOnly(rec *container.Record, err error) error {
	if rec.HostConfig.ReadonlyRootfs {
		return &errdefs.Error{Kind: errdefs.Forbidden, Op: "write", Subject: "a container whose rootfs is marked read-only", Err: err}
	}
	return &errdefs.Error{Kind: errdefs.Forbidden, Op: "write", Subject: "a mount that is marked read-only", Err: err}
}

// notInContainer gives a missing path Docker's words.
func notInContainer(err error, ref, p string) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return &errdefs.Error{Kind: errdefs.NotFound, Err: errdefs.New(errdefs.NotFound, "Could not find the file %s in container %s", p, ref)}
	}
	return err
}
