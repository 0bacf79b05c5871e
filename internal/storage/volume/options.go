package volume

import (
	"strings"

	"berth/internal/errdefs"
)

// checkDriver refuses driver options that Docker's "local" driver does not
// have: type, device and o say what to mount instead of a directory of berth's.
func checkDriver(options map[string]string) error {
	for key, value := range options {
		switch key {
		case "type", "device", "o":
			if strings.IndexByte(value, 0) >= 0 {
				return errdefs.New(errdefs.InvalidArgument, "invalid value of option %q", key)
			}
		default:
			return errdefs.New(errdefs.InvalidArgument, "invalid option: %q", key).WithHint("a local volume has the options type, device and o")
		}
	}
	if len(options) == 0 {
		return nil
	}
	for _, key := range [...]string{"type", "device"} {
		if options[key] == "" {
			return errdefs.New(errdefs.InvalidArgument, "missing required option: %q", key)
		}
	}
	return nil
}

// Mount tells what a volume made with options shows instead of its own
// directory: file system type, source and options, as of mount(8). ok is false
// for an ordinary volume. A bind mount has "bind" or "rbind" among its options.
func (v *Volume) Mount() (fstype, source string, options []string, ok bool) {
	if !v.elsewhere() {
		return "", "", nil, false
	}
	if o := v.Options["o"]; o != "" {
		options = strings.Split(o, ",")
	}
	return v.Options["type"], v.Options["device"], options, true
}

// elsewhere reports whether the volume's files are not in its own directory.
func (v *Volume) elsewhere() bool { return v.Options["type"] != "" }
