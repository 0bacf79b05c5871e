package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
)

// isolated marks the second life of this program, inside namespaces.
const isolated = "BERTH_DIFF_BUILD_ISOLATED"

// isolate runs this program again in a mount and a network namespace of its own,
// so that whatever the builders mount or connect is gone in the end. It reports
// whether this is that second life.
func isolate(ctx context.Context) (inside bool, err error) {
	if os.Getenv(isolated) != "" {
		out, err := exec.CommandContext(ctx, "ip", "link", "set", "lo", "up").CombinedOutput()
		if err != nil {
			return true, fmt.Errorf("ip link: %w: %s", err, out)
		}
		return true, nil
	}
	if os.Getuid() != 0 {
		return false, fmt.Errorf("builds need root")
	}
	self, err := os.Executable()
	if err != nil {
		return false, err
	}
	cmd := exec.CommandContext(ctx, "unshare", append([]string{"--mount", "--net", "--propagation", "private", self}, os.Args[1:]...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Env = append(os.Environ(), isolated+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		os.Exit(1) // it has said why
	}
	return false, nil
}
