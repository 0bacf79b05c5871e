package seccomp

// On I386 many calls have a second form: one operation of socketcall(2) or
// ipc(2). What a profile says about bind(2) must hold for socketcall(SYS_BIND)
// too, or a program walks around a profile by being 32-bit.
//
// Only the operation can be seen, its arguments lie in memory. So a rule that
// allows a call with certain arguments does not allow the second form, and a
// rule that forbids a call with certain arguments forbids it with all.

// multiplexed returns the call that has a call as its operation, and the
// operation's number (linux/net.h, linux/ipc.h); "" if there is none.
func multiplexed(name string) (by string, operation uint64) {
	switch name {
	case "socket":
		return "socketcall", sysSocket
	case "bind":
		return "socketcall", 2
	case "connect":
		return "socketcall", 3
	case "listen":
		return "socketcall", 4
	case "accept":
		return "socketcall", 5
	case "getsockname":
		return "socketcall", 6
	case "getpeername":
		return "socketcall", 7
	case "socketpair":
		return "socketcall", 8
	case "send":
		return "socketcall", 9
	case "recv":
		return "socketcall", 10
	case "sendto":
		return "socketcall", 11
	case "recvfrom":
		return "socketcall", 12
	case "shutdown":
		return "socketcall", 13
	case "setsockopt":
		return "socketcall", 14
	case "getsockopt":
		return "socketcall", 15
	case "sendmsg":
		return "socketcall", 16
	case "recvmsg":
		return "socketcall", 17
	case "accept4":
		return "socketcall", 18
	case "recvmmsg":
		return "socketcall", 19
	case "sendmmsg":
		return "socketcall", 20
	}
	return multiplexedIPC(name)
}

func multiplexedIPC(name string) (by string, operation uint64) {
	switch name {
	case "semop":
		return "ipc", 1
	case "semget":
		return "ipc", 2
	case "semctl":
		return "ipc", 3
	case "semtimedop":
		return "ipc", 4
	case "msgsnd":
		return "ipc", 11
	case "msgrcv":
		return "ipc", 12
	case "msgget":
		return "ipc", 13
	case "msgctl":
		return "ipc", 14
	case "shmat":
		return "ipc", 21
	case "shmdt":
		return "ipc", 22
	case "shmget":
		return "ipc", 23
	case "shmctl":
		return "ipc", 24
	}
	return "", 0
}

// applyMultiplexed adds a rule about a call to the verdict on the call that has
// it as an operation.
func (c *compiler) applyMultiplexed(r *Rule, name string) {
	by, operation := multiplexed(name)
	if by == "" || !c.arches.has(I386) || len(r.Args) > 0 && r.Action.permissive() {
		return
	}
	if at, ok := find(by); ok {
		c.operations = append(c.operations, Arg{Value: operation})
		n, slot := len(c.operations), int(tableSlots[at][I386])
		c.newest[I386] = max(c.newest[I386], slot)
		c.try(I386, slot, alternative{c.operations[n-1 : n], r.Action})
	}
}
