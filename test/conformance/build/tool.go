package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// toolName as the first argument makes this program a small tool for the setup
// of cases, which does what Debian's basic programs cannot.
const toolName = "tool"

// tool does "setxattr FILE NAME VALUE" and "socket PATH".
func tool(args []string) error {
	switch {
	case len(args) == 4 && args[0] == "setxattr":
		return unix.Lsetxattr(args[1], args[2], []byte(args[3]), 0)
	case len(args) == 2 && args[0] == "socket":
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		return unix.Bind(fd, &unix.SockaddrUnix{Name: args[1]})
	}
	return fmt.Errorf("unknown tool %q", args)
}
