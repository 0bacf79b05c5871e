package cgroup

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A container that may write to its cgroup file system can make groups below
// its own, so deep that their path is longer than a path may be. The walk here
// goes by descriptors, up again through "..", and holds one at a time.

// walk calls visit with an open directory for root and every group below it,
// children first, and then left with the parent and the name of each but root.
// A group that vanishes meanwhile is passed over.
func walk(root string, visit func(dirfd int) error, left func(parentfd int, name string) error) error {
	fd, err := openRetry(unix.AT_FDCWD, root, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return pathError("open", root, err)
	}
	defer func() { unix.Close(fd) }()
	level := func() ([]string, error) {
		names, err := children(fd)
		return names, pathError("list", root, err)
	}
	names, err := level()
	if err != nil {
		return err
	}
	stack := [][]string{names} // of each level what is still to be visited, the last being where we are
	for {
		top := len(stack) - 1
		if n := len(stack[top]); n > 0 {
			child, err := openRetry(fd, stack[top][n-1], unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
			if err == unix.ENOENT {
				stack[top] = stack[top][:n-1]
				continue
			}
			if err != nil {
				return pathError("open", root+"/.../"+stack[top][n-1], err)
			}
			unix.Close(fd)
			fd = child
			if names, err = level(); err != nil && !errors.Is(err, unix.ENOENT) {
				return err
			}
			stack = append(stack, names)
			continue
		}
		if err := visit(fd); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENODEV) {
			return err
		}
		if top == 0 {
			return nil
		}
		parent, err := openRetry(fd, "..", unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return pathError("open", root+"/...", err)
		}
		unix.Close(fd)
		fd = parent
		stack = stack[:top]
		n := len(stack[top-1]) - 1
		if err := left(fd, stack[top-1][n]); err != nil {
			return err
		}
		stack[top-1] = stack[top-1][:n]
	}
}

// children returns the groups directly below an open one. Most have none, which
// the link count tells without a listing: "." and the parent's entry.
func children(fd int) ([]string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err == nil && st.Nlink == 2 {
		return nil, nil
	}
	return subdirs(fd)
}

func stay(int, string) error { return nil }

// pidsBelow appends the processes of a group and of those below it.
func pidsBelow(dir string, pids []int) ([]int, error) {
	var buf []byte
	err := walk(dir, func(fd int) error {
		var err error
		buf, err = readAt(fd, "cgroup.procs", buf[:0])
		if errors.Is(err, unix.EOPNOTSUPP) { // a threaded group: its processes are listed further up
			return nil
		}
		pids = appendPIDs(pids, buf)
		return err
	}, stay)
	return pids, err
}

// appendPIDs adds the numbers, a line each. 0 stands for a process that our pid
// namespace cannot name.
func appendPIDs(pids []int, list []byte) []int {
	for len(list) > 0 {
		line := list
		if i := bytes.IndexByte(list, '\n'); i >= 0 {
			line, list = list[:i], list[i+1:]
		} else {
			list = nil
		}
		if pid, err := strconv.Atoi(string(line)); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// processTree returns the directory in which to look for the processes: all
// hierarchies should agree, but the freezer's is the one that Freeze stops.
func (g *Group) processTree() string {
	for _, controller := range [...]string{"freezer", "pids", "memory", "cpu"} {
		if t := g.host.tree(controller); t != nil {
			return t.dir + g.Name
		}
	}
	return g.host.trees[0].dir + g.Name
}

// PIDs returns the processes in the group and in groups below it, in ascending
// order. Of a group that does not exist it returns none.
func (g *Group) PIDs() ([]int, error) {
	pids, err := pidsBelow(g.processTree(), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	slices.Sort(pids)
	return slices.Compact(pids), err // v1 may list one twice
}

// Remove removes the group from every hierarchy, with the groups below it. A
// process that has just been killed keeps its group busy for a moment, so it
// tries again until ctx is done, for two seconds at most. A group that is gone
// already is no error.
func (g *Group) Remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var errs []error
	for i := range g.host.trees {
		dir := g.host.trees[i].dir + g.Name
		if err := rmdir(unix.AT_FDCWD, dir); err == nil || err == unix.ENOENT {
			continue
		}
		if err := removeTree(ctx, dir); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// removeTree removes a group and those below it, trying again while they are busy.
func removeTree(ctx context.Context, dir string) error {
	for wait := 200 * time.Microsecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := walk(dir, func(int) error { return nil }, func(parent int, name string) error {
			_ = rmdir(parent, name) // if it stays, so does its parent, and that is tried again
			return nil
		})
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			if err = rmdir(unix.AT_FDCWD, dir); err == nil || err == unix.ENOENT {
				return nil
			}
			err = pathError("rmdir", dir, err)
			if !errors.Is(err, unix.EBUSY) {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

func rmdir(dirfd int, path string) error {
	for {
		if err := unix.Unlinkat(dirfd, path, unix.AT_REMOVEDIR); err != unix.EINTR {
			return err
		}
	}
}
