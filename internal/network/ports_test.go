package network

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"berth/internal/errdefs"
	"berth/internal/ident"
)

func TestPortConflicts(t *testing.T) {
	w := newWorld(t)
	lo, up := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr(hostAddr)
	tcp := func(ip netip.Addr, port uint16) Publish {
		return Publish{Proto: "tcp", ContainerPort: 80, HostIP: ip, HostPort: port}
	}
	w.attach(tcp(netip.Addr{}, 8080), tcp(lo, 8081))
	l, err := net.Listen("tcp", "127.0.0.1:9000")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, c := range []struct {
		p    Publish
		want string // part of the error, "" for none
	}{
		{tcp(netip.Addr{}, 8080), "port is already allocated"},
		{tcp(lo, 8080), "port is already allocated"},
		{tcp(netip.Addr{}, 8081), "port is already allocated"},
		{tcp(lo, 8081), "port is already allocated"},
		{tcp(up, 8081), ""},
		{Publish{Proto: "udp", ContainerPort: 80, HostPort: 8080}, ""},
		{tcp(netip.Addr{}, 9000), "address already in use"},
		{tcp(lo, 9000), "address already in use"},
		{tcp(up, 9000), ""},
		{tcp(netip.MustParseAddr("203.0.113.1"), 80), "cannot assign requested address"},
		{tcp(netip.MustParseAddr("::1"), 80), "IPv4"},
		{Publish{Proto: "icmp", ContainerPort: 80}, "icmp"},
	} {
		id := ident.New()
		a, err := w.store.Attach(t.Context(), Request{ContainerID: id, Ports: []Publish{c.p}})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%v: %v", c.p, err)
		case c.want != "" && err == nil:
			t.Errorf("%v was granted", c.p)
		case err != nil && !strings.Contains(err.Error(), c.want):
			t.Errorf("%v: %v, want %q", c.p, err, c.want)
		case strings.Contains(c.want, "already") && !errors.Is(err, errdefs.Conflict):
			t.Errorf("%v: kind %v", c.p, errdefs.KindOf(err))
		}
		if err == nil {
			a.NetNS.Close()
			if err := w.store.Detach(t.Context(), id); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestPortRangeAndFreePort(t *testing.T) {
	w := newWorld(t)
	p := Publish{Proto: "tcp", ContainerPort: 80, HostPort: 8000, HostPortEnd: 8001}
	for _, want := range []string{"8000", "8001"} {
		if got := w.attach(p).Ports["80/tcp"][0].HostPort; got != want {
			t.Errorf("port %s of the range, want %s", got, want)
		}
	}
	if _, err := w.store.Attach(t.Context(), Request{ContainerID: ident.New(), Ports: []Publish{p}}); !errors.Is(err, errdefs.Conflict) {
		t.Errorf("a third of two: %v", err)
	}
	a := w.attach(Publish{Proto: "udp", ContainerPort: 53})
	if n, err := strconv.Atoi(a.Ports["53/udp"][0].HostPort); err != nil || n < 1024 {
		t.Errorf("free port %q", a.Ports["53/udp"][0].HostPort)
	}
	w.serve(a.NetNS, "0.0.0.0:53")
	w.sees("the free port", w.outside, "udp", at(hostAddr, mustAtoi(t, a.Ports["53/udp"][0].HostPort)), outsideAddr)
}

func mustAtoi(t *testing.T, s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A port that fails after others were taken gives all of them back.
func TestFailedAttachLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.attach() // the bridge
	before := len(w.left())
	_, err := w.store.Attach(t.Context(), Request{ContainerID: ident.New(), Ports: []Publish{
		{Proto: "tcp", ContainerPort: 80, HostPort: 8080}, {Proto: "udp", ContainerPort: 80, HostPort: 8080}, {Proto: "tcp", ContainerPort: 81, HostPort: 8080}}})
	if !errors.Is(err, errdefs.Conflict) {
		t.Fatal(err)
	}
	if after := w.left(); len(after) != before {
		t.Errorf("left behind: %q", after)
	}
}
