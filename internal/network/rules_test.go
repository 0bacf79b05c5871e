package network

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// What nft reads back is what was meant.
func TestRulesAsNftReadsThem(t *testing.T) {
	w := newWorld(t)
	a := w.attach(Publish{Proto: "tcp", ContainerPort: 80, HostPort: 8080}, Publish{Proto: "udp", ContainerPort: 53, HostPort: 5353, HostIP: netip.MustParseAddr("127.0.0.1")})
	text := w.sh("nft -n list table ip " + w.store.table())
	text = strings.NewReplacer(w.store.table(), "TABLE", w.store.Bridge(), "BRIDGE", a.Address.String(), "CONTAINER").Replace(text)
	const want = `table ip TABLE {
	map ports {
		type inet_proto . inet_service : ipv4_addr . inet_service
		elements = { 6 . 8080 : CONTAINER . 80 }
	}

	map addr_ports {
		type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service
		elements = { 17 . 127.0.0.1 . 5353 : CONTAINER . 53 }
	}

	chain prerouting {
		type nat hook prerouting priority -100; policy accept;
		fib daddr type 2 dnat ip to meta l4proto . ip daddr . th dport map @addr_ports
		fib daddr type 2 dnat ip to meta l4proto . th dport map @ports
	}

	chain output {
		type nat hook output priority -100; policy accept;
		fib daddr type 2 dnat ip to meta l4proto . ip daddr . th dport map @addr_ports
		fib daddr type 2 dnat ip to meta l4proto . th dport map @ports
	}

	chain postrouting {
		type nat hook postrouting priority 100; policy accept;
		ip saddr 172.17.0.0/16 oifname != "BRIDGE" masquerade
		ip saddr 127.0.0.0/8 oifname "BRIDGE" masquerade
		ct status 0x20 ip saddr 172.17.0.0/16 oifname "BRIDGE" masquerade
	}

	chain guard {
		type filter hook prerouting priority -300; policy accept;
		iifname != "lo" ip daddr 127.0.0.0/8 drop
	}

	chain forward {
		type filter hook forward priority 0; policy accept;
		oifname "BRIDGE" ct state 0x2,0x4 accept
		oifname "BRIDGE" iifname "BRIDGE" accept
		oifname "BRIDGE" ct status 0x20 accept
		oifname "BRIDGE" drop
	}
}
`
	if text != want {
		t.Errorf("nft lists\n%s\nwant\n%s", text, want)
	}
	if err := w.nftJSON(map[string]int{"map": 2, "chain": 5, "rule": ruleCount}); err != nil {
		t.Error(err)
	}
}

// nftJSON counts the objects of the table that nft lists as JSON.
func (w *world) nftJSON(want map[string]int) error {
	var list struct {
		Nftables []map[string]json.RawMessage `json:"nftables"`
	}
	if err := json.Unmarshal([]byte(w.sh("nft -j list table ip "+w.store.table())), &list); err != nil {
		return err
	}
	got := map[string]int{}
	for _, object := range list.Nftables {
		for _, kind := range slices.Collect(maps.Keys(object)) {
			if _, asked := want[kind]; asked {
				got[kind]++
			}
		}
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("nft lists %v, want %v", got, want)
	}
	return nil
}

// Two engines on one host have tables and bridges of their own.
func TestTwoEngines(t *testing.T) {
	w := newWorld(t)
	a := w.attach(Publish{Proto: "tcp", ContainerPort: 80, HostPort: 8080})
	w.serve(a.NetNS, "0.0.0.0:80")
	second := *w
	second.store = Open(t.TempDir(), t.TempDir())
	b := second.attach(Publish{Proto: "tcp", ContainerPort: 80, HostPort: 8090})
	second.serve(b.NetNS, "0.0.0.0:80")
	w.servers = second.servers
	if a.Settings.Subnet.Overlaps(b.Settings.Subnet) {
		t.Errorf("subnets %s and %s overlap", a.Settings.Subnet, b.Settings.Subnet)
	}
	w.sees("the first", w.outside, "tcp", at(hostAddr, 8080), outsideAddr)
	w.sees("the second", w.outside, "tcp", at(hostAddr, 8090), outsideAddr)
	w.refused("from one network into the other", b.NetNS, "tcp", at(a.Address, 80))
	if err := second.store.RemoveBridge(); err != nil {
		t.Error(err)
	}
	if out := w.sh("nft list tables; ip link"); strings.Contains(out, second.store.table()) || strings.Contains(out, second.store.Bridge()) {
		t.Errorf("left behind: %s", out)
	}
	w.sees("the first, alone", w.outside, "tcp", at(hostAddr, 8080), outsideAddr)
}
