// Command berthd is the part of berth that speaks protocols.
package main

import (
	"context"
	"os"

	"berth/internal/cli/daemon"
	"berth/internal/cli/streams"
	"berth/internal/engine"
)

func main() {
	if code, ok := engine.Role(os.Args); ok {
		os.Exit(code)
	}
	os.Exit(daemon.Main(context.Background(), os.Args[1:], streams.Std()))
}
