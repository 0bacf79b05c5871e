package container

import (
	"path"
	"strings"

	"berth/internal/errdefs"
)

// copyEnd is one end of a copy: a path as typed (with a trailing "/" or "/.") and what is there.
type copyEnd struct {
	path          string
	exists, isDir bool
}

// copyPlan says where a copy goes: into the directory dir, the source taking
// the name name there. "." spreads the content of a source directory in dir itself.
type copyPlan struct{ dir, name string }

// planCopy decides as cp(1) and Docker do:
//
//	source     destination                 result
//	file, dir  absent                      takes the last name of the destination; its parent must exist
//	file       absent, ends in "/"         error: no such directory
//	file, dir  directory                   destination/<name of the source>
//	dir/.      directory or absent         the content only
//	file       file                        replaced
//	dir        file                        error
func planCopy(src, dst copyEnd) (copyPlan, error) {
	contents := strings.HasSuffix(src.path, "/.")
	dstDir := strings.HasSuffix(dst.path, "/") || strings.HasSuffix(dst.path, "/.")
	to, name := path.Clean(dst.path), path.Base(path.Clean(src.path))
	switch {
	case !src.isDir && (contents || strings.HasSuffix(src.path, "/")):
		return copyPlan{}, errdefs.New(errdefs.InvalidArgument, "%s: not a directory", src.path)
	case dst.exists && dst.isDir && contents, dst.exists && dst.isDir && name == "/":
		return copyPlan{to, "."}, nil
	case dst.exists && dst.isDir:
		return copyPlan{to, name}, nil
	case dst.exists && src.isDir:
		return copyPlan{}, errdefs.New(errdefs.InvalidArgument, "cannot copy directory %s over the file %s", src.path, dst.path)
	case dst.exists && dstDir:
		return copyPlan{}, errdefs.New(errdefs.InvalidArgument, "%s: not a directory", dst.path)
	case !dst.exists && dstDir && !src.isDir:
		return copyPlan{}, errdefs.New(errdefs.NotFound, "%s: no such directory", dst.path)
	}
	return copyPlan{path.Dir(to), path.Base(to)}, nil
}
