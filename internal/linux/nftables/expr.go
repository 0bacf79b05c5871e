package nftables

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"berth/internal/linux/netlink"
)

// Expr is one expression of a rule.
type Expr struct {
	name string
	fill func(*netlink.Message)
}

// Reg is a 32-bit register. Values longer than 4 bytes, and the parts of a
// concatenation, use the registers that follow.
type Reg uint32

// R0 is the first 32-bit register (NFT_REG32_00).
const R0 Reg = 8

// Meta keys (enum nft_meta_keys).
const (
	MetaInName   = 6
	MetaOutName  = 7
	MetaProtocol = 16 // of layer 4
)

// Meta loads a property of the packet.
func Meta(key uint32, to Reg) Expr {
	return Expr{"meta", func(m *netlink.Message) {
		m.Big32(unix.NFTA_META_KEY, key).Big32(unix.NFTA_META_DREG, uint32(to))
	}}
}

// Payload loads bytes of the packet; base is 1 for the network header, 2 for the transport header.
func Payload(base, offset, length uint32, to Reg) Expr {
	return Expr{"payload", func(m *netlink.Message) {
		m.Big32(unix.NFTA_PAYLOAD_DREG, uint32(to)).Big32(unix.NFTA_PAYLOAD_BASE, base).
			Big32(unix.NFTA_PAYLOAD_OFFSET, offset).Big32(unix.NFTA_PAYLOAD_LEN, length)
	}}
}

// SourceIP and DestinationIP load the IPv4 addresses; DestinationPort that of TCP or UDP.
func SourceIP(to Reg) Expr { return Payload(1, 12, 4, to) }

// DestinationIP loads the packet's IPv4 destination.
func DestinationIP(to Reg) Expr { return Payload(1, 16, 4, to) }

// DestinationPort loads the destination port of TCP or UDP.
func DestinationPort(to Reg) Expr { return Payload(2, 2, 2, to) }

// Equal goes on with the rule only if the register holds the value; NotEqual if it does not.
func Equal(from Reg, value []byte) Expr { return compare(unix.NFT_CMP_EQ, from, value) }

// NotEqual goes on only if the register does not hold the value.
func NotEqual(from Reg, value []byte) Expr { return compare(unix.NFT_CMP_NEQ, from, value) }

func compare(op uint32, from Reg, value []byte) Expr {
	return Expr{"cmp", func(m *netlink.Message) {
		m.Big32(unix.NFTA_CMP_SREG, uint32(from)).Big32(unix.NFTA_CMP_OP, op)
		m.Nest(unix.NFTA_CMP_DATA, func() { m.Attr(unix.NFTA_DATA_VALUE, value) })
	}}
}

// And masks a register.
func And(r Reg, mask []byte) Expr {
	return Expr{"bitwise", func(m *netlink.Message) {
		m.Big32(unix.NFTA_BITWISE_SREG, uint32(r)).Big32(unix.NFTA_BITWISE_DREG, uint32(r)).Big32(unix.NFTA_BITWISE_LEN, uint32(len(mask)))
		m.Nest(unix.NFTA_BITWISE_MASK, func() { m.Attr(unix.NFTA_DATA_VALUE, mask) })
		m.Nest(unix.NFTA_BITWISE_XOR, func() { m.Attr(unix.NFTA_DATA_VALUE, make([]byte, len(mask))) })
	}}
}

// Conntrack keys and bits (enum nft_ct_keys, nf_conntrack_common.h).
const (
	CtState          = 0
	CtStatus         = 2
	StateEstablished = 1 << 1
	StateRelated     = 1 << 2
	StatusDNAT       = 1 << 5
)

// Ct loads a property of the connection that the packet belongs to.
func Ct(key uint32, to Reg) Expr {
	return Expr{"ct", func(m *netlink.Message) {
		m.Big32(unix.NFTA_CT_KEY, key).Big32(unix.NFTA_CT_DREG, uint32(to))
	}}
}

// LocalDestination goes on only if the destination is an address of this host:
// `fib daddr type local`.
func LocalDestination(r Reg) []Expr {
	const resultAddrType, flagDaddr = 3, 1 << 1
	return []Expr{
		{"fib", func(m *netlink.Message) {
			m.Big32(unix.NFTA_FIB_DREG, uint32(r)).Big32(unix.NFTA_FIB_RESULT, resultAddrType).Big32(unix.NFTA_FIB_FLAGS, flagDaddr)
		}},
		Equal(r, binary.NativeEndian.AppendUint32(nil, unix.RTN_LOCAL)),
	}
}

// Lookup goes on only if the key is in the map, and loads its value.
func Lookup(mapName string, key, to Reg) Expr {
	return Expr{"lookup", func(m *netlink.Message) {
		m.Text(unix.NFTA_LOOKUP_SET, mapName).Big32(unix.NFTA_LOOKUP_SREG, uint32(key)).Big32(unix.NFTA_LOOKUP_DREG, uint32(to))
	}}
}

// DNAT sends the connection to the address and port in two registers.
func DNAT(addr, port Reg) Expr {
	return Expr{"nat", func(m *netlink.Message) {
		m.Big32(unix.NFTA_NAT_TYPE, unix.NFT_NAT_DNAT).Big32(unix.NFTA_NAT_FAMILY, unix.NFPROTO_IPV4).
			Big32(unix.NFTA_NAT_REG_ADDR_MIN, uint32(addr)).Big32(unix.NFTA_NAT_REG_PROTO_MIN, uint32(port))
	}}
}

// Masquerade gives the connection this host's address on the way out.
func Masquerade() Expr { return Expr{"masq", func(*netlink.Message) {}} }

// Accept ends the chain for the packet; Drop ends the packet.
func Accept() Expr { return verdict(nfAccept) }

// Drop throws the packet away.
func Drop() Expr { return verdict(nfDrop) }

func verdict(code uint32) Expr {
	return Expr{"immediate", func(m *netlink.Message) {
		m.Big32(unix.NFTA_IMMEDIATE_DREG, 0)
		m.Nest(unix.NFTA_IMMEDIATE_DATA, func() {
			m.Nest(unix.NFTA_DATA_VERDICT, func() { m.Big32(unix.NFTA_VERDICT_CODE, code) })
		})
	}}
}

// InterfaceName is a link's name as packets carry it: 16 bytes, padded with NUL.
func InterfaceName(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

// Number is a 32-bit value in the machine's byte order, for properties of connections.
func Number(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
