package netlink

import (
	"errors"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"berth/internal/testenv"
)

func TestBridgeVethAddressRoute(t *testing.T) {
	testenv.InNamespace(t, unix.CLONE_NEWNET, func() {
		c, err := Dial(unix.NETLINK_ROUTE)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		if err := c.Do(NewBridge("br0", []byte{2, 0x42, 10, 9, 0, 1})); err != nil {
			t.Error(err)
			return
		}
		br, err := c.LinkIndex("br0")
		if err != nil || br == 0 {
			t.Errorf("index %d, %v", br, err)
		}
		if err := c.Do(AddAddress(br, netip.MustParsePrefix("10.9.0.1/16"))); err != nil {
			t.Error(err)
		}
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			t.Error(err)
			return
		}
		defer home.Close()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		away, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			t.Error(err)
			return
		}
		defer away.Close()
		mac := []byte{2, 0x42, 10, 9, 0, 2}
		if err := c.Do(NewVeth(Veth{Name: "veth0", Bridge: br, Peer: "eth0", PeerMAC: mac, PeerNS: int(away.Fd())})); err != nil {
			t.Error(err)
			return
		}
		in, err := Dial(unix.NETLINK_ROUTE)
		if err != nil {
			t.Error(err)
			return
		}
		defer in.Close()
		err = in.Do(Up(1), Up(2), AddAddress(2, netip.MustParsePrefix("10.9.0.2/16")), AddDefaultRoute(2, netip.MustParseAddr("10.9.0.1")))
		if err != nil {
			t.Error(err)
		}
		if n, _ := in.LinkIndex("eth0"); n != 2 {
			t.Errorf("eth0 has index %d", n)
		}
		routes, err := in.Routes()
		found := false
		for _, r := range routes {
			found = found || r.Dst == netip.MustParsePrefix("10.9.0.0/16") && r.Index == 2
		}
		if err != nil || !found {
			t.Errorf("routes %v, %v", routes, err)
		}
		if err := c.Do(Delete("veth0")); err != nil {
			t.Error(err)
		}
	})
}

func TestRefusalsNameTheMessage(t *testing.T) {
	testenv.InNamespace(t, unix.CLONE_NEWNET, func() {
		c, err := Dial(unix.NETLINK_ROUTE)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		err = c.Do(Up(1), Delete("nosuch"), Up(1))
		var e *Error
		if !errors.As(err, &e) || e.Index != 1 || e.Errno != unix.ENODEV {
			t.Errorf("got %v", err)
		}
		if n, err := c.LinkIndex("nosuch"); n != 0 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
	})
}

func FuzzAttrs(f *testing.F) {
	f.Add([]byte{8, 0, 1, 0, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		Attrs(b)
		parseRoute(b)
		if h, rest, err := nextMessage(b); err == nil && len(h.body)+len(rest)+unix.SizeofNlMsghdr > len(b) {
			t.Errorf("more came out than went in")
		}
		parseError(b, 0, 0x200)
	})
}

func TestTooLongValueIsRefused(t *testing.T) {
	testenv.InNamespace(t, unix.CLONE_NEWNET, func() {
		c, err := Dial(unix.NETLINK_ROUTE)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		long := make([]byte, 1<<16)
		if err := c.Do(NewMessage(unix.RTM_NEWLINK, 0, ifinfo(1, 0, 0)).Attr(unix.IFLA_IFALIAS, long)); err == nil {
			t.Error("a value of 65536 bytes was sent")
		}
		m := NewMessage(unix.RTM_NEWLINK, 0, ifinfo(1, 0, 0))
		m.Nest(unix.IFLA_LINKINFO, func() { m.Attr(1, long[:40000]).Attr(2, long[:40000]) })
		if err := c.Do(m); err == nil {
			t.Error("a nest of 80000 bytes was sent")
		}
	})
}
