package container

import (
	"hash/crc32"
	"maps"
	"slices"
	"strconv"

	"berth/internal/jsontext"
)

// state.json is one line of JSON that jq and encoding/json read. Its last
// member is a checksum of the text before it: the file is overwritten in place
// (see writeState), and a reader that meets such a write must notice.

// sumMember stands before the eight hexadecimal digits of the checksum.
const sumMember = `,"Sum":"`

// sumDigits is the length of the checksum in hexadecimal.
const sumDigits = 8

func appendState(b []byte, s *State) []byte {
	b = appendText(append(b, '{'), `"ID":`, s.ID)
	b = appendText(b, `,"Name":`, s.Name)
	b = jsontext.AppendTime(append(b, `,"Created":`...), s.Created)
	b = appendText(b, `,"Image":`, s.Image)
	b = appendText(b, `,"ImageID":`, s.ImageID)
	b = appendText(b, `,"Command":`, s.Command)
	b = appendText(b, `,"Status":`, string(s.Status))
	b = appendInt(b, `,"Pid":`, s.PID)
	b = strconv.AppendUint(append(b, `,"PidStart":`...), s.PIDStart, 10)
	b = appendInt(b, `,"MonitorPid":`, s.MonitorPID)
	b = strconv.AppendUint(append(b, `,"MonitorStart":`...), s.MonitorStart, 10)
	b = appendText(b, `,"BootID":`, s.BootID)
	b = appendInt(b, `,"ExitCode":`, s.ExitCode)
	b = appendText(b, `,"Error":`, s.Error)
	b = jsontext.AppendBool(append(b, `,"OOMKilled":`...), s.OOMKilled)
	b = jsontext.AppendTime(append(b, `,"StartedAt":`...), s.StartedAt)
	b = jsontext.AppendTime(append(b, `,"FinishedAt":`...), s.FinishedAt)
	b = appendInt(b, `,"RestartCount":`, s.RestartCount)
	b = jsontext.AppendBool(append(b, `,"Stopped":`...), s.StoppedByAPI)
	b = jsontext.AppendBool(append(b, `,"AutoRemove":`...), s.AutoRemove)
	b = appendText(b, `,"NetworkMode":`, s.NetworkMode)
	if len(s.Ports) > 0 {
		b = appendList(append(b, `,"Ports":`...), s.Ports, appendPort)
	}
	if len(s.Labels) > 0 {
		b = appendMap(append(b, `,"Labels":`...), s.Labels, jsontext.AppendString[string])
	}
	if len(s.MountNames) > 0 {
		b = appendList(append(b, `,"Mounts":`...), s.MountNames, jsontext.AppendString[string])
	}
	b = appendNetwork(append(b, `,"Network":`...), &s.Network)
	sum := crc32.ChecksumIEEE(b)
	b = append(b, sumMember...)
	for shift := 28; shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[sum>>shift&0xf])
	}
	return append(b, '"', '}', '\n')
}

func appendText(b []byte, key, value string) []byte {
	return jsontext.AppendString(append(b, key...), value)
}

func appendInt(b []byte, key string, value int) []byte {
	return strconv.AppendInt(append(b, key...), int64(value), 10)
}

func appendList[V any](b []byte, list []V, value func([]byte, V) []byte) []byte {
	b = append(b, '[')
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = value(b, v)
	}
	return append(b, ']')
}

// appendMap writes members in the order of their names, so that equal states are equal files.
func appendMap[V any](b []byte, m map[string]V, value func([]byte, V) []byte) []byte {
	b = append(b, '{')
	for i, k := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = value(append(jsontext.AppendString(b, k), ':'), m[k])
	}
	return append(b, '}')
}

func appendPort(b []byte, p Port) []byte {
	b = appendText(append(b, '{'), `"IP":`, p.IP)
	b = appendInt(b, `,"PrivatePort":`, int(p.PrivatePort))
	b = appendInt(b, `,"PublicPort":`, int(p.PublicPort))
	return append(appendText(b, `,"Type":`, p.Type), '}')
}

func appendNetwork(b []byte, n *Network) []byte {
	b = appendText(append(b, '{'), `"Bridge":`, n.Bridge)
	b = appendText(b, `,"SandboxID":`, n.SandboxID)
	if len(n.Ports) > 0 {
		b = appendMap(append(b, `,"Ports":`...), n.Ports, appendBindings)
	}
	if len(n.Networks) > 0 {
		b = appendMap(append(b, `,"Networks":`...), n.Networks, appendEndpoint)
	}
	return append(b, '}')
}

func appendBindings(b []byte, list []PortBinding) []byte {
	if list == nil {
		return append(b, "null"...)
	}
	return appendList(b, list, func(b []byte, p PortBinding) []byte {
		b = appendText(append(b, '{'), `"HostIp":`, p.HostIP)
		return append(appendText(b, `,"HostPort":`, p.HostPort), '}')
	})
}

func appendEndpoint(b []byte, e Endpoint) []byte {
	b = appendText(append(b, '{'), `"NetworkID":`, e.NetworkID)
	b = appendText(b, `,"EndpointID":`, e.EndpointID)
	b = appendText(b, `,"Gateway":`, e.Gateway)
	b = appendText(b, `,"IPAddress":`, e.IPAddress)
	b = appendInt(b, `,"IPPrefixLen":`, e.IPPrefixLen)
	return append(appendText(b, `,"MacAddress":`, e.MacAddress), '}')
}
