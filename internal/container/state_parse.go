package container

import (
	"bytes"
	"hash/crc32"
	"strconv"

	"berth/internal/errdefs"
	"berth/internal/jsontext"
)

// parseState reads a state.json. whole reports whether the checksum fits: if it
// does not, the text was being overwritten or was changed by hand.
func parseState(text []byte) (s State, whole bool, err error) {
	d := jsontext.NewDecoder(text)
	for more := d.Open('{'); more; more = d.More('}') {
		parseStateMember(&d, &s)
	}
	if err := d.Err(); err != nil {
		return State{}, false, err
	}
	if !d.End() || s.ID == "" || s.Status == "" {
		return State{}, false, errdefs.New(errdefs.Internal, "not the state of a container")
	}
	return s, sumFits(text), nil
}

func sumFits(text []byte) bool {
	at := bytes.LastIndex(text, []byte(sumMember))
	if at < 0 {
		return false
	}
	digits := text[at+len(sumMember):]
	if len(digits) < sumDigits {
		return false
	}
	sum, err := strconv.ParseUint(string(digits[:sumDigits]), 16, 32)
	return err == nil && uint32(sum) == crc32.ChecksumIEEE(text[:at])
}

func parseStateMember(d *jsontext.Decoder, s *State) {
	switch string(d.Key()) {
	case "ID":
		s.ID = d.Text()
	case "Name":
		s.Name = d.Text()
	case "Created":
		s.Created = d.Time()
	case "Image":
		s.Image = d.Text()
	case "ImageID":
		s.ImageID = d.Text()
	case "Command":
		s.Command = d.Text()
	case "Status":
		s.Status = Status(d.Text())
	case "Pid":
		s.PID = int(d.Int())
	case "PidStart":
		s.PIDStart = d.Uint()
	case "MonitorPid":
		s.MonitorPID = int(d.Int())
	case "MonitorStart":
		s.MonitorStart = d.Uint()
	case "BootID":
		s.BootID = d.Text()
	case "ExitCode":
		s.ExitCode = int(d.Int())
	case "Error":
		s.Error = d.Text()
	case "OOMKilled":
		s.OOMKilled = d.Bool()
	case "StartedAt":
		s.StartedAt = d.Time()
	case "FinishedAt":
		s.FinishedAt = d.Time()
	case "RestartCount":
		s.RestartCount = int(d.Int())
	case "Stopped":
		s.StoppedByAPI = d.Bool()
	case "AutoRemove":
		s.AutoRemove = d.Bool()
	case "NetworkMode":
		s.NetworkMode = d.Text()
	case "Ports":
		s.Ports = parseList(d, parsePort)
	case "Labels":
		s.Labels = parseMap(d, (*jsontext.Decoder).Text)
	case "Mounts":
		s.MountNames = parseList(d, (*jsontext.Decoder).Text)
	case "Network":
		s.Network = parseNetwork(d)
	default:
		d.Skip()
	}
}

func parseList[V any](d *jsontext.Decoder, value func(*jsontext.Decoder) V) (list []V) {
	if d.Null() {
		return nil
	}
	list = []V{}
	for more := d.Open('['); more; more = d.More(']') {
		list = append(list, value(d))
	}
	return list
}

func parseMap[V any](d *jsontext.Decoder, value func(*jsontext.Decoder) V) map[string]V {
	if d.Null() {
		return nil
	}
	m := map[string]V{}
	for more := d.Open('{'); more; more = d.More('}') {
		k := string(d.Key())
		m[k] = value(d)
	}
	return m
}

func parsePort(d *jsontext.Decoder) (p Port) {
	for more := d.Open('{'); more; more = d.More('}') {
		switch string(d.Key()) {
		case "IP":
			p.IP = d.Text()
		case "PrivatePort":
			p.PrivatePort = uint16(d.Uint())
		case "PublicPort":
			p.PublicPort = uint16(d.Uint())
		case "Type":
			p.Type = d.Text()
		default:
			d.Skip()
		}
	}
	return p
}

func parseNetwork(d *jsontext.Decoder) (n Network) {
	for more := d.Open('{'); more; more = d.More('}') {
		switch string(d.Key()) {
		case "Bridge":
			n.Bridge = d.Text()
		case "SandboxID":
			n.SandboxID = d.Text()
		case "Ports":
			n.Ports = parseMap(d, func(d *jsontext.Decoder) []PortBinding { return parseList(d, parseBinding) })
		case "Networks":
			n.Networks = parseMap(d, parseEndpoint)
		default:
			d.Skip()
		}
	}
	return n
}

func parseBinding(d *jsontext.Decoder) (p PortBinding) {
	for more := d.Open('{'); more; more = d.More('}') {
		switch string(d.Key()) {
		case "HostIp":
			p.HostIP = d.Text()
		case "HostPort":
			p.HostPort = d.Text()
		default:
			d.Skip()
		}
	}
	return p
}

func parseEndpoint(d *jsontext.Decoder) (e Endpoint) {
	for more := d.Open('{'); more; more = d.More('}') {
		switch string(d.Key()) {
		case "NetworkID":
			e.NetworkID = d.Text()
		case "EndpointID":
			e.EndpointID = d.Text()
		case "Gateway":
			e.Gateway = d.Text()
		case "IPAddress":
			e.IPAddress = d.Text()
		case "IPPrefixLen":
			e.IPPrefixLen = int(d.Int())
		case "MacAddress":
			e.MacAddress = d.Text()
		default:
			d.Skip()
		}
	}
	return e
}
