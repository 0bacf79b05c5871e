// Package engine provides what berth can do, one file per verb, as a library
// behind every door: the CLI, and later the Docker API, CRI and the web page.
//
// An Engine is five services over one data root. It holds no state of its own:
// everything is in files and in the kernel, so any number of Engines, in any
// number of processes, may work on one root at once. Methods take a container
// or image reference as the user typed it: a name, an id or a unique prefix.
package engine

import "log/slog"

// Options say where an engine keeps its things.
type Options struct {
	DataRoot  string // images, layers, containers, volumes; kept across reboots
	StateRoot string // sockets, locks, network handles; on a tmpfs
	Log       *slog.Logger
}
