package systemd

import (
	"context"
	"errors"
	"math"
	"os"
	"path"
	"strconv"
	"strings"

	"berth/internal/errdefs"
	"berth/internal/linux/cgroup"

	"golang.org/x/sys/unix"
)

// DefaultSlice is where a container's scope goes unless --cgroup-parent names another slice.
const DefaultSlice = "system.slice"

// Scope is the unit to be made for a container.
type Scope struct {
	ID          string // the container's id; the unit is docker-<ID>.scope
	Slice       string // "system.slice", or one of its own like "web-front.slice"; "": DefaultSlice
	PID         int    // a process that runs: the container's first, or a Holder
	Description string // shown by systemctl
}

// Unit returns the name of the scope of a container.
func Unit(id string) string { return "docker-" + id + ".scope" }

// Available reports whether systemd is the init of this machine (sd_booted(3)).
func Available() bool { return unix.Access("/run/systemd/system", unix.F_OK) == nil }

// GroupName returns the path of a container's group below the tree's root. A
// slice "a-b.slice" is below "a.slice"; "-.slice" is the root.
func GroupName(slice, id string) string {
	if slice == "" {
		slice = DefaultSlice
	}
	stem := strings.TrimSuffix(slice, ".slice")
	if stem == "-" {
		return "/" + Unit(id)
	}
	name := ""
	for i := range len(stem) {
		if stem[i] == '-' {
			name += "/" + stem[:i] + ".slice"
		}
	}
	return name + "/" + slice + "/" + Unit(id)
}

// CheckSlice says what is wrong with the name of a slice.
func CheckSlice(name string) error {
	stem, ok := strings.CutSuffix(name, ".slice")
	bad := !ok || stem == "" || len(name) > 255 || stem[0] == '-' && stem != "-" || strings.HasSuffix(stem, "-") && stem != "-" || strings.Contains(stem, "--")
	for _, c := range stem {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune(`:-_.\`, c)) {
			bad = true
		}
	}
	if bad {
		return &errdefs.Error{Kind: errdefs.InvalidArgument, Op: "use", Subject: "--cgroup-parent " + strconv.Quote(name),
			Err: errors.New("it is not the name of a slice"), Hint: "name it as systemd does: system.slice, web.slice, web-front.slice"}
	}
	return nil
}

// Create asks systemd for a scope with these limits around a running process
// and returns its group. systemd is told the limits too, or it would set its
// own at the next daemon-reload. If Create fails the caller ends the process,
// and with it goes the scope.
func Create(ctx context.Context, h *cgroup.Host, s Scope, l cgroup.Limits) (*cgroup.Group, error) {
	if s.Slice == "" {
		s.Slice = DefaultSlice
	}
	if err := CheckSlice(s.Slice); err != nil {
		return nil, err
	}
	if h.Version != cgroup.V2 {
		return nil, errdefs.New(errdefs.Unsupported, "cannot make %s: this host runs cgroup %s", Unit(s.ID), h.Version).
			WithHint("scopes need cgroup v2: name a --cgroup-parent that does not end in .slice")
	}
	l, warnings, err := h.Check("/init.scope", l)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	c, err := dial(ctx)
	if err != nil {
		return nil, errdefs.Wrap(err, "create", Unit(s.ID))
	}
	defer c.close()
	if err := c.start(ctx, &s, &l); err != nil {
		return nil, errdefs.Wrap(err, "create", Unit(s.ID))
	}
	name, err := groupOf(s.PID)
	if err != nil {
		return nil, errdefs.Wrap(err, "create", Unit(s.ID))
	}
	g := h.Open(name)
	more, err := g.Update(l) // what properties cannot say, and exactly what was asked for
	g.Warnings = append(warnings, more...)
	return g, err
}

// start makes the unit and waits until it runs.
func (c *conn) start(ctx context.Context, s *Scope, l *cgroup.Limits) error {
	body := transient(s, l)
	err := c.job(ctx, "StartTransientUnit", "ssa(sv)a(sa(sv))", body)
	if !errors.Is(err, errdefs.AlreadyExists) {
		return err
	}
	// A scope of an earlier run: failed, and waiting for somebody to take note,
	// or ended so lately that systemd does not know it yet.
	if group, groupErr := c.controlGroup(ctx, Unit(s.ID)); groupErr == nil {
		if b, readErr := os.ReadFile("/sys/fs/cgroup" + group + "/cgroup.events"); readErr == nil && strings.Contains(string(b), "populated 1") {
			return err
		}
	}
	if stopErr := c.stop(ctx, Unit(s.ID)); stopErr != nil {
		return errors.Join(err, stopErr)
	}
	return c.job(ctx, "StartTransientUnit", "ssa(sv)a(sa(sv))", body)
}

// job calls a method of the manager that starts a job, and waits for its end.
func (c *conn) job(ctx context.Context, method, signature string, body []byte) error {
	reply, err := c.call(ctx, managerCall(method, signature, body))
	if err != nil {
		return err
	}
	job := reply.str()
	if reply.bad {
		return errdefs.New(errdefs.Unavailable, "malformed D-Bus message")
	}
	result, err := c.wait(ctx, job)
	if err == nil && result != "done" {
		return errdefs.New(errdefs.Internal, "systemd's job ended with %q", result).WithHint("journalctl -b _PID=1 says why")
	}
	return err
}

func managerCall(method, signature string, body []byte) *call {
	return &call{destination: managerName, path: managerPath, iface: managerIface, member: method, signature: signature, body: body}
}

// stop ends a unit and makes systemd forget it, failed or not. One that does not exist is no error.
func (c *conn) stop(ctx context.Context, unit string) error {
	var name, nameAndMode encoder
	name.str(unit)
	nameAndMode.str(unit)
	nameAndMode.str("replace")
	err := c.job(ctx, "StopUnit", "ss", nameAndMode.b)
	if errors.Is(err, errdefs.NotFound) {
		return nil
	}
	if _, resetErr := c.call(ctx, managerCall("ResetFailedUnit", "s", name.b)); resetErr != nil && !errors.Is(resetErr, errdefs.NotFound) {
		err = errors.Join(err, resetErr)
	}
	return err
}

// controlGroup returns the group of a scope, "" if it has none now.
func (c *conn) controlGroup(ctx context.Context, unit string) (string, error) {
	var name, property encoder
	name.str(unit)
	reply, err := c.call(ctx, managerCall("GetUnit", "s", name.b))
	if err != nil {
		return "", err
	}
	object := reply.str()
	property.str("org.freedesktop.systemd1.Scope")
	property.str("ControlGroup")
	reply, err = c.call(ctx, &call{destination: managerName, path: object, iface: "org.freedesktop.DBus.Properties",
		member: "Get", signature: "ss", body: property.b})
	if err != nil {
		return "", err
	}
	reply.signature()
	return reply.str(), nil
}

// Remove ends the scope that Create made and waits until it is gone. The
// group's processes should have ended before; systemd ends those that have not.
// (Removing the directory ourselves would hide the end of the scope from systemd.)
func Remove(ctx context.Context, g *cgroup.Group) error {
	unit := path.Base(g.Name)
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	c, err := dial(ctx)
	if err == nil {
		defer c.close()
		err = c.stop(ctx, unit)
	}
	return errdefs.Wrap(err, "remove", unit)
}

// property is one setting of the unit, named as in systemd.resource-control(5).
type property struct {
	name  string
	value any
}

// transient returns the arguments of StartTransientUnit.
func transient(s *Scope, l *cgroup.Limits) []byte {
	var e encoder
	e.str(Unit(s.ID))
	e.str("fail") // if there is a job for it already
	e.array(8, func() {
		for _, p := range properties(s, l) {
			e.align(8)
			e.str(p.name)
			e.variant(p.value)
		}
	})
	e.array(8, func() {}) // no auxiliary units
	return e.b
}

// properties translates the limits into systemd's.
func properties(s *Scope, l *cgroup.Limits) []property {
	description := s.Description
	if description == "" {
		description = "container " + s.ID
	}
	list := []property{
		{"Description", description},
		{"Slice", s.Slice},
		{"PIDs", []uint32{uint32(s.PID)}},
		{"Delegate", true}, // the group's inside is ours, and it gets every controller
		{"CPUAccounting", true}, {"MemoryAccounting", true}, {"TasksAccounting", true}, {"IOAccounting", true},
		{"DefaultDependencies", false},        // at shutdown the engine's own unit decides
		{"CollectMode", "inactive-or-failed"}, // forget the unit when it has ended, however it did
	}
	add := func(name string, value any) { list = append(list, property{name, value}) }
	if w := cgroup.CPUWeight(l.CPUShares); w != 0 {
		add("CPUWeight", w)
	}
	if quota, period := l.Bandwidth(); quota > 0 {
		if period == 0 {
			period = cgroup.DefaultPeriod
		}
		perSecond := uint64(quota) * 1e6 / period
		add("CPUQuotaPerSecUSec", (perSecond+9999)/10000*10000) // systemd counts in hundredths of a CPU
		add("CPUQuotaPeriodUSec", period)
	}
	for _, set := range []struct{ name, list string }{{"AllowedCPUs", l.CpusetCpus}, {"AllowedMemoryNodes", l.CpusetMems}} {
		if set.list != "" {
			if members, err := cgroup.ParseList(set.list); err == nil {
				add(set.name, bits(members))
			}
		}
	}
	if l.Memory != 0 {
		add("MemoryMax", unlimited(l.Memory))
	}
	if swap, set := l.Swap(); set {
		add("MemorySwapMax", unlimited(swap))
	}
	if l.MemoryReservation != 0 {
		add("MemoryLow", unlimited(l.MemoryReservation))
	}
	if l.Pids != 0 {
		add("TasksMax", unlimited(l.Pids))
	}
	if w := cgroup.IOWeight(l.BlkioWeight); w != 0 {
		add("IOWeight", w)
	}
	return list
}

// unlimited returns systemd's word for no limit where n is negative.
func unlimited(n int64) uint64 {
	if n < 0 {
		return math.MaxUint64
	}
	return uint64(n)
}

// bits packs a set as systemd takes it: number 0 is the lowest bit of the first byte.
func bits(set []bool) []byte {
	b := make([]byte, (len(set)+7)/8)
	for i, in := range set {
		if in {
			b[i/8] |= 1 << (i % 8)
		}
	}
	return b
}

// groupOf returns the v2 group that a process is in.
func groupOf(pid int) (string, error) {
	path := "/proc/" + strconv.Itoa(pid) + "/cgroup"
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSuffix(name, "\n"), nil
		}
	}
	return "", errdefs.New(errdefs.NotFound, "%s names no group of cgroup v2", path)
}
