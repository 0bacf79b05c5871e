package packages

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"strconv"
	"strings"

	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
)

// readRPM reads rpm's database, if it is SQLite's: Fedora's since 33, RHEL's
// since 9. Those of before (Berkeley DB) and SUSE's (ndb) are noted as not read.
func readRPM(ctx context.Context, root *os.File, inv *Inventory) error {
	for _, dir := range [...]string{"usr/lib/sysimage/rpm", "var/lib/rpm"} { // the second is mostly a link to the first
		for _, name := range [...]string{"rpmdb.sqlite", "Packages.db", "Packages"} {
			path := dir + "/" + name
			if _, err := rootpath.Stat(root, path); missing(err) {
				continue
			}
			// What stands in a write-ahead log is not in the database yet; rpm leaves none when it ends.
			if log, err := rootpath.Stat(root, path+"-wal"); name != "rpmdb.sqlite" || err == nil && log.Size > 0 {
				inv.Unread = append(inv.Unread, "/"+path+" (rpm)")
				return nil
			}
			return errdefs.Wrap(readRPMDatabase(ctx, root, path, inv), "read the image's", "/"+path)
		}
	}
	return nil
}

// maxRPMDatabase bounds the file, in bytes.
const maxRPMDatabase = 1 << 30

func readRPMDatabase(ctx context.Context, root *os.File, path string, inv *Inventory) error {
	f, st, err := rootpath.OpenRegular(root, path)
	if err != nil {
		return err
	}
	defer f.Close()
	if st.Size > maxRPMDatabase {
		return errdefs.New(errdefs.Exhausted, "it is larger than %d bytes", maxRPMDatabase)
	}
	db, err := openSQLite(f, st.Size)
	if err != nil {
		return err
	}
	return db.table("Packages", func(columns [][]byte) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if len(columns) < 2 {
			return errDamaged
		}
		p, err := parseRPM(columns[1])
		if err == nil && p != nil {
			inv.Packages = append(inv.Packages, *p)
		}
		if len(inv.Packages) > maxPackages {
			return nil // told by Read
		}
		return err
	})
}

// The tags of a header that are read here, and the types of their values
// (rpm.org/docs, "RPM Tags" and "Header format").
const (
	rpmName      = 1000
	rpmVersion   = 1001
	rpmRelease   = 1002
	rpmEpoch     = 1003
	rpmSummary   = 1004
	rpmVendor    = 1011
	rpmLicence   = 1014
	rpmURL       = 1020
	rpmArch      = 1022
	rpmSourceRPM = 1044

	rpmInt32      = 4
	rpmString     = 6
	rpmI18NString = 9 // several strings; the first one is English
)

// parseRPM reads a package's header: the number of entries, the size of the
// data, an index of entries, and the data they point into; numbers are big
// endian. nil: it is a key for signatures, which rpm keeps as a package.
func parseRPM(header []byte) (*Package, error) {
	const head, entry = 8, 16
	if len(header) < head {
		return nil, errDamaged
	}
	n, size := int64(binary.BigEndian.Uint32(header)), int64(binary.BigEndian.Uint32(header[4:]))
	if int64(len(header)) < head+n*entry+size {
		return nil, errDamaged
	}
	data := header[head+n*entry : head+n*entry+size]
	texts := map[uint32]string{}
	for i := range n {
		e := header[head+i*entry:]
		tag, kind, offset, count := binary.BigEndian.Uint32(e), binary.BigEndian.Uint32(e[4:]), int64(binary.BigEndian.Uint32(e[8:])), binary.BigEndian.Uint32(e[12:])
		if offset > size || count == 0 {
			continue
		}
		switch at := data[offset:]; {
		case kind == rpmInt32 && len(at) >= 4:
			if tag == rpmEpoch {
				texts[tag] = strconv.FormatUint(uint64(binary.BigEndian.Uint32(at)), 10)
			}
		case kind == rpmString || kind == rpmI18NString:
			if end := bytes.IndexByte(at, 0); end >= 0 && end <= maxValue {
				texts[tag] = string(at[:end])
			}
		}
	}
	p := &Package{
		Kind: RPM, Name: texts[rpmName], Version: texts[rpmVersion] + "-" + texts[rpmRelease], Epoch: texts[rpmEpoch], Arch: texts[rpmArch],
		Summary: texts[rpmSummary], Homepage: texts[rpmURL], Maintainer: texts[rpmVendor], Licences: []string{texts[rpmLicence]},
	}
	p.Source, p.SourceVersion = parseSourceRPM(texts[rpmSourceRPM])
	if !p.clean() || texts[rpmVersion] == "" {
		return nil, errDamaged
	}
	if p.Name == "gpg-pubkey" {
		return nil, nil
	}
	return p, nil
}

// parseSourceRPM reads "name-version-release.src.rpm".
func parseSourceRPM(file string) (name, version string) {
	base, ok := strings.CutSuffix(file, ".src.rpm")
	if !ok {
		return "", ""
	}
	release := strings.LastIndexByte(base, '-')
	if release <= 0 {
		return "", ""
	}
	at := strings.LastIndexByte(base[:release], '-')
	if at <= 0 {
		return "", ""
	}
	return base[:at], base[at+1:]
}
