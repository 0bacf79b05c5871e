package netlink

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// ifinfo is struct ifinfomsg: the fixed part of every message about a link.
func ifinfo(index int32, flags, change uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint32(b[8:], flags)
	binary.NativeEndian.PutUint32(b[12:], change)
	return b
}

// Attribute types inside IFLA_LINKINFO (linux/if_link.h).
const (
	infoKind     = 1
	infoData     = 2
	vethInfoPeer = 1
)

// NewBridge makes a bridge and raises it. One without a hardware address of its
// own takes the lowest of its ports and so changes it as containers come and
// go, which breaks everyone's neighbour tables.
func NewBridge(name string, mac []byte) *Message {
	m := NewMessage(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, ifinfo(0, unix.IFF_UP, unix.IFF_UP)).Text(unix.IFLA_IFNAME, name).
		Attr(unix.IFLA_ADDRESS, mac)
	return m.Nest(unix.IFLA_LINKINFO, func() { m.Text(infoKind, "bridge") })
}

// Veth is a cable between a bridge here and another network namespace.
type Veth struct {
	Name    string // of this end
	Bridge  int32  // index of the bridge it is plugged into
	Peer    string // name of the other end
	PeerMAC []byte
	PeerNS  int // descriptor of the other namespace
}

// NewVeth makes the cable, plugs this end in and raises it. The other end
// cannot be raised by the same message (the kernel answers ENOTCONN), and its
// index is the kernel's choice.
func NewVeth(v Veth) *Message {
	m := NewMessage(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, ifinfo(0, unix.IFF_UP, unix.IFF_UP)).
		Text(unix.IFLA_IFNAME, v.Name).U32(unix.IFLA_MASTER, uint32(v.Bridge))
	return m.Nest(unix.IFLA_LINKINFO, func() {
		m.Text(infoKind, "veth")
		m.Nest(infoData, func() {
			m.Nest(vethInfoPeer, func() {
				m.Raw(ifinfo(0, 0, 0))
				m.Text(unix.IFLA_IFNAME, v.Peer).Attr(unix.IFLA_ADDRESS, v.PeerMAC).U32(unix.IFLA_NET_NS_FD, uint32(v.PeerNS))
			})
		})
	})
}

// PlugIn makes a link a port of a bridge.
func PlugIn(name string, bridge int32) *Message {
	return NewMessage(unix.RTM_NEWLINK, 0, ifinfo(0, 0, 0)).Text(unix.IFLA_IFNAME, name).U32(unix.IFLA_MASTER, uint32(bridge))
}

// Hairpin lets a bridge send a frame back through the port it came from.
func Hairpin(name string) *Message {
	const infoSlaveKind, infoSlaveData, portMode = 4, 5, 4 // IFLA_INFO_SLAVE_*, IFLA_BRPORT_MODE
	m := NewMessage(unix.RTM_NEWLINK, 0, ifinfo(0, 0, 0)).Text(unix.IFLA_IFNAME, name)
	return m.Nest(unix.IFLA_LINKINFO, func() {
		m.Text(infoSlaveKind, "bridge")
		m.Nest(infoSlaveData, func() { m.Attr(portMode, []byte{1}) })
	})
}

// Up raises a link.
func Up(index int32) *Message {
	return NewMessage(unix.RTM_NEWLINK, 0, ifinfo(index, unix.IFF_UP, unix.IFF_UP))
}

// Delete removes a link by name.
func Delete(name string) *Message {
	return NewMessage(unix.RTM_DELLINK, 0, ifinfo(0, 0, 0)).Text(unix.IFLA_IFNAME, name)
}

// AddAddress gives a link an IPv4 address with its prefix.
func AddAddress(index int32, p netip.Prefix) *Message {
	b := make([]byte, unix.SizeofIfAddrmsg)
	b[0], b[1] = unix.AF_INET, byte(p.Bits())
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	a := p.Addr().As4()
	last := binary.BigEndian.Uint32(a[:]) | uint32(1<<(32-p.Bits())-1)
	return NewMessage(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, b).Attr(unix.IFA_LOCAL, a[:]).Attr(unix.IFA_ADDRESS, a[:]).
		Attr(unix.IFA_BROADCAST, binary.BigEndian.AppendUint32(nil, last))
}

// AddDefaultRoute sends everything that has no other route to a gateway.
func AddDefaultRoute(index int32, gateway netip.Addr) *Message {
	b := make([]byte, unix.SizeofRtMsg)
	b[0], b[4], b[5], b[7] = unix.AF_INET, unix.RT_TABLE_MAIN, unix.RTPROT_BOOT, unix.RTN_UNICAST
	a := gateway.As4()
	return NewMessage(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, b).Attr(unix.RTA_GATEWAY, a[:]).U32(unix.RTA_OIF, uint32(index))
}

// LinkIndex returns the index of a link, 0 if there is none of that name. It is
// an ioctl (netdevice(7)): one system call where a message takes three.
func (c *Conn) LinkIndex(name string) (index int32, err error) {
	r, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(c.fd, unix.SIOCGIFINDEX, r)
	}
	if errors.Is(err, unix.ENODEV) {
		return 0, nil
	}
	if err != nil {
		return 0, &os.PathError{Op: "find link", Path: name, Err: err}
	}
	return int32(r.Uint32()), nil
}

// Route is one entry of the routing tables: where packets to a network go.
type Route struct {
	Dst   netip.Prefix
	Index int32 // of the link
}

// Routes lists the IPv4 routes that name a network, of all tables.
func (c *Conn) Routes() (list []Route, err error) {
	b := make([]byte, unix.SizeofRtMsg)
	b[0] = unix.AF_INET
	err = c.Get(NewMessage(unix.RTM_GETROUTE, unix.NLM_F_DUMP, b), func(kind uint16, body []byte) {
		if r, ok := parseRoute(body); ok && kind == unix.RTM_NEWROUTE {
			list = append(list, r)
		}
	})
	return list, err
}

func parseRoute(body []byte) (r Route, ok bool) {
	if len(body) < unix.SizeofRtMsg || body[0] != unix.AF_INET || body[1] == 0 || body[1] > 32 {
		return r, false
	}
	attrs := Attrs(body[unix.SizeofRtMsg:])
	dst := attrs[unix.RTA_DST]
	if len(dst) != 4 {
		return r, false
	}
	r.Dst = netip.PrefixFrom(netip.AddrFrom4([4]byte(dst)), int(body[1]))
	if oif := attrs[unix.RTA_OIF]; len(oif) == 4 {
		r.Index = int32(binary.NativeEndian.Uint32(oif))
	}
	return r, true
}
