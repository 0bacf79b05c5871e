package network

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/ident"
)

// world is a host and its surroundings in network namespaces of their own:
//
//	outside 198.51.100.2 ----- 198.51.100.1 uplink, host, bridge ----- containers
//
// The test's goroutine stays on one thread, which is in the host's namespace
// and ends with the test. Sockets belong to the namespace of the thread that
// opened them, so in() is all that is needed to act for someone else.
type world struct {
	*testing.T
	store         *Store
	host, outside *os.File
	servers       []io.Closer // sockets keep their namespace alive
}

const (
	hostAddr    = "198.51.100.1"
	outsideAddr = "198.51.100.2"
	// soon is how long what must fail may take; patience what must succeed:
	// the first packet to a new bridge port may be lost and sent again after a second.
	soon     = 400 * time.Millisecond
	patience = 8 * time.Second
)

func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	for _, tool := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s to look at the result", tool)
		}
	}
	runtime.LockOSThread() // and never unlocked: the thread's namespace is changed
	w := &world{T: t, store: Open(t.TempDir(), t.TempDir())}
	t.Cleanup(w.stop)
	w.outside = newNetNS(t)
	w.host = newNetNS(t)
	w.sh("ip link set lo up; echo 0 > /proc/sys/net/ipv4/ip_forward")
	w.in(w.outside, func() { w.sh("ip link set lo up") })
	w.sh("ip link add uplink type veth peer name eth0 netns /proc/self/fd/3", w.outside)
	w.sh("ip addr add " + hostAddr + "/24 dev uplink; ip link set uplink up")
	w.in(w.outside, func() { w.sh("ip addr add " + outsideAddr + "/24 dev eth0; ip link set eth0 up") })
	return w
}

// newNetNS moves the calling thread into a new network namespace.
func newNetNS(t *testing.T) *os.File {
	t.Helper()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	ns, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

func (w *world) enter(ns *os.File) {
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		panic(err) // the rest of the test would run in the wrong place
	}
}

// stop ends all servers.
func (w *world) stop() {
	for _, s := range w.servers {
		s.Close()
	}
	w.servers = nil
}

// in runs f in another namespace.
func (w *world) in(ns *os.File, f func()) {
	w.enter(ns)
	defer w.enter(w.host)
	f()
}

// sh runs a command line in the current namespace; files become descriptors 3 and up.
func (w *world) sh(line string, files ...*os.File) string {
	w.Helper()
	cmd := exec.Command("sh", "-ec", line)
	cmd.ExtraFiles = files
	var words strings.Builder
	cmd.Stderr = &words
	out, err := cmd.Output()
	if err != nil {
		w.Fatalf("%s: %v: %s", line, err, words.String())
	}
	return string(out)
}

// attach gives a new container its place.
func (w *world) attach(ports ...Publish) *Attachment {
	w.Helper()
	a, _ := w.attachID(ident.New(), ports...)
	return a
}

func (w *world) attachID(id string, ports ...Publish) (*Attachment, string) {
	w.Helper()
	a, err := w.store.Attach(w.Context(), Request{ContainerID: id, Ports: ports})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { a.NetNS.Close() })
	return a, id
}

// serve answers on a port of both protocols in a namespace with the address of whoever asks.
func (w *world) serve(ns *os.File, addr string) {
	w.Helper()
	w.in(ns, func() {
		l, err := net.Listen("tcp4", addr)
		if err != nil {
			w.Fatal(err)
		}
		w.servers = append(w.servers, l)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				io.WriteString(c, c.RemoteAddr().String())
				c.Close()
			}
		}()
		p, err := net.ListenPacket("udp4", addr)
		if err != nil {
			w.Fatal(err)
		}
		w.servers = append(w.servers, p)
		go func() {
			var b [64]byte
			for {
				_, from, err := p.ReadFrom(b[:])
				if err != nil {
					return
				}
				p.WriteTo([]byte(from.String()), from)
			}
		}()
	})
}

// ask returns which address a server saw, asked from a namespace.
func (w *world) ask(from *os.File, proto, addr string, limit time.Duration) (who netip.Addr, err error) {
	w.in(from, func() {
		deadline := time.Now().Add(limit)
		var c net.Conn
		if c, err = net.DialTimeout(proto, addr, limit); err != nil {
			return
		}
		defer c.Close()
		var b [64]byte
		n := 0
		for time.Now().Before(deadline) { // a datagram may be lost: ask again
			if proto == "udp" {
				c.Write([]byte("?"))
			}
			c.SetReadDeadline(time.Now().Add(min(limit, time.Second)))
			if n, err = c.Read(b[:]); err == nil {
				break
			}
			if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, unix.ECONNREFUSED) || limit < time.Second {
				return
			}
		}
		if err == nil {
			var ap netip.AddrPort
			ap, err = netip.ParseAddrPort(string(b[:n]))
			who = ap.Addr()
		}
	})
	return who, err
}

// sees checks that the server at addr answers by proto and saw want.
func (w *world) sees(what string, from *os.File, proto, addr, want string) {
	w.Helper()
	got, err := w.ask(from, proto, addr, patience)
	if err != nil {
		w.Errorf("%s: %s %s: %v", what, proto, addr, err)
	} else if got.String() != want {
		w.Errorf("%s: %s %s: the server saw %s, want %s", what, proto, addr, got, want)
	}
}

// refused checks that nothing answers at addr.
func (w *world) refused(what string, from *os.File, proto, addr string) {
	w.Helper()
	if got, err := w.ask(from, proto, addr, soon); err == nil {
		w.Errorf("%s: %s %s was answered (the server saw %s)", what, proto, addr, got)
	}
}

func at(host any, port int) string { return fmt.Sprintf("%v:%d", host, port) }

// left lists what is left of containers: reservations, journals, cables and elements of maps.
func (w *world) left() (list []string) {
	for _, dir := range []string{w.store.addressDir(), w.store.portDir(), w.store.endpointDir()} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			list = append(list, dir[len(w.store.state):]+"/"+e.Name())
		}
	}
	for line := range strings.Lines(w.sh("ip -o link show type veth")) {
		if name := strings.Fields(line)[1]; !strings.HasPrefix(name, "uplink") {
			list = append(list, name)
		}
	}
	for line := range strings.Lines(w.sh("nft list ruleset")) {
		if strings.Contains(line, "elements") {
			list = append(list, strings.TrimSpace(line))
		}
	}
	return list
}

// nothingLeft waits for what the kernel takes down in its own time.
func (w *world) nothingLeft() {
	w.Helper()
	w.stop()
	var list []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if list = w.left(); len(list) == 0 {
			return
		}
	}
	w.Errorf("left behind: %q", list)
}
