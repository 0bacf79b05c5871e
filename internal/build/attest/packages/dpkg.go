package packages

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
)

const (
	dpkgStatus    = "var/lib/dpkg/status"
	dpkgFragments = "var/lib/dpkg/status.d"
)

// readDpkg reads dpkg's database.
func readDpkg(ctx context.Context, root *os.File, inv *Inventory) error {
	b, err := file(root, dpkgStatus, maxDatabase)
	if err != nil || b == nil {
		return err
	}
	return addDebs(ctx, root, inv, parseDpkg(string(b)))
}

// readDistroless reads the files that stand for dpkg's database where there is no dpkg.
func readDistroless(ctx context.Context, root *os.File, inv *Inventory) error {
	dir, err := rootpath.Open(root, dpkgFragments, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if missing(err) {
		return nil
	}
	if err != nil {
		return errdefs.Wrap(err, "read the image's", "/"+dpkgFragments)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(maxFragments + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return errdefs.Wrap(err, "read the image's", "/"+dpkgFragments)
	}
	if len(names) > maxFragments {
		return errdefs.New(errdefs.Exhausted, "/%s has more than %d files", dpkgFragments, maxFragments)
	}
	slices.Sort(names)
	for _, name := range names {
		if strings.HasSuffix(name, ".md5sums") || strings.HasSuffix(name, ".list") {
			continue
		}
		b, err := file(root, dpkgFragments+"/"+name, maxSmall)
		if err != nil {
			return err
		}
		if err := addDebs(ctx, root, inv, parseDpkg(string(b))); err != nil {
			return err
		}
	}
	return nil
}

// addDebs adds packages with the licences that their documentation declares.
func addDebs(ctx context.Context, root *os.File, inv *Inventory, debs []Package) error {
	for i := range debs {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p := &debs[i]
		if !plainName(p.Name) {
			continue
		}
		b, err := file(root, "usr/share/doc/"+p.Name+"/copyright", maxSmall)
		if err == nil {
			p.Licences = parseCopyright(string(b))
		} // else: too large, or a loop of links. What is no licence is no reason to stop.
		p.clean()
		inv.Packages = append(inv.Packages, *p)
	}
	return nil
}

// plainName reports whether a package's name can be an element of a path.
func plainName(name string) bool {
	return name != "" && name[0] != '.' && !strings.ContainsAny(name, "/\x00")
}

// parseDpkg reads the paragraphs of a status file (deb822(5), dpkg(1)). A
// package that was removed and has left its configuration is not installed.
func parseDpkg(text string) []Package {
	var all []Package
	for paragraph := range paragraphs(text) {
		p, status := Package{Kind: Deb}, ""
		for name, value := range fields(paragraph) {
			switch name {
			case "package":
				p.Name = value
			case "version":
				p.Version = value
			case "architecture":
				p.Arch = value
			case "status":
				status = value
			case "source":
				p.Source, p.SourceVersion = parseSource(value)
			case "maintainer":
				p.Maintainer = value
			case "homepage":
				p.Homepage = value
			case "description":
				p.Summary = value
			}
		}
		if !p.clean() || !installed(status) {
			continue
		}
		if p.Source == "" {
			p.Source = p.Name
		}
		if p.SourceVersion == "" {
			p.SourceVersion = p.Version
		}
		all = append(all, p)
		if len(all) > maxPackages {
			break // told by Read
		}
	}
	return all
}

// installed reads "want flag state". Files that stand for a package have no status.
func installed(status string) bool {
	words := strings.Fields(status)
	if len(words) == 0 {
		return true
	}
	state := words[len(words)-1]
	return state != "not-installed" && state != "config-files"
}

// parseSource reads "name" or "name (version)".
func parseSource(value string) (name, version string) {
	name, rest, _ := strings.Cut(value, "(")
	version, _, _ = strings.Cut(rest, ")")
	return strings.TrimSpace(name), strings.TrimSpace(version)
}

// copyrightFormat begins a copyright file that machines can read.
const copyrightFormat = "www.debian.org/doc/packaging-manuals/copyright-format/"

// parseCopyright returns the licences that a Debian copyright file names
// (machine-readable debian/copyright file, version 1.0): the first line of each
// License field of a paragraph about files. A file in free prose names none.
func parseCopyright(text string) []string {
	head, _, _ := strings.Cut(text, "\n")
	if !strings.HasPrefix(head, "Format:") || !strings.Contains(head, copyrightFormat) {
		return nil
	}
	var all []string
	for paragraph := range paragraphs(text) {
		licence, aboutFiles := "", false
		for name, value := range fields(paragraph) {
			switch name {
			case "license":
				licence = value
			case "files":
				aboutFiles = true
			}
		}
		if aboutFiles && licence != "" && !slices.Contains(all, licence) {
			all = append(all, licence)
		}
		if len(all) == maxLicences {
			break
		}
	}
	return all
}

// maxLicences bounds the licences of one package.
const maxLicences = 100
