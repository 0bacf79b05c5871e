package dockerfile

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"berth/internal/errdefs"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
)

// expose carries out EXPOSE: ports and ranges of them, "8000-8010/udp".
func (e *evaluation) expose(in *instructions.ExposeCommand) error {
	ports := cloneMap(e.config.Config.ExposedPorts)
	var said []string
	for _, p := range in.Ports {
		words, err := e.t.expand.words(p, e.vars)
		if err != nil {
			return err
		}
		for _, w := range words {
			list, err := e.ports(w)
			if err != nil {
				return pointed(w, err)
			}
			for _, p := range list {
				ports[p] = struct{}{}
			}
			said = append(said, list...)
		}
	}
	e.config.Config.ExposedPorts = ports
	if err := e.t.set.budget.spend(64*len(ports) + 16*len(said)); err != nil {
		return err
	}
	return e.step(nil, fmt.Sprintf("EXPOSE %v", said))
}

// ports reads [[IP:]HOSTPORT:]PORT[-PORT][/PROTOCOL]. The address and port of
// the host are checked and dropped: an image cannot publish.
func (e *evaluation) ports(word string) ([]string, error) {
	bad := func(format string, args ...any) error {
		return errdefs.New(errdefs.InvalidArgument, format, args...).
			WithHint("write a port, or a range, and a protocol: EXPOSE 80 8000-8010/udp")
	}
	host, port := "", word
	if i := strings.LastIndexByte(word, ':'); i >= 0 {
		host, port = word[:i], word[i+1:]
	}
	port, proto, _ := strings.Cut(port, "/")
	if port == "" {
		return nil, bad("invalid port: %q: no port specified", word)
	}
	switch strings.ToLower(proto) {
	case "":
		proto = "tcp"
	case "tcp", "udp", "sctp":
	default:
		return nil, bad("invalid port: %q: invalid proto: %s", word, proto)
	}
	if lower := strings.ToLower(proto); lower != proto {
		e.lint.Run(&linter.RuleExposeProtoCasing, e.now.Location(), linter.RuleExposeProtoCasing.Format(word))
		proto = lower
	}
	first, last, err := portRange(port)
	if err != nil {
		return nil, bad("invalid containerPort: %s", port)
	}
	if host != "" {
		e.lint.Run(&linter.RuleExposeInvalidFormat, e.now.Location(), linter.RuleExposeInvalidFormat.Format(word))
		if err := checkHost(host, last-first); err != nil {
			return nil, bad("%w", err)
		}
	}
	if err := e.t.set.budget.spend(32 * (last - first)); err != nil {
		return nil, err
	}
	list := make([]string, 0, last-first+1)
	for n := first; n <= last; n++ {
		list = append(list, strconv.Itoa(n)+"/"+proto)
	}
	return list, nil
}

// checkHost reads what stands before the port: [IP:]HOSTPORT[-HOSTPORT], either
// of them maybe empty. more is by how many the container's range is longer than one.
func checkHost(host string, more int) error {
	ip, port := "", host
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		ip, port = host[:i], host[i+1:]
	}
	if ip != "" {
		if strings.HasPrefix(ip, "[") && strings.HasSuffix(ip, "]") {
			ip = ip[1 : len(ip)-1]
		}
		if _, err := netip.ParseAddr(ip); err != nil {
			return fmt.Errorf("invalid IP address: %s", ip)
		}
	}
	if port == "" {
		return nil
	}
	first, last, err := portRange(port)
	if err != nil {
		return fmt.Errorf("invalid hostPort: %s", port)
	}
	if last-first != more && more != 0 {
		return fmt.Errorf("the ranges of %s and of the container's ports differ in length", port)
	}
	return nil
}

func portRange(s string) (first, last int, err error) {
	from, to, both := strings.Cut(s, "-")
	a, err := strconv.ParseUint(from, 10, 16)
	if err != nil {
		return 0, 0, err
	}
	b := a
	if both {
		if b, err = strconv.ParseUint(to, 10, 16); err != nil || b < a {
			return 0, 0, fmt.Errorf("bad range %s", s)
		}
	}
	return int(a), int(b), nil
}
