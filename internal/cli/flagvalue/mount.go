package flagvalue

import (
	"encoding/csv"
	"fmt"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"berth/internal/container"
	"berth/internal/units"
)

// Mounts collects --mount values.
type Mounts []container.Mount

// Set parses one mount.
func (m *Mounts) Set(s string) error {
	v, err := ParseMount(s)
	if err != nil {
		return err
	}
	*m = append(*m, v)
	return nil
}

// Type names the value in the help.
func (m *Mounts) Type() string { return "mount" }

// String returns nothing: there is no default mount.
func (m *Mounts) String() string { return "" }

// ParseMount parses "type=bind,source=/a,target=/b,readonly": fields of a line
// of CSV, so that a value with a comma can be quoted. The type is "volume"
// unless said.
func ParseMount(s string) (container.Mount, error) {
	m := container.Mount{Type: "volume"}
	fields, err := csv.NewReader(strings.NewReader(s)).Read()
	if err != nil {
		return m, fmt.Errorf("invalid mount: %w", err)
	}
	used := mountKeys{}
	for _, field := range fields {
		key, value, hasValue := strings.Cut(field, "=")
		if err := setMount(&m, &used, strings.ToLower(key), value, hasValue, field); err != nil {
			return m, err
		}
	}
	return m, checkMount(&m, used)
}

// mountKeys remembers which type's options were used.
type mountKeys struct{ bind, volume, tmpfs bool }

func setMount(m *container.Mount, used *mountKeys, key, value string, hasValue bool, field string) error {
	if !hasValue && !mountFlag(key) {
		return fmt.Errorf("invalid field '%s' must be a key=value pair", field)
	}
	switch key {
	case "type":
		m.Type = strings.ToLower(value)
	case "source", "src":
		m.Source = value
		if strings.HasPrefix(value, ".") {
			if abs, err := filepath.Abs(value); err == nil {
				m.Source = abs
			}
		}
	case "target", "dst", "destination":
		m.Target = value
	case "readonly", "ro":
		return setFlag(&m.ReadOnly, key, value, hasValue)
	case "consistency": // a setting of file sharing with virtual machines: nothing to do here
	case "bind-propagation":
		used.bind, m.Propagation = true, value
	case "bind-nonrecursive":
		used.bind = true
		return setFlag(&m.NonRecursive, key, value, hasValue)
	case "bind-recursive":
		used.bind = true
		return setRecursive(m, value)
	case "volume-nocopy":
		used.volume = true
		return setFlag(&m.NoCopy, key, value, hasValue)
	case "volume-driver":
		used.volume = true
		if value != "" && value != "local" {
			return fmt.Errorf("volume driver '%s' is not supported: berth has 'local'", value)
		}
	case "tmpfs-size":
		used.tmpfs = true
		return setSize(m, value)
	case "tmpfs-mode":
		used.tmpfs = true
		return setMode(m, value)
	default:
		return fmt.Errorf("unexpected key '%s' in '%s'", key, field)
	}
	return nil
}

func mountFlag(key string) bool {
	return key == "readonly" || key == "ro" || key == "volume-nocopy" || key == "bind-nonrecursive"
}

func setFlag(to *bool, key, value string, hasValue bool) error {
	if !hasValue {
		*to = true
		return nil
	}
	b, err := strconv.ParseBool(value)
	if err != nil {
		return fmt.Errorf("invalid value for %s: %s", key, value)
	}
	*to = b
	return nil
}

func setRecursive(m *container.Mount, value string) error {
	switch value {
	case "enabled", "writable":
	case "disabled":
		m.NonRecursive = true
	default:
		return fmt.Errorf("invalid value for bind-recursive: %s (must be \"enabled\", \"disabled\" or \"writable\")", value)
	}
	return nil
}

func setSize(m *container.Mount, value string) error {
	n, err := units.ParseBytes(value)
	if err != nil {
		return fmt.Errorf("invalid value for tmpfs-size: %s", value)
	}
	m.TmpfsSize = n
	return nil
}

func setMode(m *container.Mount, value string) error {
	n, err := strconv.ParseUint(value, 8, 32)
	if err != nil || n > 0o7777 {
		return fmt.Errorf("invalid value for tmpfs-mode: %s", value)
	}
	m.TmpfsMode = uint32(n)
	return nil
}

func checkMount(m *container.Mount, used mountKeys) error {
	switch {
	case m.Target == "":
		return fmt.Errorf("target is required")
	case !path.IsAbs(m.Target):
		return fmt.Errorf("invalid mount path: '%s' mount path must be absolute", m.Target)
	case m.Type != "bind" && m.Type != "volume" && m.Type != "tmpfs":
		return fmt.Errorf("mount type '%s' is not supported: use bind, volume or tmpfs", m.Type)
	case used.volume && m.Type != "volume":
		return fmt.Errorf("cannot mix 'volume-*' options with mount type '%s'", m.Type)
	case used.bind && m.Type != "bind":
		return fmt.Errorf("cannot mix 'bind-*' options with mount type '%s'", m.Type)
	case used.tmpfs && m.Type != "tmpfs":
		return fmt.Errorf("cannot mix 'tmpfs-*' options with mount type '%s'", m.Type)
	case m.Type == "bind" && m.Source == "":
		return fmt.Errorf("source is required for mount type 'bind'")
	case m.Type == "bind" && !path.IsAbs(m.Source):
		return fmt.Errorf("invalid mount path: '%s' mount path must be absolute", m.Source)
	case m.Type == "tmpfs" && m.Source != "":
		return fmt.Errorf("source is not allowed for mount type 'tmpfs'")
	}
	return checkPropagation(m.Propagation)
}

func checkPropagation(p string) error {
	switch p {
	case "", "private", "rprivate", "shared", "rshared", "slave", "rslave":
		return nil
	}
	return fmt.Errorf("invalid propagation mode: %s", p)
}
