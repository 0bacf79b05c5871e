package engine

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
	"berth/internal/runtime/bootstrap"
)

// StepMount is one thing that a step's program finds at a place of its own:
// what Source shows, a new tmpfs, or a file that exists in memory only.
type StepMount struct {
	Target   string // absolute
	ReadOnly bool
	// Source is an open directory, file or socket that appears at Target, or, with
	// Path, what lies there below it; symbolic links count from Source. Before
	// Linux 6.15 a detached mount (snapshot.MountTree) serves for one mount of one
	// step, and parts of it are named by Path only.
	Source *os.File
	Path   string
	// Tmpfs asks for a new tmpfs of at most Size bytes, 0: half of the memory.
	Tmpfs bool
	Size  int64
	// Data is the content of a file (a secret, a script) that lies in a memory
	// file system of the step's own, never on a disk, and is read-only. It has the
	// mode and the owner given, and can be executed if the mode says so.
	Data     []byte
	Mode     uint32
	UID, GID uint32
}

// takeRoot makes the step's root directory a mount that can be given away.
func (s *step) takeRoot(context.Context) error {
	if s.req.Root == nil {
		return errdefs.New(errdefs.InvalidArgument, "a build step needs a root directory")
	}
	src, err := giveAway(s.req.Root, "")
	if err != nil {
		return errdefs.Wrap(err, "mount", "the root of the step")
	}
	s.in.RootTree = src.Tree
	if !src.Dir {
		return errdefs.New(errdefs.InvalidArgument, "the root of a build step is not a directory")
	}
	s.rootfs, err = duplicate(s.req.Root)
	return err
}

// giveAway returns a detached mount of what f is open on, or of what lies at
// path below it. It is private: nothing that is done to it reaches where it came
// from. A mount that is detached already can be copied since Linux 6.15; before
// that, it is given away itself.
func giveAway(f *os.File, path string) (src bootstrap.Source, err error) {
	from := f
	if path = strings.Trim(path, "/"); path != "" {
		if from, err = rootpath.Open(f, path, unix.O_PATH, 0); err != nil {
			return src, err
		}
		defer from.Close()
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(from.Fd()), &st); err != nil {
		return src, &os.PathError{Op: "fstat", Path: from.Name(), Err: err}
	}
	src.Dir = st.Mode&unix.S_IFMT == unix.S_IFDIR
	fd, err := unix.OpenTree(int(from.Fd()), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE)
	switch {
	case err == nil:
		src.Tree = os.NewFile(uintptr(fd), from.Name())
	case errors.Is(err, unix.EINVAL):
		src.Path = path
		if src.Tree, err = duplicate(f); err != nil {
			return src, err
		}
	default:
		return src, &os.PathError{Op: "open_tree", Path: from.Name(), Err: err}
	}
	attr := unix.MountAttr{Propagation: unix.MS_PRIVATE}
	if err := unix.MountSetattr(int(src.Tree.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		src.Tree.Close()
		return src, &os.PathError{Op: "mount_setattr", Path: from.Name(), Err: err}
	}
	return src, nil
}

// mounts makes what the request's mounts show, and returns them for the specification.
func (s *step) mounts() (list []specs.Mount, err error) {
	s.in.Sources = map[string]bootstrap.Source{}
	var inMemory []*StepMount
	for i := range s.req.Mounts {
		m := &s.req.Mounts[i]
		target := path.Clean(m.Target)
		if !path.IsAbs(target) || target == "/" {
			return nil, errdefs.New(errdefs.InvalidArgument, "invalid mount target %q: it must be an absolute path other than /", m.Target)
		}
		for _, other := range list {
			if other.Destination == target {
				return nil, errdefs.New(errdefs.InvalidArgument, "Duplicate mount point: %s", target)
			}
		}
		spec := specs.Mount{Destination: target, Type: "bind", Options: []string{"rbind"}}
		switch {
		case m.Tmpfs:
			spec = specs.Mount{Destination: target, Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "nodev"}}
			if m.Size > 0 {
				spec.Options = append(spec.Options, "size="+itoa(m.Size))
			}
		case m.Source != nil:
			src, err := giveAway(m.Source, m.Path)
			if err != nil {
				return nil, errdefs.Wrap(err, "mount", target)
			}
			s.in.Sources[target] = src
		default:
			inMemory = append(inMemory, m)
			spec.Options = append(spec.Options, "ro", "nosuid", "nodev")
			if m.Mode&0o111 == 0 {
				spec.Options = append(spec.Options, "noexec")
			}
		}
		if m.ReadOnly {
			spec.Options = append(spec.Options, "ro")
		}
		list = append(list, spec)
	}
	return list, s.memoryFiles(inMemory)
}

// memoryFiles makes the files that exist in memory only, in one tmpfs that is
// attached nowhere but, for a moment, in the program's own mount namespace. It is
// never swapped out, where the kernel can do that (Linux 6.4).
func (s *step) memoryFiles(list []*StepMount) error {
	if len(list) == 0 {
		return nil
	}
	tmpfs, err := newTmpfs()
	if err != nil {
		return errdefs.Wrap(err, "make", "a file system in memory")
	}
	for i, m := range list {
		name := itoa(i)
		s.in.Sources[path.Clean(m.Target)] = bootstrap.Source{Tree: tmpfs, Path: name}
		if err := writeMemoryFile(tmpfs, name, m); err != nil {
			return errdefs.Wrap(err, "make the file for", m.Target)
		}
	}
	return nil
}

func newTmpfs() (*os.File, error) {
	fsfd, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fsfd)
	_ = unix.FsconfigSetFlag(fsfd, "noswap")
	for key, value := range map[string]string{"source": "tmpfs", "mode": "0700"} {
		if err := unix.FsconfigSetString(fsfd, key, value); err != nil {
			return nil, os.NewSyscallError("fsconfig", err)
		}
	}
	if err := unix.FsconfigCreate(fsfd); err != nil {
		return nil, os.NewSyscallError("fsconfig", err)
	}
	fd, err := unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return nil, os.NewSyscallError("fsmount", err)
	}
	return os.NewFile(uintptr(fd), "tmpfs"), nil
}

func writeMemoryFile(dir *os.File, name string, m *StepMount) error {
	f, err := rootpath.Open(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(m.Data)
	if err == nil {
		err = f.Chown(int(m.UID), int(m.GID))
	}
	if err == nil {
		err = os.NewSyscallError("fchmod", unix.Fchmod(int(f.Fd()), m.Mode&0o7777))
	}
	return errors.Join(err, f.Close())
}

// checkTargets refuses a mount on a place that the tree does not have: making it
// would leave it behind in the tree. Below another mount it is made, in what that shows.
func (s *step) checkTargets() error {
	mounts := s.in.Spec.Mounts
	for _, m := range mounts {
		inside := false
		for _, outer := range mounts {
			inside = inside || strings.HasPrefix(m.Destination, strings.TrimSuffix(outer.Destination, "/")+"/")
		}
		if inside {
			continue
		}
		if _, err := rootpath.Stat(s.rootfs, m.Destination); err != nil {
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errdefs.NotFound) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
				return errdefs.New(errdefs.InvalidArgument, "cannot mount on %s: the tree has no such place", m.Destination).
					WithHint("look what the image has on the way there: a file, or a symbolic link that leads nowhere")
			}
			return err
		}
	}
	return nil
}
