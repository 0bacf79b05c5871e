package network

import (
	"errors"
	"net/netip"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/filelock"
	"berth/internal/linux/netlink"
	"berth/internal/linux/nftables"
)

// pool are the subnets to choose from: Docker's own first.
func pool() (list []netip.Prefix) {
	for second := 17; second < 32; second++ {
		list = append(list, netip.PrefixFrom(netip.AddrFrom4([4]byte{172, byte(second), 0, 0}), 16))
	}
	for third := 0; third < 256; third += 16 {
		list = append(list, netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, byte(third), 0}), 20))
	}
	for third := range 256 { // small ones, for a host with many engines or routes
		list = append(list, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 210, byte(third), 0}), 24))
	}
	return list
}

// clash returns a route of the host that leads into the subnet. Routes to very
// large networks are ways to take the default route over, as VPNs do
// (0.0.0.0/1 and 128.0.0.0/1): they do not mean that the addresses are in use.
func clash(routes []netlink.Route, p netip.Prefix) (netlink.Route, bool) {
	const defaultLike = 8
	for _, r := range routes {
		if r.Dst.Bits() >= defaultLike && r.Dst.Overlaps(p) {
			return r, true
		}
	}
	return netlink.Route{}, false
}

// choose returns the first subnet that no route of the host leads to.
func choose(routes []netlink.Route) (netip.Prefix, error) {
	var last netlink.Route
	for _, p := range pool() {
		r, clashes := clash(routes, p)
		if !clashes {
			return p, nil
		}
		last = r
	}
	return netip.Prefix{}, errdefs.New(errdefs.Exhausted, "no subnet is left for the bridge: the last one clashes with the route to %s", last.Dst).
		WithHint("remove a route or network that is not needed: ip route")
}

// ready is the bridge as Attach uses it.
type ready struct {
	Settings
	index    int32
	filter   bool // nf_tables works
	warnings []string
}

func (r *ready) warn(text string) { r.warnings = append(r.warnings, text) }

func (s *Store) lockFile() string { return filepath.Join(s.state, "lock") }

// bridge makes sure that the bridge and its rules are there. The usual case is
// two questions to the kernel.
func (s *Store) bridge(nl *netlink.Conn) (*ready, error) {
	if r, err := s.existing(nl); r != nil || err != nil {
		return r, err
	}
	if err := s.makeDirs(); err != nil {
		return nil, err
	}
	lock, err := filelock.Exclusive(s.lockFile())
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	if r, err := s.existing(nl); r != nil || err != nil {
		return r, err // another start was faster
	}
	r, err := s.makeBridge(nl)
	return r, errdefs.Wrap(err, "make", "the bridge "+s.Bridge())
}

// existing returns nil unless bridge and rules are complete.
func (s *Store) existing(nl *netlink.Conn) (*ready, error) {
	c, err := s.Inspect()
	if errors.Is(err, errdefs.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	index, err := nl.LinkIndex(s.Bridge())
	if err != nil || index == 0 {
		return nil, err
	}
	nft, err := s.dialFilter()
	if err != nil {
		return nil, nil // makeBridge says why
	}
	defer nft.Close()
	if n, err := nft.CountRules(s.table()); err != nil || n != ruleCount {
		return nil, nil
	}
	return &ready{Settings: c, index: index, filter: true}, nil
}

// makeBridge makes what is missing of settings, link, address, rules, sysctls.
func (s *Store) makeBridge(nl *netlink.Conn) (*ready, error) {
	index, err := nl.LinkIndex(s.Bridge())
	if err != nil {
		return nil, err
	}
	journals, err := s.journals()
	if err != nil {
		return nil, err
	}
	c, err := s.settle(nl, index == 0 && len(journals) <= 1) // one is the caller's own
	if err != nil {
		return nil, err
	}
	isNew := index == 0
	if isNew {
		if err := nl.Do(netlink.NewBridge(s.Bridge(), MAC(c.Gateway))); err != nil {
			return nil, err
		}
		if index, err = nl.LinkIndex(s.Bridge()); err != nil {
			return nil, err
		}
	}
	err = nl.Do(netlink.AddAddress(index, netip.PrefixFrom(c.Gateway, c.Subnet.Bits())))
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, err
	}
	if isNew { // someone may have deleted it under running containers
		for _, j := range journals {
			if err := nl.Do(netlink.PlugIn(j.Veth, index)); j.Veth != "" && err != nil && !errors.Is(err, unix.ENODEV) {
				return nil, err
			}
		}
	}
	r := &ready{Settings: c, index: index, filter: true}
	return r, s.protect(r, journals)
}

// settle returns the network's settings, chosen now if there are none, or if
// free says that nobody depends on them and they clash with a newer route.
func (s *Store) settle(nl *netlink.Conn, free bool) (Settings, error) {
	c, err := s.Inspect()
	if err == nil && !free {
		return c, nil
	}
	if err != nil && !errors.Is(err, errdefs.NotFound) {
		return c, err
	}
	routes, rerr := nl.Routes()
	if rerr != nil {
		return c, rerr
	}
	if err == nil {
		if _, clashes := clash(routes, c.Subnet); !clashes {
			return c, nil
		}
	} else {
		c.ID, c.Created = s.ID("bridge"), time.Now().UTC()
	}
	if c.Subnet, err = choose(routes); err != nil {
		return c, err
	}
	c.Gateway = c.Subnet.Addr().Next()
	return c, s.writeSettings(c)
}

// protect writes the rules and sets what the host must allow. A host that does
// not allow it gets containers with less of a network, and says so.
func (s *Store) protect(r *ready, journals []*journal) error {
	// The host must not believe a container's router advertisements (CVE-2020-13401).
	if err := sysctl("ipv6/conf/"+s.Bridge()+"/accept_ra", "0"); err != nil {
		r.warn("containers can send router advertisements to the host: " + err.Error())
	}
	err := s.writeRules(r.Settings, journals)
	if nftables.Missing(err) {
		r.filter = false
		r.warn("containers reach the host and each other only, and other hosts are not kept from them: this kernel has no nf_tables: " + err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	// Only now that the rules guard 127.0.0.1 may its packets pass through the bridge (CVE-2020-8558).
	if err := sysctl("ipv4/conf/"+s.Bridge()+"/route_localnet", "1"); err != nil {
		r.warn("published ports do not answer on 127.0.0.1: " + err.Error())
	}
	const forward = "ipv4/ip_forward"
	if have, err := readSmall("/proc/sys/net/" + forward); err == nil && len(have) > 0 && have[0] == '1' {
		return nil
	}
	if err := sysctl(forward, "1"); err != nil {
		r.warn("containers cannot reach other hosts: " + err.Error() + "; set it by hand: sysctl -w net.ipv4.ip_forward=1")
	}
	return nil
}

// RemoveBridge takes the bridge and its rules away, for an engine that ends for good.
func (s *Store) RemoveBridge() error {
	nl, err := netlink.Dial(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer nl.Close()
	nft, err := s.dialFilter()
	if err != nil {
		return err
	}
	defer nft.Close()
	b := nftables.NewBatch(s.table())
	b.AddTable() // so that there is one to delete
	b.DeleteTable()
	err = nl.Do(netlink.Delete(s.Bridge()))
	if errors.Is(err, unix.ENODEV) {
		err = nil
	}
	return errors.Join(err, nft.Commit(b))
}
