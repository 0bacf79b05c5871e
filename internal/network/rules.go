package network

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/nftables"
)

// The rules of the table, as `nft list` prints them:
//
//	map ports      { type inet_proto . inet_service : ipv4_addr . inet_service }
//	map addr_ports { type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service }
//	chain guard       (filter, prerouting, -300)  iifname != "lo" ip daddr 127.0.0.0/8 drop
//	chain prerouting  (nat)     fib daddr type local dnat to ... map @addr_ports, then @ports
//	chain output      (nat)     the same, for the host's own connections
//	chain postrouting (nat)     masquerade what leaves the subnet; what comes from 127.0.0.1;
//	                            and what comes back into the subnet through a published port
//	chain forward     (filter)  into the bridge: replies, neighbours, published ports; else drop
//
// Publishing a port adds one element to a map. guard keeps a port published on
// 127.0.0.1 from being reached by a neighbour of the host that routes 127.0.0.1
// to it, which route_localnet would otherwise allow.
const (
	anyMap  = "ports"
	addrMap = "addr_ports"
)

// ruleCount is how many rules there are: a table with fewer was flushed.
const ruleCount = 12

// writeRules makes the table anew, with the elements of every journal, in one batch.
func (s *Store) writeRules(c Settings, journals []*journal) error {
	nft, err := s.dialFilter()
	if err != nil {
		return err
	}
	defer nft.Close()
	b := nftables.NewBatch(s.table())
	b.AddTable()
	b.DeleteTable()
	b.AddTable()
	port, addr := nftables.Concat(nftables.TypeProtocol, nftables.TypePort), nftables.Concat(nftables.TypeProtocol, nftables.TypeIPv4, nftables.TypePort)
	target := nftables.Concat(nftables.TypeIPv4, nftables.TypePort)
	b.AddMap(nftables.Map{Name: anyMap, KeyType: port, KeyLen: 8, DataType: target, DataLen: 8})
	b.AddMap(nftables.Map{Name: addrMap, KeyType: addr, KeyLen: 12, DataType: target, DataLen: 8})
	s.natRules(b, c)
	s.filterRules(b)
	for _, j := range journals {
		for _, p := range j.Ports {
			b.AddElement(p.element(j.Address))
		}
	}
	return errdefs.Wrap(nft.Commit(b), "write", "the packet filter's table "+s.table())
}

func (s *Store) natRules(b *nftables.Batch, c Settings) {
	const r0, r1, r2 = nftables.R0, nftables.R0 + 1, nftables.R0 + 2
	bridge := nftables.InterfaceName(s.Bridge())
	for _, chain := range []nftables.Chain{{Name: "prerouting", Type: "nat", Hook: unix.NF_INET_PRE_ROUTING, Priority: -100}, {Name: "output", Type: "nat", Hook: unix.NF_INET_LOCAL_OUT, Priority: -100}} {
		b.AddChain(chain)
		local := nftables.LocalDestination(r0)
		b.AddRule(chain.Name, append(local, nftables.Meta(nftables.MetaProtocol, r0), nftables.DestinationIP(r1), nftables.DestinationPort(r2),
			nftables.Lookup(addrMap, r0, r0), nftables.DNAT(r0, r1))...)
		b.AddRule(chain.Name, append(nftables.LocalDestination(r0), nftables.Meta(nftables.MetaProtocol, r0), nftables.DestinationPort(r1),
			nftables.Lookup(anyMap, r0, r0), nftables.DNAT(r0, r1))...)
	}
	b.AddChain(nftables.Chain{Name: "postrouting", Type: "nat", Hook: unix.NF_INET_POST_ROUTING, Priority: 100})
	subnet, mask := c.Subnet.Addr().As4(), maskOf(c.Subnet)
	fromSubnet := []nftables.Expr{nftables.SourceIP(r0), nftables.And(r0, mask), nftables.Equal(r0, subnet[:])}
	b.AddRule("postrouting", append(fromSubnet, nftables.Meta(nftables.MetaOutName, r0), nftables.NotEqual(r0, bridge), nftables.Masquerade())...)
	b.AddRule("postrouting", nftables.SourceIP(r0), nftables.And(r0, []byte{255, 0, 0, 0}), nftables.Equal(r0, []byte{127, 0, 0, 0}),
		nftables.Meta(nftables.MetaOutName, r0), nftables.Equal(r0, bridge), nftables.Masquerade())
	back := append([]nftables.Expr{nftables.Ct(nftables.CtStatus, r0), nftables.And(r0, nftables.Number(nftables.StatusDNAT)), nftables.NotEqual(r0, nftables.Number(0))}, fromSubnet...)
	b.AddRule("postrouting", append(back, nftables.Meta(nftables.MetaOutName, r0), nftables.Equal(r0, bridge), nftables.Masquerade())...)
}

func (s *Store) filterRules(b *nftables.Batch) {
	const r0 = nftables.R0
	bridge := nftables.InterfaceName(s.Bridge())
	b.AddChain(nftables.Chain{Name: "guard", Type: "filter", Hook: unix.NF_INET_PRE_ROUTING, Priority: -300})
	b.AddRule("guard", nftables.Meta(nftables.MetaInName, r0), nftables.NotEqual(r0, nftables.InterfaceName("lo")),
		nftables.DestinationIP(r0), nftables.And(r0, []byte{255, 0, 0, 0}), nftables.Equal(r0, []byte{127, 0, 0, 0}), nftables.Drop())
	b.AddChain(nftables.Chain{Name: "forward", Type: "filter", Hook: unix.NF_INET_FORWARD})
	into := []nftables.Expr{nftables.Meta(nftables.MetaOutName, r0), nftables.Equal(r0, bridge)}
	rule := func(more ...nftables.Expr) {
		b.AddRule("forward", append(append([]nftables.Expr{}, into...), more...)...)
	}
	rule(nftables.Ct(nftables.CtState, r0), nftables.And(r0, nftables.Number(nftables.StateEstablished|nftables.StateRelated)), nftables.NotEqual(r0, nftables.Number(0)), nftables.Accept())
	rule(nftables.Meta(nftables.MetaInName, r0), nftables.Equal(r0, bridge), nftables.Accept())
	rule(nftables.Ct(nftables.CtStatus, r0), nftables.And(r0, nftables.Number(nftables.StatusDNAT)), nftables.NotEqual(r0, nftables.Number(0)), nftables.Accept())
	rule(nftables.Drop())
}

func maskOf(p netip.Prefix) []byte {
	return binary.BigEndian.AppendUint32(nil, ^uint32(0)<<(32-p.Bits()))
}

// element returns the map, key and value that publish a port of the container at address.
func (p *reserved) element(address netip.Addr) (mapName string, key, value []byte) {
	proto := byte(unix.IPPROTO_TCP)
	if p.Proto == "udp" {
		proto = unix.IPPROTO_UDP
	}
	port := func(b []byte, n uint16) []byte { return append(binary.BigEndian.AppendUint16(b, n), 0, 0) }
	key = []byte{proto, 0, 0, 0}
	mapName = anyMap
	if !p.HostIP.IsUnspecified() {
		a := p.HostIP.As4()
		key, mapName = append(key, a[:]...), addrMap
	}
	to := address.As4()
	return mapName, port(key, p.HostPort), port(to[:], p.ContainerPort)
}
