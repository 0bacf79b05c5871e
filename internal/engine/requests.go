package engine

import (
	"io"
	"time"

	"berth/internal/container"
)

// CreateRequest asks for a container. Config and HostConfig hold what the user
// said and nothing else; the image's config and the defaults are merged in by Create.
type CreateRequest struct {
	Name       string // "" : a random name
	Platform   string // "os/arch[/variant]", "" : this host's
	Pull       string // "missing" (default), "always", "never"
	Quiet      bool   // no pull progress
	Config     container.Config
	HostConfig container.HostConfig
}

// CreateResult is a created container.
type CreateResult struct {
	ID       string
	Warnings []string // what was asked and cannot be done here, one line each
}

// StartOptions say how a start is watched.
type StartOptions struct {
	// Attach, when not nil, returns a connection made before the program runs,
	// so that not one byte of its output is missed.
	Attach *AttachOptions
}

// AttachOptions choose the streams of an attachment.
type AttachOptions struct {
	Stdin, Stdout, Stderr bool
	// Rows and Cols size the container's terminal, 0 when the client has none.
	Rows, Cols uint16
}

// StopOptions override the container's own stop settings.
type StopOptions struct {
	Signal  string // "" : the container's, else SIGTERM
	Timeout *int   // seconds until SIGKILL; nil: the container's, else 10; -1: never
}

// StopResult tells how a container ended.
type StopResult struct {
	AlreadyStopped bool
	// Note says why the stop did not take the usual course ("PID 1 ignores SIGTERM: killed at once"), or "".
	Note string
}

// RemoveOptions say how far a removal goes.
type RemoveOptions struct {
	Force   bool // kill it first if it runs
	Volumes bool // also its anonymous volumes
}

// ListOptions select containers.
type ListOptions struct {
	All     bool // also those that do not run
	Last    int  // only the newest n, whatever their state; 0: no limit
	Size    bool // also compute the sizes
	Filters Filters
}

// Filters are the --filter flags: key -> values; values of one key are alternatives.
type Filters map[string][]string

// Summary is one row of ps.
type Summary struct {
	container.State
	SizeRw     int64 // bytes in the writable layer; -1: not computed
	SizeRootFs int64 // bytes of all layers together; -1: not computed
}

// ExecRequest asks for one more program in a running container.
type ExecRequest struct {
	Cmd        []string
	Env        []string
	User       string
	WorkingDir string
	Tty        bool
	Privileged bool
	Detach     bool
	// Stdio are the descriptors the program gets when neither Tty nor Detach is
	// set and they are not terminals; see Exec.
	Stdin          io.Reader // nil: /dev/null
	Stdout, Stderr io.Writer
	Rows, Cols     uint16
}

// LogOptions select log lines.
type LogOptions struct {
	Follow         bool
	Tail           int // last n lines; -1: all
	Since, Until   time.Time
	Stdout, Stderr bool
}

// LogLine is one line of a container's output, or a part of a very long one.
type LogLine struct {
	Time   time.Time
	Stderr bool
	Data   []byte // with its newline, if it had one
}

// CommitRequest asks for an image made from a container.
type CommitRequest struct {
	Reference string // "" : no name
	Author    string
	Comment   string
	Changes   []string // Dockerfile instructions: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, USER, VOLUME, WORKDIR
	Pause     bool
}

// Stats is one sample of a container's use of the machine.
type Stats struct {
	ID, Name    string
	CPUPercent  float64 // 100 = one core fully used
	MemoryUsage uint64  // bytes, without the page cache that can be given back
	MemoryLimit uint64  // bytes; the host's memory when there is no limit
	NetRx       uint64  // bytes received since the start
	NetTx       uint64
	BlockRead   uint64 // bytes
	BlockWrite  uint64
	PIDs        uint64
}

// Process is one row of top: the titles are given once by Top.
type Process []string

// Change is one path that differs from the image.
type Change struct {
	Kind byte   // 'C' changed, 'A' added, 'D' deleted
	Path string // absolute inside the container
}
