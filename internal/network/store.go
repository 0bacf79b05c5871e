package network

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"berth/internal/atomicfile"
	"berth/internal/errdefs"
	"berth/internal/jsontext"
	"berth/internal/linux/nftables"
)

// Store is the default network of one engine. It keeps nothing open.
type Store struct {
	data  string // ROOT/network
	state string // STATE/network
	// suffix tells engines with other state roots apart, "" for the default one.
	suffix string
	// dialFilter opens nf_tables; a test replaces it to have a kernel without.
	dialFilter func() (*nftables.Conn, error)
}

// DefaultStateRoot is the state root whose bridge has the plain name.
const DefaultStateRoot = "/run/berth"

// Open returns the store below the roots, without I/O.
func Open(dataRoot, stateRoot string) *Store {
	s := &Store{data: filepath.Join(dataRoot, "network"), state: filepath.Join(stateRoot, "network"), dialFilter: nftables.Dial}
	if filepath.Clean(stateRoot) != DefaultStateRoot {
		sum := sha256.Sum256([]byte(filepath.Clean(stateRoot)))
		s.suffix = "-" + hex.EncodeToString(sum[:4])
	}
	return s
}

// Bridge returns the name of the bridge.
func (s *Store) Bridge() string {
	if s.suffix == "" {
		return "berth0"
	}
	return "br" + s.suffix
}

// table returns the name of the nf_tables table.
func (s *Store) table() string { return "berth" + s.suffix }

// ID returns the identifier of one of this engine's networks. It is derived, as
// "host" and "none" exist without a file.
func (s *Store) ID(name string) string {
	sum := sha256.Sum256([]byte(s.data + "\x00" + name))
	return hex.EncodeToString(sum[:])
}

// Settings are what stays the same for the network's life.
type Settings struct {
	ID      string // 64 hex digits, as Docker's networks have
	Created time.Time
	Subnet  netip.Prefix
	Gateway netip.Addr // the bridge's own address
}

// Inspect returns the settings, or NotFound before the first container.
func (s *Store) Inspect() (Settings, error) {
	var c Settings
	text, err := readSmall(s.settingsFile())
	if errors.Is(err, fs.ErrNotExist) {
		return c, errdefs.New(errdefs.NotFound, "the network bridge has not been made yet")
	}
	if err == nil {
		c, err = parseSettings(text)
	}
	return c, errdefs.Wrap(err, "read", s.settingsFile())
}

func (s *Store) settingsFile() string { return filepath.Join(s.data, "bridge.json") }

func (s *Store) writeSettings(c Settings) error {
	if err := os.MkdirAll(s.data, 0o700); err != nil {
		return err
	}
	return atomicfile.Write(s.settingsFile(), c.text(), 0o600, atomicfile.Atomic)
}

func (c Settings) text() []byte {
	b := jsontext.AppendString([]byte(`{"ID":`), c.ID)
	b = jsontext.AppendTime(append(b, `,"Created":`...), c.Created)
	b = jsontext.AppendString(append(b, `,"Subnet":`...), c.Subnet.String())
	b = jsontext.AppendString(append(b, `,"Gateway":`...), c.Gateway.String())
	return append(b, "}\n"...)
}

func parseSettings(text []byte) (c Settings, err error) {
	var subnet, gateway error
	d := jsontext.NewDecoder(text)
	for more := d.Open('{'); more; more = d.More('}') {
		switch string(d.Key()) {
		case "ID":
			c.ID = d.Text()
		case "Created":
			c.Created = d.Time()
		case "Subnet":
			c.Subnet, subnet = netip.ParsePrefix(d.Text())
		case "Gateway":
			c.Gateway, gateway = netip.ParseAddr(d.Text())
		default:
			d.Skip()
		}
	}
	if err := errors.Join(d.Err(), subnet, gateway); err != nil {
		return c, err
	}
	if !c.Subnet.IsValid() || !c.Subnet.Addr().Is4() || c.Subnet.Bits() > 28 || c.Subnet != c.Subnet.Masked() || !c.Subnet.Contains(c.Gateway) {
		return c, errdefs.New(errdefs.Internal, "not the settings of a network")
	}
	return c, nil
}

func (s *Store) addressDir() string  { return filepath.Join(s.state, "bridge") }
func (s *Store) portDir() string     { return filepath.Join(s.state, "ports") }
func (s *Store) endpointDir() string { return filepath.Join(s.state, "endpoints") }

func (s *Store) makeDirs() error {
	for _, d := range []string{s.addressDir(), s.portDir(), s.endpointDir()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return errdefs.Wrap(err, "prepare", "the network's state directory")
		}
	}
	return nil
}
