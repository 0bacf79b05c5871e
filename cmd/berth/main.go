// The runtime would read this process's CPU limit at every start and again every
// second; a command is over before that matters, and a monitor sleeps.

//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command berth is a container engine without a daemon.
package main

import (
	"context"
	"os"

	"berth/internal/cli"
	"berth/internal/cli/streams"
	"berth/internal/engine"
)

func main() {
	if code, ok := engine.Role(os.Args); ok {
		os.Exit(code)
	}
	os.Exit(cli.Main(context.Background(), os.Args[1:], streams.Std()))
}
