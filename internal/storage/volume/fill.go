package volume

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"berth/internal/atomicfile"
	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
	"berth/internal/storage/archive"
)

// FillFrom gives a new, empty volume what the image has at the mount point: the
// content of the directory path inside rootfs, with its owner and mode. It does
// so once in a volume's life, however many containers start with it at the same
// time; a volume that has files, or once was filled, is left as it is. If the
// image has an empty directory there, only owner and mode are taken over; if it
// has none, nothing happens.
//
// A crash at any instant leaves the volume empty or whole:
//
//  1. copy into _fill.tmp            a crash here: started again by the next call
//  2. sync, rename to _fill          from here on the copy is complete
//  3. move its entries into _data    a crash here: gone on with by Create and FillFrom
//  4. remove _fill, write Filled
//
// The entries move because _data itself must stay the same directory: another
// container may have it mounted already.
func (s *Store) FillFrom(ctx context.Context, name string, rootfs *os.File, path string) error {
	v, err := s.Get(name)
	if err != nil || v.Filled || v.elsewhere() {
		return err
	}
	lock, err := s.lock(name)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if v, err = s.Get(name); err != nil || v.Filled {
		return err
	}
	d, err := openDirs(&v)
	if err != nil {
		return err
	}
	defer d.close()
	return errdefs.Wrap(s.fill(ctx, &v, d, rootfs, path), "fill", "volume "+name+" from the image's "+path)
}

// Give makes a new, empty volume the property of a user and a group of the host:
// the root of a container with a user namespace. A volume that has files, or
// belongs to somebody already, is left as it is.
func (s *Store) Give(name string, uid, gid uint32) error {
	v, err := s.Get(name)
	if err != nil || v.Filled || v.elsewhere() {
		return err
	}
	lock, err := s.lock(name)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	d, err := openDirs(&v)
	if err != nil {
		return err
	}
	defer d.close()
	var st unix.Stat_t
	if err := unix.Fstat(d.data, &st); err != nil {
		return &os.PathError{Op: "fstat", Path: v.Path, Err: err}
	}
	empty, err := isEmpty(d.data)
	if err != nil || !empty || st.Uid != 0 || st.Gid != 0 {
		return err
	}
	if err := unix.Fchown(d.data, int(uid), int(gid)); err != nil {
		return &os.PathError{Op: "fchown", Path: v.Path, Err: err}
	}
	return nil
}

// fillDir holds a complete copy, fillTmpDir one in the making.
const (
	fillDir    = "_fill"
	fillTmpDir = "_fill.tmp"
)

// dirs are a volume's directories, open.
type dirs struct{ volume, data int }

func openDirs(v *Volume) (dirs, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC
	dir := filepath.Dir(v.Path)
	volume, err := unix.Open(dir, flags, 0)
	if err != nil {
		return dirs{}, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	data, err := unix.Openat(volume, dataDir, flags|unix.O_NOFOLLOW, 0)
	if err != nil {
		unix.Close(volume)
		return dirs{}, &os.PathError{Op: "open", Path: v.Path, Err: err}
	}
	return dirs{volume, data}, nil
}

func (d dirs) close() {
	unix.Close(d.volume)
	unix.Close(d.data)
}

// fill does the work of FillFrom. Preconditions: the volume is locked and not filled.
func (s *Store) fill(ctx context.Context, v *Volume, d dirs, rootfs *os.File, path string) error {
	if has(d.volume, fillDir) {
		return s.finish(v, d)
	}
	if empty, err := isEmpty(d.data); err != nil || !empty {
		return err
	}
	src, err := rootpath.Open(rootfs, path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil // the image has no directory there
	}
	if err != nil {
		return err
	}
	defer src.Close()
	if empty, err := isEmpty(int(src.Fd())); err != nil || empty {
		return errors.Join(err, copyTop(src, d.data))
	}
	if err := s.copyWhole(ctx, src, d); err != nil {
		return err
	}
	return s.finish(v, d)
}

// copyWhole makes a complete and durable copy of src appear as _fill.
func (s *Store) copyWhole(ctx context.Context, src *os.File, d dirs) error {
	if err := rootpath.RemoveAll(d.volume, fillTmpDir); err != nil {
		return err
	}
	if err := unix.Mkdirat(d.volume, fillTmpDir, 0o700); err != nil {
		return &os.PathError{Op: "mkdirat", Path: fillTmpDir, Err: err}
	}
	if err := copyInto(ctx, src, d.volume, fillTmpDir); err != nil {
		return errors.Join(err, rootpath.RemoveAll(d.volume, fillTmpDir))
	}
	if err := unix.Syncfs(d.volume); err != nil {
		return os.NewSyscallError("syncfs", err)
	}
	if err := unix.Renameat2(d.volume, fillTmpDir, d.volume, fillDir, unix.RENAME_NOREPLACE); err != nil {
		return &os.LinkError{Op: "renameat2", Old: fillTmpDir, New: fillDir, Err: err}
	}
	return nil
}

// heal goes on with a filling whose process died while the entries moved.
func (s *Store) heal(name string) error {
	if unix.Access(filepath.Join(s.root, name, fillDir), unix.F_OK) != nil {
		return nil
	}
	lock, err := s.lock(name)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	v, err := s.Get(name)
	if err != nil {
		return err
	}
	d, err := openDirs(&v)
	if err != nil {
		return err
	}
	defer d.close()
	if !has(d.volume, fillDir) {
		return nil
	}
	return errdefs.Wrap(s.finish(&v, d), "finish filling", "volume "+name)
}

// finish moves the complete copy into the volume. A name that a container made
// meanwhile stays as the container has it.
func (s *Store) finish(v *Volume, d dirs) error {
	from, err := os.Open(filepath.Join(filepath.Dir(v.Path), fillDir))
	if err != nil {
		return err
	}
	defer from.Close()
	names, err := from.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		err := unix.Renameat2(int(from.Fd()), name, d.data, name, unix.RENAME_NOREPLACE)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return &os.LinkError{Op: "renameat2", Old: fillDir + "/" + name, New: dataDir + "/" + name, Err: err}
		}
	}
	if err := copyTop(from, d.data); err != nil {
		return err
	}
	// The record first: without _fill and without Filled, a volume that was emptied since would be filled again.
	v.Filled = true
	if err := s.write(v, atomicfile.Atomic); err != nil {
		return err
	}
	return rootpath.RemoveAll(d.volume, fillDir)
}

// copyInto copies the tree src, and the attributes of src itself, into the directory name of the volume.
func copyInto(ctx context.Context, src *os.File, volume int, name string) error {
	fd, err := rootpath.OpenAt(volume, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	to := os.NewFile(uintptr(fd), name)
	defer to.Close()
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		_, err := archive.Pack(ctx, w, src, ".", archive.PackOptions{Name: ".", Precise: true})
		w.CloseWithError(err)
		packed <- err
	}()
	_, err = archive.Apply(ctx, to, r, archive.ApplyOptions{Plain: true})
	r.CloseWithError(errStopped)
	if perr := <-packed; perr != nil && !errors.Is(perr, errStopped) {
		return perr // the cause; Apply only saw its echo
	}
	return err
}

var errStopped = errdefs.New(errdefs.Cancelled, "the copy was given up")

// copyTop gives the directory data the owner and mode of src.
func copyTop(src *os.File, data int) error {
	var want, have unix.Stat_t
	if err := unix.Fstat(int(src.Fd()), &want); err != nil {
		return &os.PathError{Op: "fstat", Path: src.Name(), Err: err}
	}
	if err := unix.Fstat(data, &have); err != nil {
		return &os.PathError{Op: "fstat", Path: dataDir, Err: err}
	}
	if want.Uid != have.Uid || want.Gid != have.Gid {
		if err := unix.Fchown(data, int(want.Uid), int(want.Gid)); err != nil {
			return &os.PathError{Op: "fchown", Path: dataDir, Err: err}
		}
	}
	if want.Mode != have.Mode || want.Uid != have.Uid || want.Gid != have.Gid {
		if err := unix.Fchmod(data, want.Mode&0o7777); err != nil {
			return &os.PathError{Op: "fchmod", Path: dataDir, Err: err}
		}
	}
	return nil
}

func has(dir int, name string) bool {
	var st unix.Stat_t
	return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
}

func isEmpty(dir int) (bool, error) {
	fd, err := rootpath.OpenAt(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return false, err
	}
	d := os.NewFile(uintptr(fd), ".")
	defer d.Close()
	_, err = d.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
}
