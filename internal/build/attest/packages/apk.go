package packages

import (
	"context"
	"os"
	"strings"
)

// readApk reads the database of apk(8).
func readApk(_ context.Context, root *os.File, inv *Inventory) error {
	b, err := file(root, "lib/apk/db/installed", maxDatabase)
	if err == nil {
		inv.Packages = append(inv.Packages, parseApk(string(b))...)
	}
	return err
}

// parseApk reads paragraphs of lines "X:value" (apk-package(5), "installed").
// After the lines about a package come those about its files (F, R, Z, a, M).
func parseApk(text string) []Package {
	var all []Package
	for paragraph := range paragraphs(text) {
		p := Package{Kind: Apk}
		for line := range strings.Lines(paragraph) {
			key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
			if !ok || len(key) != 1 {
				continue
			}
			if key == "F" {
				break
			}
			switch key {
			case "P":
				p.Name = value
			case "V":
				p.Version = value
			case "A":
				p.Arch = value
			case "o":
				p.Source = value
			case "T":
				p.Summary = value
			case "U":
				p.Homepage = value
			case "m":
				p.Maintainer = value
			case "L":
				p.Licences = []string{value}
			}
		}
		if !p.clean() {
			continue
		}
		if p.Source == "" {
			p.Source = p.Name
		}
		p.SourceVersion = p.Version
		all = append(all, p)
		if len(all) > maxPackages {
			break // told by Read
		}
	}
	return all
}
