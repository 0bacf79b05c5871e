// Package userns provides user namespaces: a process in one is root there, and
// an ordinary user of the host outside.
//
// A user namespace (user_namespaces(7)) has a map that says which user of the
// host each of its users is. A process whose id is 0 inside and 1879048192
// outside has every capability over what belongs to the namespace (its mounts,
// its network), and over files it has the rights of user 1879048192, which are
// none: what breaks out of the container is nobody.
//
// Files need the same translation the other way: an image's files belong to
// user 0. A mount can be given a map (mount_setattr(2) with
// MOUNT_ATTR_IDMAP, Linux 5.12), by naming a user namespace that has it. In
// such a mount a file that belongs to 0 on the disk is seen as 1879048192's, and
// what that user makes belongs to 0 on the disk.
//
//	disk             mount with a map       inside the namespace
//	0         <-->   1879048192      <-->   0
//	1000      <-->   1879049192      <-->   1000
//
// New makes a namespace without a process in it: a helper child is born in it,
// its map is written, the namespace is opened, the child ends. Package
// runtime/bootstrap puts a container's process into it, linux/overlay makes the
// mounts of its layers.
package userns

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/program"
)

// Namespace is an open user namespace.
type Namespace struct {
	Range Range
	User  *os.File // the namespace itself
	Net   *os.File // a network namespace that belongs to it, nil: not asked for
}

// New makes a user namespace with the range as its map, and if withNet a network
// namespace that belongs to it. Both live as long as they are open or in use.
//
// Preconditions: CAP_SETUID and CAP_SETGID, and a range that exists in the
// caller's own user namespace.
func New(r Range, withNet bool) (*Namespace, error) {
	flags := uint64(unix.CLONE_NEWUSER)
	if withNet {
		flags |= unix.CLONE_NEWNET
	}
	h, err := hold(flags, nil)
	if err != nil {
		return nil, cannotMake(err)
	}
	defer h.end()
	if err := errors.Join(h.writeMap("uid_map", r.UID, r.Count), h.writeMap("gid_map", r.GID, r.Count)); err != nil {
		return nil, err
	}
	return h.open(r, withNet)
}

// Of opens the user namespace of a running process, which maps the range, and if
// withNet makes a new network namespace that belongs to it.
func Of(pid int, r Range, withNet bool) (*Namespace, error) {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/ns/user")
	if err != nil || !withNet {
		return &Namespace{Range: r, User: f}, err
	}
	defer f.Close()
	h, err := hold(0, f)
	if err != nil {
		return nil, err
	}
	defer h.end()
	return h.open(r, true)
}

// holder is a helper child that holds new namespaces until they have been opened.
type holder struct {
	pid  int
	sock int // it ends when this is closed, even by our death
}

// hold starts a child that is born with the new namespaces flags, or joins the
// user namespace join and makes a network namespace there.
func hold(flags uint64, join *os.File) (*holder, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	fds := pair[:]
	b := program.NewBuilder()
	b.Call("close the starter's end", unix.SYS_CLOSE, program.FD(0))
	if join != nil {
		fds = append(fds, int(join.Fd()))
		b.Call("join the user namespace", unix.SYS_SETNS, program.FD(2), program.Int(unix.CLONE_NEWUSER))
		b.Call("make a network namespace", unix.SYS_UNSHARE, program.Int(unix.CLONE_NEWNET))
	}
	buf := program.At(b.Place(make([]byte, 1)))
	b.Call("report", unix.SYS_WRITE, program.FD(1), buf, program.Int(1))
	b.Call("wait for the starter", unix.SYS_READ, program.FD(1), buf, program.Int(1)).Ignore()
	b.Call("end", unix.SYS_EXIT_GROUP, program.Int(0))
	child, err := b.Program().Start(program.StartOptions{CloneFlags: flags, FDs: fds, Cgroup: -1, NoWait: true})
	unix.Close(pair[1])
	if err != nil {
		unix.Close(pair[0])
		return nil, err
	}
	unix.Close(child.PIDFD)
	h := &holder{child.PID, pair[0]}
	var ready [1]byte
	for {
		switch n, err := unix.Read(h.sock, ready[:]); {
		case err == unix.EINTR:
			continue
		case n == 1:
			return h, nil
		}
		h.end()
		return nil, errdefs.New(errdefs.Internal, "cannot make a namespace in another user namespace")
	}
}

// open opens the namespaces that the child holds.
func (h *holder) open(r Range, withNet bool) (*Namespace, error) {
	user, err := os.Open(h.file("ns/user"))
	if err != nil {
		return nil, err
	}
	ns := &Namespace{Range: r, User: user}
	if withNet {
		if ns.Net, err = os.Open(h.file("ns/net")); err != nil {
			ns.Close()
			return nil, err
		}
	}
	return ns, nil
}

func (h *holder) file(name string) string { return "/proc/" + strconv.Itoa(h.pid) + "/" + name }

// end lets the child go and collects it.
func (h *holder) end() {
	unix.Close(h.sock)
	for {
		if _, err := unix.Wait4(h.pid, nil, unix.WALL, nil); err != unix.EINTR {
			return
		}
	}
}

// writeMap writes the one line of a map: id inside, id outside, how many.
func (h *holder) writeMap(name string, first, count uint32) error {
	line := "0 " + strconv.FormatUint(uint64(first), 10) + " " + strconv.FormatUint(uint64(count), 10) + "\n"
	f, err := os.OpenFile(h.file(name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) {
		return errdefs.New(errdefs.Forbidden, "the ids %d to %d cannot be given to a container here: %w", first, uint64(first)+uint64(count)-1, unix.EPERM).
			WithHint("/proc/self/uid_map and gid_map list the ids that this host or container has: take some with --userns UID:GID:COUNT")
	}
	return err
}

func cannotMake(err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
		return errdefs.New(errdefs.Unsupported, "cannot make a user namespace: %w", err).
			WithHint("the host allows too few: sysctl user.max_user_namespaces=15000")
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EPERM):
		return errdefs.New(errdefs.Unsupported, "cannot make a user namespace: %w", err).
			WithHint("this kernel has none, or a sandbox forbids them: leave --userns out")
	}
	return err
}

// Close lets go of the namespace; who is in it stays.
func (n *Namespace) Close() {
	for _, f := range [...]*os.File{n.User, n.Net} {
		if f != nil {
			f.Close()
		}
	}
}

// Clone returns a detached mount of dir, and of what is mounted below it if
// recursive, in which the files of dir's own file system are seen as the
// container's. Needs Linux 5.12, and a file system that takes maps.
//
// Preconditions: CAP_SYS_ADMIN in the file system's own user namespace.
func (n *Namespace) Clone(dir string, recursive bool) (*os.File, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	tree, err := unix.OpenTree(unix.AT_FDCWD, dir, flags)
	if err != nil {
		return nil, &os.PathError{Op: "open_tree", Path: dir, Err: err}
	}
	err = unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(n.User.Fd())})
	if err == nil {
		return os.NewFile(uintptr(tree), dir), nil
	}
	unix.Close(tree)
	if errors.Is(err, unix.EINVAL) {
		return nil, errdefs.New(errdefs.Unsupported, "the file system of %s cannot be mounted with shifted owners", dir).
			WithHint("put it on ext4, xfs, btrfs or tmpfs of a newer kernel, or leave --userns out")
	}
	return nil, &os.PathError{Op: "mount_setattr", Path: dir, Err: err}
}

// Cover puts such a clone of dir over dir itself.
//
// Preconditions: the thread has a mount namespace of its own.
func (n *Namespace) Cover(dir string) error {
	tree, err := n.Clone(dir, false)
	if err != nil {
		return err
	}
	defer tree.Close()
	if err := unix.MoveMount(int(tree.Fd()), "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return &os.PathError{Op: "move_mount", Path: dir, Err: err}
	}
	return nil
}
