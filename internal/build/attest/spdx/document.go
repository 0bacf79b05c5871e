// Package spdx writes what is in an image as an SPDX document, version 2.3
// (https://spdx.github.io/spdx-spec/v2.3/), in JSON: a software bill of
// materials, which scanners compare with lists of known security problems.
//
// The document describes one thing, the image, and says that it contains the
// packages of its distribution. Each package has a package URL, which is what
// scanners look for, and the licence that it declares itself; nobody has
// concluded anything, so everything else is NOASSERTION. Equal input gives equal
// bytes, the time being input too.
package spdx

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"berth/internal/build/attest/packages"
	"berth/internal/image/attestation"
)

const noAssertion = "NOASSERTION"

// Document is an SPDX document. The names of the fields are the standard's.
type Document struct {
	SPDXVersion       string          `json:"spdxVersion"`
	DataLicense       string          `json:"dataLicense"`
	SPDXID            string          `json:"SPDXID"`
	Name              string          `json:"name"`
	DocumentNamespace string          `json:"documentNamespace"`
	Comment           string          `json:"comment,omitempty"`
	CreationInfo      CreationInfo    `json:"creationInfo"`
	Packages          []Package       `json:"packages"`
	Relationships     []Relationship  `json:"relationships"`
	ExtractedLicences []ExtractedText `json:"hasExtractedLicensingInfos,omitempty"`
}

// CreationInfo says who made the document, and when (UTC, whole seconds).
type CreationInfo struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

// Package is a package, or the image that holds the others.
type Package struct {
	SPDXID           string        `json:"SPDXID"`
	Name             string        `json:"name"`
	VersionInfo      string        `json:"versionInfo,omitempty"`
	Supplier         string        `json:"supplier,omitempty"`
	DownloadLocation string        `json:"downloadLocation"`
	FilesAnalyzed    bool          `json:"filesAnalyzed"`
	Homepage         string        `json:"homepage,omitempty"`
	SourceInfo       string        `json:"sourceInfo,omitempty"`
	LicenseConcluded string        `json:"licenseConcluded"`
	LicenseDeclared  string        `json:"licenseDeclared"`
	CopyrightText    string        `json:"copyrightText"`
	Summary          string        `json:"summary,omitempty"`
	ExternalRefs     []ExternalRef `json:"externalRefs,omitempty"`
	Purpose          string        `json:"primaryPackagePurpose,omitempty"`
}

// ExternalRef names a package elsewhere.
type ExternalRef struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

// Relationship joins two elements.
type Relationship struct {
	Element string `json:"spdxElementId"`
	Type    string `json:"relationshipType"`
	Related string `json:"relatedSpdxElement"`
}

// ExtractedText is a licence that is not on SPDX's list.
type ExtractedText struct {
	ID   string `json:"licenseId"`
	Text string `json:"extractedText"`
	Name string `json:"name,omitempty"`
}

// Options say what a document is about.
type Options struct {
	Name    string // of the image; "" if it has none
	Created time.Time
	Tool    string // with its version, as "berth-1.2"
}

const (
	documentID = "SPDXRef-DOCUMENT"
	imageID    = "SPDXRef-DocumentRoot-Image"
	distroID   = "SPDXRef-OperatingSystem"
)

// New makes the document of an inventory.
func New(inv *packages.Inventory, o Options) (*Document, error) {
	if o.Name == "" {
		o.Name = "image"
	}
	d := &Document{
		SPDXVersion: "SPDX-2.3", DataLicense: "CC0-1.0", SPDXID: documentID, Name: o.Name,
		CreationInfo: CreationInfo{Created: o.Created.UTC().Format("2006-01-02T15:04:05Z"), Creators: []string{"Tool: " + o.Tool}},
		Packages:     []Package{element(imageID, o.Name)},
	}
	d.Packages[0].Purpose = "CONTAINER"
	d.relate(documentID, "DESCRIBES", imageID)
	if inv.Distro.ID != "" {
		os := element(distroID, inv.Distro.ID)
		os.VersionInfo, os.Summary, os.Purpose = inv.Distro.VersionID, inv.Distro.Name, "OPERATING_SYSTEM"
		d.Packages = append(d.Packages, os)
		d.relate(imageID, "CONTAINS", distroID)
	}
	if len(inv.Unread) > 0 {
		d.Comment = "Not read, so that packages are missing here: " + strings.Join(inv.Unread, ", ")
	}
	licences := newLicences()
	ids := map[string]int{}
	for i := range inv.Packages {
		p := packageOf(&inv.Packages[i], inv.Distro, licences)
		if n := ids[p.SPDXID]; n > 0 { // installed twice, or names that differ in what an id cannot hold
			ids[p.SPDXID]++
			p.SPDXID += "-" + strconv.Itoa(n+1)
		} else {
			ids[p.SPDXID] = 1
		}
		d.Packages = append(d.Packages, p)
		d.relate(imageID, "CONTAINS", p.SPDXID)
	}
	d.ExtractedLicences = licences.extracted()
	return d, d.setNamespace()
}

func (d *Document) relate(element, how, related string) {
	d.Relationships = append(d.Relationships, Relationship{element, how, related})
}

// setNamespace gives the document a name that no other document has: one made
// from its content, below the address that SPDX gives to those without their own.
func (d *Document) setNamespace() error {
	b, err := json.Marshal(d)
	if err != nil {
		return err
	}
	u := sha256.Sum256(b)
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80 // a UUID of version 8 (RFC 9562)
	d.DocumentNamespace = fmt.Sprintf("https://spdx.org/spdxdocs/berth-%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:16])
	return nil
}

// element is a package of which nothing but its name is known.
func element(id, name string) Package {
	return Package{
		SPDXID: id, Name: name, Supplier: noAssertion, DownloadLocation: noAssertion,
		LicenseConcluded: noAssertion, LicenseDeclared: noAssertion, CopyrightText: noAssertion,
	}
}

func packageOf(p *packages.Package, distro packages.Distro, licences *licences) Package {
	out := element(reference("Package", p.Kind, p.Name, p.Version, p.Arch), p.Name)
	out.VersionInfo = p.Version
	if p.Epoch != "" && p.Epoch != "0" {
		out.VersionInfo = p.Epoch + ":" + p.Version
	}
	out.Summary, out.Supplier = p.Summary, supplier(p.Maintainer)
	if strings.HasPrefix(p.Homepage, "https://") || strings.HasPrefix(p.Homepage, "http://") {
		out.Homepage = p.Homepage
	}
	if p.Source != "" {
		out.SourceInfo = strings.TrimSpace("built from " + p.Source + " " + p.SourceVersion)
	}
	out.LicenseDeclared = licences.declared(p.Licences)
	out.ExternalRefs = []ExternalRef{{Category: "PACKAGE-MANAGER", Type: "purl", Locator: purl(p, distro)}}
	return out
}

// purl names a package in the way of its kind (purl-spec, "types").
func purl(p *packages.Package, distro packages.Distro) string {
	u := attestation.PackageURL{Type: p.Kind, Namespace: strings.ToLower(distro.ID), Name: p.Name, Version: p.Version,
		Qualifiers: map[string]string{"arch": p.Arch}}
	if u.Namespace == "" && p.Kind == packages.Deb {
		u.Namespace = "debian"
	}
	if u.Namespace == "" && p.Kind == packages.Apk {
		u.Namespace = "alpine"
	}
	if distro.ID != "" && distro.VersionID != "" {
		u.Qualifiers["distro"] = distro.ID + "-" + distro.VersionID
	}
	if p.Epoch != "0" {
		u.Qualifiers["epoch"] = p.Epoch
	}
	if p.Source != p.Name || p.SourceVersion != p.Version {
		u.Qualifiers["upstream"] = p.Source
		if p.Source != "" && p.SourceVersion != "" && p.SourceVersion != p.Version {
			u.Qualifiers["upstream"] += "@" + p.SourceVersion
		}
	}
	return u.String()
}

// supplier is who answers for a package, in SPDX's form. Whether that is a
// person nobody writes down: teams mostly call themselves so.
func supplier(maintainer string) string {
	name, mail, ok := strings.Cut(maintainer, "<")
	name, mail = strings.TrimSpace(name), strings.TrimSuffix(strings.TrimSpace(mail), ">")
	if name == "" {
		return noAssertion
	}
	kind := "Person: "
	for word := range strings.FieldsSeq(strings.ToLower(name)) {
		switch strings.Trim(word, "(),.") {
		case "team", "maintainers", "developers", "group", "project", "packagers", "inc", "ltd", "llc", "gmbh", "foundation":
			kind = "Organization: "
		}
	}
	if !ok { // a name without a mail address is a vendor's
		kind = "Organization: "
	}
	if mail == "" || strings.ContainsAny(mail, "()<> ") {
		return kind + name
	}
	return kind + name + " (" + mail + ")"
}

// reference makes an element's id: letters, digits, "." and "-" alone.
func reference(words ...string) string {
	return "SPDXRef-" + idString(strings.Join(words, "-"))
}

// idString replaces what an id cannot have.
func idString(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, s)
}

// shortSum tells texts apart whose ids would be the same.
func shortSum(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:4])
}
