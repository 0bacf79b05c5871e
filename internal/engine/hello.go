package engine

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"strconv"
	"strings"

	"berth/internal/container"
	"berth/internal/hello"
	"berth/internal/image/builtin"
	"berth/internal/runtime/spec"
)

// isTour reports whether a container is the built-in image run as it is, whose
// program wants to be told what only the host knows.
func isTour(rec *container.Record) bool {
	return builtin.IsHello(rec.Config.Image) && rec.Path == builtin.Program && !rec.Config.Tty && !rec.Config.OpenStdin
}

// tourFacts returns the facts as the line that the program reads.
func (e *Engine) tourFacts(rec *container.Record) io.Reader {
	f := hello.Facts{ID: rec.ID, Namespaces: map[string]string{}}
	if st, err := e.store.LoadState(rec.ID); err == nil {
		f.PID = st.PID
	}
	entries, err := os.ReadDir("/proc/self/ns")
	if err == nil {
		for _, entry := range entries {
			if link, err := os.Readlink("/proc/self/ns/" + entry.Name()); err == nil {
				f.Namespaces[entry.Name()] = link
			}
		}
	}
	f.Limits = e.tourLimits(rec)
	if data, err := e.snapshots.GraphData(rec.ID); err == nil {
		f.Layers = append([]string{data["UpperDir"]}, strings.Split(data["LowerDir"], ":")...)
	}
	line, err := json.Marshal(f)
	if err != nil {
		return bytes.NewReader(nil) // the tour is shorter
	}
	return bytes.NewReader(append(line, '\n'))
}

// tourLimits are a few limits in words, with the file that holds each.
func (e *Engine) tourLimits(rec *container.Record) (list [][2]string) {
	g, err := e.group(rec.HostConfig.CgroupParent, rec.ID)
	if err != nil {
		return nil
	}
	pids := int64(spec.DefaultPidsLimit)
	if p := rec.HostConfig.PidsLimit; p != nil {
		pids = *p
	}
	if dir := g.Path("pids"); dir != "" && pids > 0 {
		list = append(list, [2]string{"at most " + strconv.FormatInt(pids, 10) + " processes", dir + "/pids.max"})
	}
	memory := "all the memory there is"
	if m := rec.HostConfig.Memory; m > 0 {
		memory = strconv.FormatInt(m>>20, 10) + " MiB of memory"
	}
	if dir := g.Path("memory"); dir != "" {
		list = append(list, [2]string{memory, dir})
	}
	cpus := "all processors"
	if n := rec.HostConfig.NanoCPUs; n > 0 {
		cpus = strconv.FormatFloat(float64(n)/1e9, 'f', -1, 64) + " processors"
	}
	if dir := g.Path("cpu"); dir != "" {
		list = append(list, [2]string{cpus, dir})
	}
	return list
}
