package network

import (
	"errors"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/ident"
)

func TestContainerReachesOthers(t *testing.T) {
	w := newWorld(t)
	a, b := w.attach(), w.attach()
	gw := a.Settings.Gateway.String()
	w.serve(w.host, "0.0.0.0:9000")
	w.serve(b.NetNS, "0.0.0.0:80")
	w.serve(w.outside, "0.0.0.0:7000")
	for _, proto := range []string{"tcp", "udp"} {
		w.sees("container to host", a.NetNS, proto, at(gw, 9000), a.Address.String())
		w.sees("container to container", a.NetNS, proto, at(b.Address, 80), a.Address.String())
		w.sees("host to container", w.host, proto, at(b.Address, 80), gw)
		w.sees("container to outside, by NAT", a.NetNS, proto, at(outsideAddr, 7000), hostAddr)
	}
	w.in(a.NetNS, func() {
		if text, err := os.ReadFile("/proc/thread-self/net/if_inet6"); err == nil && len(text) > 0 {
			t.Errorf("an IPv4 network leaves IPv6 on in the container (CVE-2024-32473):\n%s", text)
		}
		if out := w.sh("ip -4 addr show eth0"); !strings.Contains(out, "inet "+a.Address.String()+"/16 brd 172.17.255.255 scope global eth0") {
			t.Errorf("eth0 has another address than %s: %s", a.Address, out)
		}
		if out := w.sh("ip -br link show eth0"); !strings.Contains(out, a.Endpoint.MacAddress) {
			t.Errorf("eth0 has another hardware address than %s: %s", a.Endpoint.MacAddress, out)
		}
	})
}

// A container's router advertisements must not configure the host (CVE-2020-13401).
func TestHostIgnoresRouterAdvertisements(t *testing.T) {
	w := newWorld(t)
	w.attach()
	for line := range strings.Lines(w.sh("ip -br link show")) {
		name, _, _ := strings.Cut(strings.Fields(line)[0], "@")
		if !strings.HasPrefix(name, "br-") && !strings.HasPrefix(name, "veth") {
			continue
		}
		text, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + name + "/accept_ra")
		if err == nil && string(text) != "0\n" {
			t.Errorf("%s: accept_ra is %s", name, text)
		}
	}
}

// Where tunnel modules are loaded, every namespace begins with devices of
// theirs: eth0 is not the second then.
func TestNamespaceWithOtherLinks(t *testing.T) {
	w := newWorld(t)
	ns := newNetNS(t)
	w.sh("ip link add tunl0 type bridge")
	w.enter(w.host)
	a, err := w.store.Attach(t.Context(), Request{ContainerID: ident.New(), NetNS: ns})
	if err != nil {
		t.Fatal(err)
	}
	w.in(ns, func() {
		out := w.sh("ip -br -4 addr show eth0; ip route")
		if !strings.Contains(out, a.Address.String()+"/16") || !strings.Contains(out, "default via "+a.Settings.Gateway.String()+" dev eth0") {
			t.Errorf("eth0 is not configured: %s", out)
		}
	})
}

func TestPublishedPort(t *testing.T) {
	w := newWorld(t)
	other := w.attach()
	a, id := w.attachID(ident.New(), Publish{Proto: "tcp", ContainerPort: 80, HostPort: 8080}, Publish{Proto: "udp", ContainerPort: 80, HostPort: 8080},
		Publish{Proto: "tcp", ContainerPort: 80, HostPort: 8081, HostIP: netip.MustParseAddr(hostAddr)})
	gw := a.Settings.Gateway.String()
	w.serve(a.NetNS, "0.0.0.0:80")
	for _, proto := range []string{"tcp", "udp"} {
		w.sees("outside", w.outside, proto, at(hostAddr, 8080), outsideAddr)
		w.sees("host by loopback", w.host, proto, at("127.0.0.1", 8080), gw)
		w.sees("host by bridge address", w.host, proto, at(gw, 8080), gw)
		w.sees("host by its own address", w.host, proto, at(hostAddr, 8080), hostAddr)
		w.sees("another container by the host's address", other.NetNS, proto, at(hostAddr, 8080), gw)
		w.sees("another container by the gateway", other.NetNS, proto, at(gw, 8080), gw)
		w.sees("the container itself by the host's address", a.NetNS, proto, at(hostAddr, 8080), gw)
	}
	w.sees("one address, outside", w.outside, "tcp", at(hostAddr, 8081), outsideAddr)
	w.refused("one address, through another", w.host, "tcp", at("127.0.0.1", 8081))
	// Only what is addressed to the host is for its ports: a container's own
	// connections to port 8080 elsewhere are not caught (CVE-2025-67499).
	w.serve(w.outside, "0.0.0.0:8080")
	w.sees("container to the same port outside", other.NetNS, "tcp", at(outsideAddr, 8080), hostAddr)
	if got := a.Ports["80/tcp"]; len(got) != 2 || got[0].HostIP != "0.0.0.0" || got[0].HostPort != "8080" {
		t.Errorf("reported ports %v", a.Ports)
	}
	if err := w.store.Detach(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	w.refused("after detach", w.outside, "tcp", at(hostAddr, 8080))
	if err := w.store.Detach(t.Context(), id); err != nil {
		t.Errorf("second detach: %v", err)
	}
}

func TestUnpublishedPortsAreClosedToOutside(t *testing.T) {
	w := newWorld(t)
	a := w.attach(Publish{Proto: "tcp", ContainerPort: 80, HostPort: 8080})
	w.serve(a.NetNS, "0.0.0.0:80")
	w.serve(a.NetNS, "0.0.0.0:81")
	w.in(w.outside, func() { w.sh("ip route add " + a.Settings.Subnet.String() + " via " + hostAddr) })
	w.sees("published", w.outside, "tcp", at(hostAddr, 8080), outsideAddr)
	for _, proto := range []string{"tcp", "udp"} {
		w.refused("direct to an unpublished port", w.outside, proto, at(a.Address, 81))
		w.refused("direct to a published container port", w.outside, proto, at(a.Address, 80))
	}
	// The route works: without the rule the same question is answered.
	w.sh("nft flush chain ip " + w.store.table() + " forward")
	w.sees("without the rules", w.outside, "tcp", at(a.Address, 81), outsideAddr)
}

// 127.0.0.1 is the host's alone, although route_localnet lets its packets pass
// through the bridge (CVE-2020-8558, CVE-2025-54388).
func TestLoopbackIsTheHostsAlone(t *testing.T) {
	w := newWorld(t)
	evil := w.attach()
	a := w.attach(Publish{Proto: "tcp", ContainerPort: 80, HostPort: 8080, HostIP: netip.MustParseAddr("127.0.0.1")},
		Publish{Proto: "udp", ContainerPort: 80, HostPort: 8080, HostIP: netip.MustParseAddr("127.0.0.1")})
	gw := a.Settings.Gateway.String()
	w.serve(a.NetNS, "0.0.0.0:80")
	w.serve(w.host, "127.0.0.1:9000")
	w.sh("echo 1 > /proc/sys/net/ipv4/conf/uplink/route_localnet") // the worst that others may have set
	attacker := func(ns *os.File, gateway string) {
		w.in(ns, func() {
			w.sh("ip addr flush dev lo; ip route replace 127.0.0.1/32 via " + gateway + "; echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet")
		})
	}
	attacker(w.outside, hostAddr)
	attacker(evil.NetNS, gw)
	for _, proto := range []string{"tcp", "udp"} {
		w.sees("the host", w.host, proto, at("127.0.0.1", 8080), gw)
		for _, port := range []int{8080, 9000} {
			w.refused("outside by a route", w.outside, proto, at("127.0.0.1", port))
			w.refused("container by a route", evil.NetNS, proto, at("127.0.0.1", port))
		}
		w.refused("outside by the host's address", w.outside, proto, at(hostAddr, 8080))
	}
	// The attack works where nothing guards against it.
	w.sh("nft flush chain ip " + w.store.table() + " guard")
	if _, err := w.ask(evil.NetNS, "tcp", at("127.0.0.1", 9000), patience); err != nil {
		t.Errorf("this test proves nothing: without the guard the service is not reached either: %v", err)
	}
}

func TestParallelAttach(t *testing.T) {
	w := newWorld(t)
	const n = 64
	var wg sync.WaitGroup
	got, errs, ids := make([]*Attachment, n), make([]error, n), make([]string, n)
	for i := range n {
		wg.Go(func() {
			onHost(w, func() {
				ids[i] = ident.New()
				got[i], errs[i] = Open(w.store.dataRoot(), w.store.stateRoot()).Attach(t.Context(),
					Request{ContainerID: ids[i], Ports: []Publish{{Proto: "tcp", ContainerPort: 80}}})
			})
		})
	}
	wg.Wait()
	addrs, ports := map[netip.Addr]bool{}, map[string]bool{}
	for i, a := range got {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		defer a.NetNS.Close()
		addrs[a.Address] = true
		ports[a.Ports["80/tcp"][0].HostPort] = true
	}
	if len(addrs) != n || len(ports) != n {
		t.Errorf("%d different addresses and %d ports for %d containers", len(addrs), len(ports), n)
	}
	w.serve(got[n-1].NetNS, "0.0.0.0:80")
	w.sees("one of many", got[0].NetNS, "tcp", at(got[n-1].Address, 80), got[0].Address.String())
	for i := range n {
		wg.Go(func() {
			onHost(w, func() {
				got[i].NetNS.Close()
				if err := w.store.Detach(t.Context(), ids[i]); err != nil {
					t.Error(err)
				}
			})
		})
	}
	wg.Wait()
	w.nothingLeft()
}

// onHost runs f on a thread in the host's namespace that ends with it; call it in a goroutine of its own.
func onHost(w *world, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with its goroutine
		w.enter(w.host)
		f()
	}()
	<-done
}

// One port, many who want it: one gets it, the others are told.
func TestParallelClaimsOfOnePort(t *testing.T) {
	w := newWorld(t)
	w.attach()
	const n = 16
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range n {
		wg.Go(func() {
			onHost(w, func() {
				id := ident.New()
				a, err := w.store.Attach(t.Context(), Request{ContainerID: id, Ports: []Publish{{Proto: "tcp", ContainerPort: 80, HostPort: 8080}}})
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won++
					a.NetNS.Close()
				} else if !errors.Is(err, errdefs.Conflict) || !strings.Contains(err.Error(), "port is already allocated") {
					t.Error(err)
				}
			})
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d containers got the port", won)
	}
}

func TestFlushedRulesAreRepaired(t *testing.T) {
	w := newWorld(t)
	a := w.attach(Publish{Proto: "tcp", ContainerPort: 80, HostPort: 8080})
	w.serve(a.NetNS, "0.0.0.0:80")
	w.serve(a.NetNS, "0.0.0.0:81")
	w.in(w.outside, func() { w.sh("ip route add " + a.Settings.Subnet.String() + " via " + hostAddr) })
	for _, damage := range []string{"nft flush ruleset", "nft flush table ip " + w.store.table(), "nft delete table ip " + w.store.table()} {
		w.sh(damage)
		w.attach()
		w.sees(damage, w.outside, "tcp", at(hostAddr, 8080), outsideAddr)
		w.sees(damage+", host", w.host, "tcp", at("127.0.0.1", 8080), a.Settings.Gateway.String())
		w.refused(damage+", unpublished", w.outside, "tcp", at(a.Address, 81))
	}
}

// Someone deletes the bridge: the next start makes it again and plugs those in who run.
func TestDeletedBridgeIsRepaired(t *testing.T) {
	w := newWorld(t)
	a := w.attach(Publish{Proto: "tcp", ContainerPort: 80, HostPort: 8080})
	w.serve(a.NetNS, "0.0.0.0:80")
	w.sh("ip link delete " + w.store.Bridge())
	b := w.attach()
	w.sees("the old one from outside", w.outside, "tcp", at(hostAddr, 8080), outsideAddr)
	w.sees("the old one from the new one", b.NetNS, "tcp", at(a.Address, 80), b.Address.String())
}

func TestSubnetAvoidsRoutes(t *testing.T) {
	w := newWorld(t)
	w.sh("ip route add 172.16.0.0/15 via " + outsideAddr) // a VPN's
	w.sh("ip route add 0.0.0.0/1 via " + outsideAddr)     // how OpenVPN takes the default route
	w.sh("ip route add 128.0.0.0/1 via " + outsideAddr)
	if a := w.attach(); a.Settings.Subnet.String() != "172.18.0.0/16" {
		t.Errorf("subnet %s", a.Settings.Subnet)
	}
}

func TestNoSubnetLeftNamesTheRoute(t *testing.T) {
	w := newWorld(t)
	w.sh("ip route add 172.16.0.0/12 via " + outsideAddr + "; ip route add 192.168.0.0/16 via " + outsideAddr + "; ip route add 10.210.0.0/16 via " + outsideAddr)
	_, err := w.store.Attach(t.Context(), Request{ContainerID: ident.New()})
	if !errors.Is(err, errdefs.Exhausted) || !strings.Contains(err.Error(), "10.210.0.0/16") {
		t.Errorf("got %v", err)
	}
}

// The same container starts again before anyone cleaned up after its last run.
func TestSecondAttachReplacesTheFirst(t *testing.T) {
	w := newWorld(t)
	p := Publish{Proto: "tcp", ContainerPort: 80, HostPort: 8080}
	a, id := w.attachID(ident.New(), p)
	a.NetNS.Close()
	b, _ := w.attachID(id, p)
	w.serve(b.NetNS, "0.0.0.0:80")
	w.sees("outside", w.outside, "tcp", at(hostAddr, 8080), outsideAddr)
	b.NetNS.Close()
	if err := w.store.Detach(t.Context(), id); err != nil {
		t.Error(err)
	}
}

// Network changes on a thread that the runtime gives to others afterwards.
func TestThreadComesBack(t *testing.T) {
	w := newWorld(t)
	w.attach()
	var home, now unix.Stat_t
	if err := unix.Fstat(int(w.host.Fd()), &home); err != nil {
		t.Fatal(err)
	}
	if err := unix.Stat("/proc/thread-self/ns/net", &now); err != nil || now.Ino != home.Ino {
		t.Errorf("the thread is in namespace %d, want %d (%v)", now.Ino, home.Ino, err)
	}
}
