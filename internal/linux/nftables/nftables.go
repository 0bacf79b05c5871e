// Package nftables provides the kernel's packet filter, nf_tables, as far as
// container networks need it: tables, base chains, rules made of expressions,
// and maps whose elements come and go with containers.
//
// Everything is sent over a netfilter netlink socket in batches: a batch takes
// effect as a whole or not at all, so no packet ever sees half a rule set. A
// rule is a list of expressions working on registers: load something into a
// register, compare it, look it up in a map, decide. What `nft list` prints is
// these expressions read back. See nft(8) and linux/netfilter/nf_tables.h.
package nftables

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"

	"berth/internal/linux/netlink"
)

const subsystem = unix.NFNL_SUBSYS_NFTABLES << 8

// Conn sends batches to one network namespace.
type Conn struct{ nl *netlink.Conn }

// Dial opens a socket in the calling thread's network namespace.
func Dial() (*Conn, error) {
	nl, err := netlink.Dial(unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	return &Conn{nl}, nil
}

// Close closes the socket.
func (c *Conn) Close() error { return c.nl.Close() }

// genmsg is struct nfgenmsg, the fixed part of every netfilter message.
func genmsg(family byte, resource uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{family, 0}, resource)
}

// Batch collects changes to be made at once.
type Batch struct {
	table string
	msgs  []*netlink.Message
}

// NewBatch returns an empty batch for an IPv4 table.
func NewBatch(table string) *Batch {
	begin := netlink.NewMessage(unix.NFNL_MSG_BATCH_BEGIN, 0, genmsg(0, unix.NFNL_SUBSYS_NFTABLES)).NoAck()
	return &Batch{table: table, msgs: []*netlink.Message{begin}}
}

// Empty reports whether nothing was added.
func (b *Batch) Empty() bool { return len(b.msgs) == 1 }

func (b *Batch) add(kind uint16, flags int) *netlink.Message {
	m := netlink.NewMessage(subsystem|kind, flags, genmsg(unix.NFPROTO_IPV4, 0))
	b.msgs = append(b.msgs, m)
	return m
}

// Commit makes the batch's changes, all or none.
func (c *Conn) Commit(b *Batch) error {
	end := netlink.NewMessage(unix.NFNL_MSG_BATCH_END, 0, genmsg(0, unix.NFNL_SUBSYS_NFTABLES)).NoAck()
	return c.nl.Do(append(b.msgs, end)...)
}

// CountRules returns how many rules the table has, 0 if it is not there.
func (c *Conn) CountRules(table string) (n int, err error) {
	m := netlink.NewMessage(subsystem|unix.NFT_MSG_GETRULE, unix.NLM_F_DUMP, genmsg(unix.NFPROTO_IPV4, 0)).Text(unix.NFTA_RULE_TABLE, table)
	err = c.nl.Get(m, func(kind uint16, _ []byte) {
		if kind == subsystem|unix.NFT_MSG_NEWRULE {
			n++
		}
	})
	if errors.Is(err, unix.ENOENT) {
		return 0, nil
	}
	return n, err
}

// Missing reports whether err says that the kernel has no nf_tables.
func Missing(err error) bool {
	return errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP)
}

// AddTable makes the table unless it is there.
func (b *Batch) AddTable() {
	b.add(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE).Text(unix.NFTA_TABLE_NAME, b.table)
}

// DeleteTable removes the table with all that is in it.
func (b *Batch) DeleteTable() {
	b.add(unix.NFT_MSG_DELTABLE, 0).Text(unix.NFTA_TABLE_NAME, b.table)
}

// Chain is a base chain: the kernel calls it at a hook.
type Chain struct {
	Name     string
	Type     string // "nat", "filter"
	Hook     uint32 // NF_INET_PRE_ROUTING, ...
	Priority int32  // lower ones are called first
}

// AddChain makes a base chain that accepts what its rules do not decide.
func (b *Batch) AddChain(c Chain) {
	m := b.add(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE).Text(unix.NFTA_CHAIN_TABLE, b.table).Text(unix.NFTA_CHAIN_NAME, c.Name)
	m.Nest(unix.NFTA_CHAIN_HOOK, func() {
		m.Big32(unix.NFTA_HOOK_HOOKNUM, c.Hook).Big32(unix.NFTA_HOOK_PRIORITY, uint32(c.Priority))
	})
	m.Big32(unix.NFTA_CHAIN_POLICY, nfAccept).Text(unix.NFTA_CHAIN_TYPE, c.Type)
}

const (
	nfDrop   = 0
	nfAccept = 1
)

// Data types as the nft tool numbers them; the kernel only keeps the numbers so
// that the tool can print the elements.
const (
	TypeIPv4     = 7
	TypeProtocol = 12
	TypePort     = 13
)

// Concat is the type of a concatenation.
func Concat(types ...uint32) (t uint32) {
	for _, x := range types {
		t = t<<6 | x
	}
	return t
}

// Map is a set whose elements lead from a key to a value.
type Map struct {
	Name              string
	KeyType, DataType uint32
	KeyLen, DataLen   uint32 // bytes, each part padded to 4
}

// AddMap makes an empty map.
func (b *Batch) AddMap(m Map) {
	const flagMap = 0x8
	b.add(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE).Text(unix.NFTA_SET_TABLE, b.table).Text(unix.NFTA_SET_NAME, m.Name).
		Big32(unix.NFTA_SET_FLAGS, flagMap).Big32(unix.NFTA_SET_KEY_TYPE, m.KeyType).Big32(unix.NFTA_SET_KEY_LEN, m.KeyLen).
		Big32(unix.NFTA_SET_DATA_TYPE, m.DataType).Big32(unix.NFTA_SET_DATA_LEN, m.DataLen).Big32(unix.NFTA_SET_ID, uint32(len(b.msgs)))
}

// AddElement makes key lead to value; it must not be there with another value.
func (b *Batch) AddElement(mapName string, key, value []byte) {
	b.element(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, mapName, key, value)
}

// DeleteElement removes a key, which must be there.
func (b *Batch) DeleteElement(mapName string, key []byte) {
	b.element(unix.NFT_MSG_DELSETELEM, 0, mapName, key, nil)
}

func (b *Batch) element(kind uint16, flags int, mapName string, key, value []byte) {
	m := b.add(kind, flags).Text(unix.NFTA_SET_ELEM_LIST_TABLE, b.table).Text(unix.NFTA_SET_ELEM_LIST_SET, mapName)
	m.Nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS, func() {
		m.Nest(unix.NFTA_LIST_ELEM, func() {
			m.Nest(unix.NFTA_SET_ELEM_KEY, func() { m.Attr(unix.NFTA_DATA_VALUE, key) })
			if value != nil {
				m.Nest(unix.NFTA_SET_ELEM_DATA, func() { m.Attr(unix.NFTA_DATA_VALUE, value) })
			}
		})
	})
}

// AddRule appends a rule to a chain.
func (b *Batch) AddRule(chain string, expressions ...Expr) {
	m := b.add(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND).Text(unix.NFTA_RULE_TABLE, b.table).Text(unix.NFTA_RULE_CHAIN, chain)
	m.Nest(unix.NFTA_RULE_EXPRESSIONS, func() {
		for _, e := range expressions {
			m.Nest(unix.NFTA_LIST_ELEM, func() {
				m.Text(unix.NFTA_EXPR_NAME, e.name)
				m.Nest(unix.NFTA_EXPR_DATA, func() { e.fill(m) })
			})
		}
	})
}
