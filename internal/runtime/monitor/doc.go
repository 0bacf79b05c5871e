// Package monitor provides the one small process that stays beside each
// running container: it is the parent of PID 1, so it alone can learn the exit
// code; it owns the other ends of stdio, writes the log and serves the clients
// that attach; and when the container ends it records how, and has the engine
// take down what is left.
//
//	berth run (CLI)                     monitor                        PID 1
//	  |-- spawn ------------------------->|                              :
//	  |   resolve, mount, wire, compile   | (starts up meanwhile)        :
//	  |-- launch: plan, program, fds ---->|-- clone3, program ---------->|
//	  |<------------- started / failed ---|<------------ execve ---------|
//	  |<============= stdio frames ======>|<========= pipes or pty =====>|
//	  |                                   |<------------ exit -----------|
//	  |<------------- exited, code -------|   record it, take down
//
// The monitor is a single thread around epoll(7) with fixed buffers: it must
// cost next to nothing while the container runs, for there is one of it per
// container. The container does not depend on it: it lives in a cgroup of its
// own, and goes on if the monitor is killed.
//
// The steps of a build have another parent, which is one for all of them and
// keeps nothing: see ServeNursery.
package monitor
