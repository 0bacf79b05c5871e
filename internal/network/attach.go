package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/linux/netlink"
	"berth/internal/linux/nftables"
)

// Request asks for a container's place on the default network.
type Request struct {
	ContainerID string
	Ports       []Publish
	// NetNS is the container's network namespace if it exists already (one that
	// belongs to a user namespace); nil: a new one is made.
	NetNS *os.File
}

// Attachment is a container's place on the network. The caller closes NetNS.
type Attachment struct {
	NetNS    *os.File // ready: address, route, lo
	Settings Settings
	Address  netip.Addr
	Endpoint container.Endpoint
	Ports    map[string][]container.PortBinding // "80/tcp" -> the host's side
	Warnings []string                           // what the host does not allow, and what that means
}

// Attach makes a network namespace with a cable into the bridge. Whatever it
// makes is in the journal first; if it fails, it has taken all of it back.
func (s *Store) Attach(ctx context.Context, r Request) (_ *Attachment, err error) {
	nl, err := netlink.Dial(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	defer nl.Close()
	j := &journal{ID: r.ContainerID, Network: "bridge", Veth: "veth" + ident.New()[:7]}
	fd, err := s.openJournal(j)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	ns := r.NetNS
	defer func() {
		if err != nil {
			if ns != nil && r.NetNS == nil {
				ns.Close()
			}
			err = errors.Join(err, s.release(j))
		}
	}()
	b, err := s.bridge(nl)
	if err != nil {
		return nil, err
	}
	if err := s.reserveAll(fd, j, b, r); err != nil {
		return nil, err
	}
	if err := s.wire(nl, j, b, &ns); err != nil {
		return nil, err
	}
	if err := s.publish(nl, j); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return attachment(j, b, ns), nil
}

// reserveAll takes address and ports, and completes the journal.
func (s *Store) reserveAll(fd int, j *journal, b *ready, r Request) (err error) {
	address, err := s.reserveAddress(b.Settings, r.ContainerID)
	if err != nil {
		return err
	}
	ports := r.Ports
	if !b.filter && len(ports) > 0 {
		b.warn("no port is published: this kernel has no nf_tables")
		ports = nil
	}
	taken := make([]reserved, 0, len(ports))
	for _, p := range ports {
		got, err := s.reservePort(p, r.ContainerID)
		if err != nil {
			return err
		}
		taken = append(taken, got)
	}
	j.Address, j.Ports = address, taken
	return s.complete(fd, j)
}

// wire makes the namespace, unless there is one, and the cable. A network
// namespace belongs to a thread: the work is done on one that goes back to its
// own namespace afterwards.
func (s *Store) wire(nl *netlink.Conn, j *journal, b *ready, ns **os.File) error {
	var in *netlink.Conn
	err := elsewhere(func() (err error) {
		if *ns != nil {
			err = unix.Setns(int((*ns).Fd()), unix.CLONE_NEWNET)
		} else if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			var fd int
			if fd, err = openNetNS(); err == nil {
				*ns = os.NewFile(uintptr(fd), netNSPath)
			}
		}
		if err != nil {
			return errdefs.Wrap(err, "make", "a network namespace")
		}
		// The network is an IPv4 one: nothing in it answers by IPv6, and no
		// router advertisement gives it an address (CVE-2024-32473).
		if err := sysctl("ipv6/conf/all/disable_ipv6", "1"); err != nil {
			b.warn("IPv6 stays on in the container: " + err.Error())
		}
		in, err = netlink.Dial(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return err
	}
	defer in.Close()
	cable := []*netlink.Message{netlink.NewVeth(netlink.Veth{Name: j.Veth, Bridge: b.index, Peer: "eth0", PeerMAC: MAC(j.Address), PeerNS: int((*ns).Fd())})}
	if len(j.Ports) > 0 {
		// Where br_netfilter is loaded, addresses are translated in the bridge: a
		// container's connection to its own published port goes back out of the
		// port that it came in by, which a bridge does only when told.
		cable = append(cable, netlink.Hairpin(j.Veth))
	}
	if err = nl.Do(cable...); err == nil {
		err = configure(in, j, b.Settings)
	}
	if ra := sysctl("ipv6/conf/"+j.Veth+"/accept_ra", "0"); ra != nil && err == nil { // CVE-2020-13401
		b.warn("the host listens to router advertisements from the container: " + ra.Error())
	}
	return errdefs.Wrap(err, "wire", "container "+ident.Short(j.ID)+" to "+s.Bridge())
}

// elsewhere runs f, which may change the thread's network namespace, and comes back.
func elsewhere(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := openNetNS()
	if err != nil {
		return err
	}
	defer unix.Close(home)
	err = f()
	if back := unix.Setns(home, unix.CLONE_NEWNET); back != nil {
		// Everything this goroutine did from here on would happen in the
		// container's network. It entered with the same right it leaves with.
		panic("cannot return to the host's network namespace: " + back.Error())
	}
	return err
}

// netNSPath is the calling thread's network namespace.
const netNSPath = "/proc/thread-self/ns/net"

// openNetNS opens it. Package os would try it with epoll first.
func openNetNS() (fd int, err error) {
	if fd, err = unix.Open(netNSPath, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return -1, &os.PathError{Op: "open", Path: netNSPath, Err: err}
	}
	return fd, nil
}

// configure raises the links inside and gives address and route, in one write.
// Some kernels put devices of their own into every namespace: eth0 is not
// always the second.
func configure(in *netlink.Conn, j *journal, c Settings) error {
	eth0, err := in.LinkIndex("eth0")
	if err != nil {
		return err
	}
	const lo = 1 // LOOPBACK_IFINDEX
	return in.Do(netlink.Up(lo), netlink.AddAddress(eth0, netip.PrefixFrom(j.Address, c.Subnet.Bits())),
		netlink.Up(eth0), netlink.AddDefaultRoute(eth0, c.Gateway))
}

// publish adds the container's ports to the maps.
func (s *Store) publish(nl *netlink.Conn, j *journal) error {
	if len(j.Ports) == 0 {
		return nil
	}
	err := s.commit(func(b *nftables.Batch) {
		for i := range j.Ports {
			b.AddElement(j.Ports[i].element(j.Address))
		}
	})
	if errors.Is(err, unix.ENOENT) {
		// Someone flushed the rules since we looked. To make them again is to
		// publish the ports of every journal, ours among them.
		_, err = s.bridge(nl)
	}
	return err
}

func (s *Store) commit(fill func(*nftables.Batch)) error {
	nft, err := s.dialFilter()
	if err != nil {
		return err
	}
	defer nft.Close()
	b := nftables.NewBatch(s.table())
	fill(b)
	return errdefs.Wrap(nft.Commit(b), "change", "the published ports in table "+s.table())
}

func attachment(j *journal, b *ready, ns *os.File) *Attachment {
	mac := MAC(j.Address)
	a := &Attachment{
		NetNS: ns, Settings: b.Settings, Address: j.Address, Ports: map[string][]container.PortBinding{}, Warnings: b.warnings,
		Endpoint: container.Endpoint{NetworkID: b.ID, EndpointID: ident.New(), Gateway: b.Gateway.String(), IPAddress: j.Address.String(), IPPrefixLen: b.Subnet.Bits(),
			MacAddress: fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5])},
	}
	for _, p := range j.Ports {
		key := strconv.Itoa(int(p.ContainerPort)) + "/" + p.Proto
		a.Ports[key] = append(a.Ports[key], container.PortBinding{HostIP: p.HostIP.String(), HostPort: strconv.Itoa(int(p.HostPort))})
	}
	return a
}
