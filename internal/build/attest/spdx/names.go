package spdx

import "strings"

// known returns the licence of SPDX's list that a name means, "" if it means
// none for sure. Names are compared without regard to capitals; Debian's and
// Fedora's names for the same licences are known too.
func known(name string) string {
	lower := strings.ToLower(name)
	if strings.HasPrefix(lower, "licenseref-") {
		return "" // its text is not here: it becomes one of this document's
	}
	if id := listed(lower); id != "" {
		return id
	}
	if id := gnu(lower); id != "" {
		return id
	}
	switch lower {
	case "expat":
		return "MIT"
	case "apache-2", "asl2.0":
		return "Apache-2.0"
	case "bsd-2":
		return "BSD-2-Clause"
	case "bsd-3", "bsd3":
		return "BSD-3-Clause"
	case "mplv2.0", "mpl-2":
		return "MPL-2.0"
	case "mpl-1.1+":
		return "MPL-1.1+"
	case "psf":
		return "PSF-2.0"
	case "cc0":
		return "CC0-1.0"
	}
	if base, ok := strings.CutSuffix(lower, "+"); ok {
		if id := listed(base); id != "" {
			return id + "+"
		}
	}
	return ""
}

func listed(lower string) string {
	for id := range strings.FieldsSeq(licenceList) {
		if len(id) == len(lower) && strings.ToLower(id) == lower {
			return id
		}
	}
	return ""
}

// gnu reads the names of the GNU licences: "gpl-2+" (Debian), "gplv2+"
// (Fedora), "gpl-2.0+" (SPDX before 3.0), "gpl2" (Alpine, once).
func gnu(lower string) string {
	later := strings.HasSuffix(lower, "+")
	lower = strings.TrimSuffix(lower, "+")
	for _, family := range [...]struct {
		name     string
		versions []string
	}{
		{"agpl", []string{"3.0"}}, {"lgpl", []string{"2.0", "2.1", "3.0"}}, {"gpl", []string{"1.0", "2.0", "3.0"}}, {"gfdl", []string{"1.1", "1.2", "1.3"}},
	} {
		version, ok := strings.CutPrefix(lower, family.name)
		if !ok {
			continue
		}
		version = strings.TrimPrefix(strings.TrimPrefix(version, "-"), "v")
		for _, v := range family.versions {
			if version == v || version+".0" == v {
				if later {
					return strings.ToUpper(family.name) + "-" + v + "-or-later"
				}
				return strings.ToUpper(family.name) + "-" + v + "-only"
			}
		}
	}
	return ""
}

func knownException(name string) string {
	for id := range strings.FieldsSeq(exceptionList) {
		if strings.EqualFold(id, name) {
			return id
		}
	}
	return ""
}

// licenceList are names of SPDX's licence list that distributions use. One that
// is missing here costs no more than a reference instead of a name.
const licenceList = `
	0BSD AFL-2.0 AFL-2.1 AFL-3.0 AGPL-3.0-only AGPL-3.0-or-later Apache-1.0 Apache-1.1 Apache-2.0 APSL-2.0
	Artistic-1.0 Artistic-1.0-Perl Artistic-1.0-cl8 Artistic-2.0 Beerware BlueOak-1.0.0 BSD-1-Clause BSD-2-Clause BSD-2-Clause-Patent
	BSD-2-Clause-Views BSD-3-Clause BSD-3-Clause-Attribution BSD-3-Clause-Clear BSD-3-Clause-LBNL BSD-4-Clause BSD-4-Clause-UC
	BSD-4.3TAHOE BSD-Source-Code BSL-1.0 bzip2-1.0.6 CC-BY-2.0 CC-BY-2.5 CC-BY-3.0 CC-BY-4.0 CC-BY-SA-2.0 CC-BY-SA-2.5 CC-BY-SA-3.0
	CC-BY-SA-4.0 CC-PDDC CC0-1.0 CDDL-1.0 CDDL-1.1 CECILL-2.1 CECILL-B CECILL-C CPL-1.0 curl dtoa EFL-2.0 EPL-1.0 EPL-2.0 EUPL-1.1
	EUPL-1.2 FSFAP FSFUL FSFULLR FSFULLRWD FTL GFDL-1.1-only GFDL-1.1-or-later GFDL-1.2-only GFDL-1.2-or-later GFDL-1.3-only
	GFDL-1.3-or-later GPL-1.0-only GPL-1.0-or-later GPL-2.0-only GPL-2.0-or-later GPL-3.0-only GPL-3.0-or-later HPND
	HPND-sell-variant IBM-pibs ICU IJG Imlib2 Info-ZIP IPL-1.0 ISC JasPer-2.0 JSON LGPL-2.0-only LGPL-2.0-or-later LGPL-2.1-only
	LGPL-2.1-or-later LGPL-3.0-only LGPL-3.0-or-later Libpng libpng-2.0 libtiff LPPL-1.3a LPPL-1.3c MIT MIT-0 MIT-CMU MIT-Modern-Variant
	MIT-open-group MITNFA MPL-1.0 MPL-1.1 MPL-2.0 MPL-2.0-no-copyleft-exception MS-PL MulanPSL-2.0 NAIST-2003 NCSA Net-SNMP NTP
	OFL-1.0 OFL-1.1 OLDAP-2.8 OpenSSL OSL-2.1 OSL-3.0 PHP-3.0 PHP-3.01 PostgreSQL PSF-2.0 Python-2.0 Python-2.0.1 QPL-1.0 RSA-MD Ruby
	SAX-PD Sendmail SGI-B-2.0 Sleepycat SMLNJ snprintf SSH-OpenSSH SSH-short Spencer-94 SunPro TCL TCP-wrappers TU-Berlin-1.0 Unicode-3.0
	Unicode-DFS-2015 Unicode-DFS-2016 Unicode-TOU Unlicense UPL-1.0 Vim W3C W3C-19980720 WTFPL X11 X11-distribute-modifications-variant
	Xnet XFree86-1.1 Zend-2.0 Zlib zlib-acknowledgement ZPL-2.0 ZPL-2.1`

const exceptionList = `
	Autoconf-exception-2.0 Autoconf-exception-3.0 Bison-exception-2.2 Bootloader-exception Classpath-exception-2.0
	cryptsetup-OpenSSL-exception eCos-exception-2.0 Fawkes-Runtime-exception FLTK-exception Font-exception-2.0 freertos-exception-2.0
	GCC-exception-2.0 GCC-exception-3.1 GPL-3.0-linking-exception GPL-CC-1.0 LGPL-3.0-linking-exception Libtool-exception
	Linux-syscall-note LLVM-exception LZMA-exception OCaml-LGPL-linking-exception OpenJDK-assembly-exception-1.0
	PS-or-PDF-font-exception-20170817 Qt-GPL-exception-1.0 Qt-LGPL-exception-1.1 Swift-exception u-boot-exception-2.0
	Universal-FOSS-exception-1.0 vsftpd-openssl-exception x11vnc-openssl-exception`
