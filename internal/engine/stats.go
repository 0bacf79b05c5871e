package engine

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/linux/cgroup"
)

// CPU use is a difference between two looks. The first figure comes after
// firstLook, two whole periods of CPU bandwidth control: a container with
// --cpus runs at the start of each period and waits at its end, so that any
// other length would see more of one than of the other.
const (
	firstLook = 2 * cgroup.DefaultPeriod * time.Microsecond
	nextLook  = time.Second
)

// Stats samples containers; all running ones if refs is empty and all is false,
// every one if all is true. It calls yield once for each round with one entry
// per container, a second apart; with stream false once only. All containers
// are looked at together, so that one pause serves them all.
func (c *Containers) Stats(ctx context.Context, refs []string, all, stream bool, yield func([]Stats) error) error {
	w := statsWatch{e: c.e, refs: refs, all: all}
	if err := w.resolve(); err != nil {
		return err
	}
	if err := w.look(); err != nil {
		return err
	}
	for pause := firstLook; ; pause = nextLook {
		if len(w.watched) > 0 || pause == nextLook {
			if err := sleep(ctx, pause); err != nil {
				return err
			}
		}
		list := w.sample()
		if err := yield(list); err != nil || !stream {
			return err
		}
		if len(refs) > 0 && len(list) == 0 {
			return nil // all that were asked for have been removed
		}
		if err := w.look(); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// statsWatch is a set of containers between two looks.
type statsWatch struct {
	e       *Engine
	refs    []string
	ids     []string // of refs
	all     bool
	watched []watched // in the order of the rows
}

// watched is one container and what was read of it.
type watched struct {
	state container.State
	group *cgroup.Group // nil: it does not run
	cpu   reading
}

// reading is what the counter of CPU time said, in nanoseconds.
type reading struct {
	cpu uint64
	at  time.Time
}

// resolve turns the references into ids, once: a name may move while we watch.
func (w *statsWatch) resolve() error {
	for _, ref := range w.refs {
		id, err := w.e.store.Resolve(ref)
		if err != nil {
			return err
		}
		w.ids = append(w.ids, id)
	}
	return nil
}

// look lists the containers again, keeping the last look of those that it knows.
func (w *statsWatch) look() error {
	states, err := w.states()
	if err != nil {
		return err
	}
	before := w.watched
	w.watched = make([]watched, 0, len(states))
	for _, st := range states {
		i := slices.IndexFunc(before, func(b watched) bool { return b.state.ID == st.ID && b.state.PID == st.PID })
		if i >= 0 {
			before[i].state = st
			w.watched = append(w.watched, before[i])
			continue
		}
		n := watched{state: st}
		if st.PID > 0 {
			if g, err := w.e.groupOf(st); err == nil {
				n.group = g
				n.cpu = readCPU(g)
			}
		}
		w.watched = append(w.watched, n)
	}
	return nil
}

// states returns the containers to be shown: as asked for, or the newest first.
func (w *statsWatch) states() ([]container.State, error) {
	if len(w.refs) == 0 {
		states, err := w.e.store.States()
		if !w.all {
			states = slices.DeleteFunc(states, func(s container.State) bool { return s.Status != container.Running && s.Status != container.Paused })
		}
		slices.SortFunc(states, func(a, b container.State) int {
			if n := b.Created.Compare(a.Created); n != 0 {
				return n
			}
			return strings.Compare(a.ID, b.ID)
		})
		return states, err
	}
	states := make([]container.State, 0, len(w.ids))
	for _, id := range w.ids {
		st, err := w.e.store.LoadState(id)
		if errors.Is(err, errdefs.NotFound) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		states = append(states, st)
	}
	return states, nil
}

// readCPU reads the CPU time, and the time in the middle of that: where the kernel
// adds up the counters of many processors, or is slow, it is not done at once.
// Of a group that has just ended there is none: the next look leaves it out.
func readCPU(g *cgroup.Group) (r reading) {
	begin := time.Now()
	r.cpu, _ = g.CPUUsage()
	r.at = begin.Add(time.Since(begin) / 2)
	return r
}

// since returns how many processors were in use on average since another reading.
func (r reading) since(before reading) float64 {
	elapsed := r.at.Sub(before.at)
	if elapsed <= 0 || r.cpu < before.cpu {
		return 0
	}
	return float64(r.cpu-before.cpu) / float64(elapsed)
}

// sample takes the second look.
func (w *statsWatch) sample() []Stats {
	memory := hostMemory()
	list := make([]Stats, 0, len(w.watched))
	for i := range w.watched {
		list = append(list, w.watched[i].sample(memory))
	}
	return list
}

// sample returns the use of one container; zeros if it does not run.
func (w *watched) sample(hostMemory uint64) Stats {
	s := Stats{ID: w.state.ID, Name: w.state.Name}
	if w.group == nil {
		return s
	}
	cpu := readCPU(w.group)
	use, err := w.group.Stats()
	if err != nil {
		return s // it has ended since
	}
	s.CPUPercent, w.cpu = cpu.since(w.cpu)*100, cpu
	s.MemoryUsage, s.MemoryLimit = use.MemoryInUse(), min(use.MemoryLimit, hostMemory)
	s.BlockRead, s.BlockWrite, s.PIDs = use.BlockRead, use.BlockWrite, use.PIDs
	if w.state.NetworkMode != "host" { // whose traffic is the host's
		text, _ := os.ReadFile("/proc/" + itoa(w.state.PID) + "/net/dev")
		s.NetRx, s.NetTx = traffic(string(text))
	}
	return s
}

// hostMemory is the machine's memory in bytes.
func hostMemory() uint64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0
	}
	return uint64(info.Totalram) * uint64(info.Unit)
}
