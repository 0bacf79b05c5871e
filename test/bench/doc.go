// Command bench compares berth with the engines and runtimes of this machine
// and holds it to its bars. It prints one Markdown table.
//
// Absolute times of a busy or virtual machine mean little, so every figure is
// a ratio to something measured in the same minutes: the contenders of a row
// take turns, round by round and in a new order each round, and medians are
// compared. The "floor" is the least that can be called a container, made by
// unshare(1) and chroot(1).
//
// Two figures describe a command. Wall time is what its user waits. CPU time
// is what the machine worked for it, wherever the work was done: a client may
// return at once because a daemon, a shim or a monitor goes on. Everything
// measured therefore runs below one cgroup:
//
//	/berth-bench/cli          the commands, and what they leave behind
//	/berth-bench/daemons      containerd and dockerd
//	/berth-bench/containers   the containers, by --cgroup-parent and cgroupsPath
//
// and a measurement ends when that group's CPU time stops growing, not when
// the command returns. Work that the kernel does in threads of its own (ending
// a network namespace) is counted for nobody.
//
// The bench runs in mount, network and pid namespaces of its own: the last
// ends every process with it, the first two every mount, bridge and rule.
package main
