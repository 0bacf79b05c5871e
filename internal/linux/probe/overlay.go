package probe

import "golang.org/x/sys/unix"

// Overlay: the overlay file system is there, loaded as a module if need be.
func (k *Kernel) Overlay() bool {
	return k.overlay.get(func() bool {
		fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
		if err == nil {
			unix.Close(fs)
		}
		return err == nil || err != unix.ENODEV && exists("/sys/module/overlay")
	})
}

// OverlayContext: the overlay's options are checked one by one (Linux 6.5), and
// layers can be given each for itself, so that their number is not bounded by a page.
func (k *Kernel) OverlayContext() bool {
	return k.overlayContext.get(func() bool { return !k.option("no_such_option") && k.layerOption() })
}

// OverlayVolatile: overlays that never sync (Linux 5.10).
func (k *Kernel) OverlayVolatile() bool {
	return k.volatile.get(func() bool { return k.overlayOption("volatile", 10) })
}

// OverlayUserXattr: overlays that an unprivileged user namespace can write to (Linux 5.11).
func (k *Kernel) OverlayUserXattr() bool {
	return k.xattr.get(func() bool { return k.overlayOption("userxattr", 11) })
}

// overlayOption asks for an option. Before Linux 6.5 every option was taken down
// and judged only at the mount itself: there Linux 5.<since> must do.
func (k *Kernel) overlayOption(name string, since int) bool {
	if !k.Overlay() {
		return false
	}
	if k.OverlayContext() {
		return k.option(name)
	}
	return atLeast(5, since)
}

func (k *Kernel) option(name string) bool {
	return configure(func(fs int) error { return unix.FsconfigSetFlag(fs, name) })
}

func (k *Kernel) layerOption() bool {
	return configure(func(fs int) error { return unix.FsconfigSetString(fs, "lowerdir+", "/") })
}

// configure reports whether an overlay that is never made takes an option.
func configure(set func(fs int) error) bool {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return false
	}
	defer unix.Close(fs)
	return set(fs) == nil
}
