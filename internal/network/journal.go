package network

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/ident"
	"berth/internal/jsontext"
)

// journal is what one container holds of the network. The file is made empty
// before an address or port is taken, and completed with what was taken before
// anything is made in the kernel.
type journal struct {
	ID      string
	Network string     // "bridge"
	Veth    string     // the cable's end at the bridge
	Address netip.Addr // the zero value until it is complete
	Ports   []reserved
}

// reserved is one published port.
type reserved struct {
	Proto         string
	HostIP        netip.Addr // 0.0.0.0: every address of the host
	HostPort      uint16
	ContainerPort uint16
}

func (s *Store) journalFile(id string) string { return filepath.Join(s.endpointDir(), id+".json") }

// openJournal begins a container's journal; the descriptor serves complete.
// What an earlier run of the same container has left is taken back first.
func (s *Store) openJournal(j *journal) (fd int, err error) {
	path := s.journalFile(j.ID)
	for range 3 {
		fd, err = unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
		switch err {
		case nil:
			return fd, nil
		case unix.ENOENT:
			if err := s.makeDirs(); err != nil {
				return -1, err
			}
		case unix.EEXIST:
			if err := s.detach(j.ID); err != nil {
				return -1, err
			}
		}
	}
	return -1, &os.PathError{Op: "create", Path: path, Err: err}
}

// complete writes the journal, in one step.
func (s *Store) complete(fd int, j *journal) error {
	if _, err := unix.Write(fd, j.text()); err != nil {
		return &os.PathError{Op: "write", Path: s.journalFile(j.ID), Err: err}
	}
	return nil
}

func (j *journal) text() []byte {
	b := jsontext.AppendString(append(make([]byte, 0, 512), `{"ID":`...), j.ID)
	b = jsontext.AppendString(append(b, `,"Network":`...), j.Network)
	b = jsontext.AppendString(append(b, `,"Veth":`...), j.Veth)
	b = jsontext.AppendString(append(b, `,"Address":`...), j.Address.String())
	b = append(b, `,"Ports":[`...)
	for i, p := range j.Ports {
		if i > 0 {
			b = append(b, ',')
		}
		b = jsontext.AppendString(append(b, `{"Proto":`...), p.Proto)
		b = jsontext.AppendString(append(b, `,"Host":`...), netip.AddrPortFrom(p.HostIP, p.HostPort).String())
		b = strconv.AppendUint(append(b, `,"Container":`...), uint64(p.ContainerPort), 10)
		b = append(b, '}')
	}
	return append(b, "]}\n"...)
}

func parseJournal(text []byte) (j *journal, err error) {
	j = &journal{}
	d := jsontext.NewDecoder(text)
	for more := d.Open('{'); more; more = d.More('}') {
		switch string(d.Key()) {
		case "ID":
			j.ID = d.Text()
		case "Network":
			j.Network = d.Text()
		case "Veth":
			j.Veth = d.Text()
		case "Address":
			var bad error
			j.Address, bad = netip.ParseAddr(d.Text())
			err = errors.Join(err, bad)
		case "Ports":
			for more := d.Open('['); more; more = d.More(']') {
				p, perr := parseReserved(&d)
				j.Ports, err = append(j.Ports, p), errors.Join(err, perr)
			}
		default:
			d.Skip()
		}
	}
	return j, errors.Join(d.Err(), err)
}

func parseReserved(d *jsontext.Decoder) (p reserved, err error) {
	for more := d.Open('{'); more; more = d.More('}') {
		switch string(d.Key()) {
		case "Proto":
			p.Proto = d.Text()
		case "Host":
			var ap netip.AddrPort
			ap, err = netip.ParseAddrPort(d.Text())
			p.HostIP, p.HostPort = ap.Addr(), ap.Port()
		case "Container":
			p.ContainerPort = uint16(d.Int())
		default:
			d.Skip()
		}
	}
	if err == nil && (p.Proto != "tcp" && p.Proto != "udp" || !p.HostIP.Is4() || p.HostPort == 0 || p.ContainerPort == 0) {
		err = errors.New("not a published port")
	}
	return p, err
}

// readJournal returns nil if the container holds nothing. A journal that was
// not completed, as its writer was killed, says only whose it is.
func (s *Store) readJournal(id string) (*journal, error) {
	text, err := readSmall(s.journalFile(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	j, err := parseJournal(text)
	if err != nil || j.ID != id || !j.Address.Is4() {
		j = &journal{ID: id}
	}
	return j, nil
}

// journals returns those of all containers.
func (s *Store) journals() (list []*journal, err error) {
	entries, err := os.ReadDir(s.endpointDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || !ident.Valid(id) {
			continue
		}
		if j, err := s.readJournal(id); err == nil && j != nil {
			list = append(list, j)
		}
	}
	return list, nil
}
