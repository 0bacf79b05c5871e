// Package packages reads what the package managers of a file tree know: which
// packages are installed, in which version, under which licence.
//
// Every distribution keeps such a database as files:
//
//	Debian, Ubuntu      var/lib/dpkg/status, one paragraph for each package
//	distroless images   var/lib/dpkg/status.d/*, one file for each: no dpkg could write there
//	Alpine, Wolfi       lib/apk/db/installed, one paragraph for each
//	Fedora, SUSE, ...   rpmdb.sqlite in var/lib/rpm or usr/lib/sysimage/rpm: a table of binary headers
//
// The tree is an image's, and so somebody else's: paths are opened below an open
// directory (linux/rootpath) and never lead out of it, files have a greatest
// size, and no program of the tree is run.
package packages

import (
	"cmp"
	"context"
	"errors"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
)

// The kinds of packages, as package URLs call them.
const (
	Deb = "deb"
	Apk = "apk"
	RPM = "rpm"
)

// Package is an installed package.
type Package struct {
	Kind    string // Deb, Apk or RPM
	Name    string
	Version string // as the package manager writes it; of RPM without the epoch
	Epoch   string // RPM's; "" or "0": none
	Arch    string // in the distribution's words; "" if it does not matter

	// Source and SourceVersion name what the package was built from: that is what
	// distributions file security problems under.
	Source, SourceVersion string

	Summary    string
	Homepage   string
	Maintainer string // "Name <mail>" of who answers for it, or a vendor's name
	// Licences are as the package declares them, in the notation of its own world;
	// all of them apply. None: it says nothing that a machine can read.
	Licences []string
}

// Distro is what a tree says it is (os-release(5)).
type Distro struct {
	ID        string // "debian"; "" if it does not say
	VersionID string // "12"
	Name      string // for people
}

// Inventory is what is known of a tree.
type Inventory struct {
	Distro   Distro
	Packages []Package // by kind, name, version and architecture
	// Unread are databases that are there and were not read, and why.
	Unread []string
}

// Limits of what is read, per tree.
const (
	maxDatabase  = 64 << 20 // bytes; a desktop's dpkg status has 10 MiB
	maxPackages  = 100_000
	maxFragments = 20_000  // files in status.d
	maxSmall     = 1 << 20 // bytes of one of them, of a copyright file, of os-release
)

// Read looks for all databases in the tree that root is the open top of. A
// database that cannot be read as such is an error: a list that looks complete
// and is not would be worse than none.
func Read(ctx context.Context, root *os.File) (*Inventory, error) {
	inv := &Inventory{}
	var err error
	if inv.Distro, err = readDistro(root); err != nil {
		return nil, err
	}
	for _, read := range [...]func(context.Context, *os.File, *Inventory) error{readDpkg, readDistroless, readApk, readRPM} {
		if err := read(ctx, root, inv); err != nil {
			return nil, err
		}
		if len(inv.Packages) > maxPackages {
			return nil, errdefs.New(errdefs.Exhausted, "the image has more than %d packages", maxPackages)
		}
	}
	slices.SortStableFunc(inv.Packages, func(a, b Package) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Arch, b.Arch))
	})
	return inv, nil
}

// file reads a file of the tree; nil if there is none.
func file(root *os.File, path string, limit int64) ([]byte, error) {
	b, err := rootpath.ReadFile(root, path, limit)
	if missing(err) {
		return nil, nil
	}
	return b, errdefs.Wrap(err, "read the image's", "/"+path)
}

func missing(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) }
