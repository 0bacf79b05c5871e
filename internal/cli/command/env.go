// Package command provides what every verb of the command line is built from:
// the environment it acts in, the checks of its arguments, and the errors that
// carry an exit code.
//
// A verb is three things in one file of its noun's folder: an options struct,
// a constructor newXCmd(env) that binds flags to it, and a run function that
// calls the engine. The constructor of a verb runs only if the verb was typed.
package command

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"berth/internal/cli/streams"
	"berth/internal/engine"
)

// Env is what a verb acts in. Tests replace any of it.
type Env struct {
	*streams.Streams
	// DataRoot and StateRoot are the engine's roots, from flags, environment or default.
	DataRoot, StateRoot string
	// Global are the global flags as typed, for a sibling binary that takes over.
	Global []string
	// Debug asks for causes that a user normally need not see.
	Debug bool
	// Log is where the engine logs; nil: nowhere.
	Log *slog.Logger
	// Now is the clock.
	Now func() time.Time
	// LookupEnv reads the environment of the client.
	LookupEnv func(string) (string, bool)
}

// New returns an Env over s with the default roots and the real clock.
func New(s *streams.Streams) *Env {
	e := &Env{Streams: s, Now: time.Now, LookupEnv: os.LookupEnv}
	e.DataRoot, e.StateRoot = defaultRoots()
	return e
}

// defaultRoots follows the file hierarchy standard for root and the XDG base
// directories for everyone else.
func defaultRoots() (data, state string) {
	data, state = "/var/lib/berth", "/run/berth"
	if uid := os.Getuid(); uid != 0 {
		base := os.Getenv("XDG_DATA_HOME")
		if base == "" {
			base = filepath.Join(os.Getenv("HOME"), ".local", "share")
		}
		data = filepath.Join(base, "berth")
		run := os.Getenv("XDG_RUNTIME_DIR")
		if run == "" {
			run = filepath.Join("/run/user", itoa(uid))
		}
		state = filepath.Join(run, "berth")
	}
	if d := os.Getenv("BERTH_DATA_ROOT"); d != "" {
		data = d
	}
	if s := os.Getenv("BERTH_STATE_ROOT"); s != "" {
		state = s
	}
	return data, state
}

// Open opens the engine.
func (e *Env) Open(ctx context.Context) (*engine.Engine, error) {
	log := e.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return engine.Open(ctx, engine.Options{DataRoot: e.DataRoot, StateRoot: e.StateRoot, Log: log})
}

// Interruptible returns a context that ends at the first Ctrl-C or SIGTERM.
// Verbs that wait or work long use it; for the others the default action of the
// signal is right, since any process of berth may die at any instant.
func Interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
}
