// Package hello provides the program of the built-in image: `berth run hello`
// shows a newcomer what a container is, by printing what the program sees from
// inside beside what the host sees of the same process.
//
// A process cannot learn its own pid on the host: that is what a pid namespace
// is for. So the engine tells it: it writes Facts as one line of JSON to the
// program's stdin.
package hello

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Facts are what only the host knows of the container.
type Facts struct {
	ID         string
	PID        int               // of PID 1 on the host
	Namespaces map[string]string // the host's: "pid" -> "pid:[4026531836]"
	Limits     [][2]string       // what is limited, and where it is written
	Layers     []string          // directories, topmost first
}

// namespaces in the order in which the article of the tour explains them.
func namespaces() []string {
	return []string{"mnt", "uts", "ipc", "pid", "net", "cgroup", "time", "user"}
}

// Main prints the tour and returns the exit code.
func Main(in io.Reader, out io.Writer) int {
	f := readFacts(in)
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, "Hello from a container.\n\n")
	fmt.Fprintf(w, "It is not a machine: it is a process of this Linux kernel (%s), as any other,\n", kernel())
	fmt.Fprintf(w, "with a view of its own. This one is number %d in here", os.Getpid())
	if f.PID != 0 {
		fmt.Fprintf(w, " and number %d on the host", f.PID)
	}
	fmt.Fprintf(w, ".\n\n")
	printNamespaces(w, f)
	printLimits(w, f)
	printLayers(w, f)
	fmt.Fprintf(w, "Try next:  berth run --rm -it IMAGE sh      berth run --help\n")
	if w.Flush() != nil {
		return 1
	}
	return 0
}

func printNamespaces(w io.Writer, f Facts) {
	fmt.Fprintf(w, "Namespaces decide what it sees      (ls -l /proc/self/ns)\n")
	fmt.Fprintf(w, "  %-8s %-22s %s\n", "", "in here", "on the host")
	for _, name := range namespaces() {
		mine, err := os.Readlink("/proc/self/ns/" + name)
		if err != nil {
			continue
		}
		host, note := f.Namespaces[name], ""
		if host == mine {
			note = "  shared"
		}
		fmt.Fprintf(w, "  %-8s %-22s %s%s\n", name, mine, host, note)
	}
	fmt.Fprintln(w)
}

func printLimits(w io.Writer, f Facts) {
	if len(f.Limits) == 0 {
		return
	}
	fmt.Fprintf(w, "Control groups decide how much it may use\n")
	for _, l := range f.Limits {
		fmt.Fprintf(w, "  %-30s %s\n", l[0], l[1])
	}
	fmt.Fprintln(w)
}

func printLayers(w io.Writer, f Facts) {
	if len(f.Layers) == 0 {
		return
	}
	fmt.Fprintf(w, "Its files are directories of the host, laid over each other (overlay)\n")
	for i, dir := range f.Layers {
		role := "read-only"
		if i == 0 {
			role = "writable"
		}
		fmt.Fprintf(w, "  %-10s %s\n", role, dir)
	}
	fmt.Fprintln(w)
}

// readFacts waits a moment for the engine's line; without it (started by hand,
// or detached) the tour is shorter.
func readFacts(in io.Reader) (f Facts) {
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(in).ReadString('\n')
		line <- text
	}()
	select {
	case text := <-line:
		if json.Unmarshal([]byte(text), &f) != nil {
			return Facts{}
		}
	case <-time.After(time.Second):
	}
	return f
}

func kernel() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}
