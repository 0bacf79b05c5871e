package packages

import (
	"context"
	"os"

	"berth/internal/linux/rootpath"
)

// readRPM notes rpm's database, which is not read.
func readRPM(_ context.Context, root *os.File, inv *Inventory) error {
	for _, dir := range [...]string{"var/lib/rpm", "usr/lib/sysimage/rpm"} {
		for _, name := range [...]string{"rpmdb.sqlite", "Packages.db", "Packages"} {
			if _, err := rootpath.Stat(root, dir+"/"+name); err == nil {
				inv.Unread = append(inv.Unread, "/"+dir+"/"+name+" (rpm)")
				return nil
			}
		}
	}
	return nil
}
