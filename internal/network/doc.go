// Package network provides the network that containers are on by default: a
// bridge, which is a switch made of software, a cable (a veth pair) from it into
// each container's network namespace, an address, a way out by NAT, and ports
// of the host that lead to ports of a container.
//
//	container's namespace          host
//	  eth0 172.17.0.2 ----veth---- berth0 172.17.0.1 ----NAT---- eth0 ... outside
//
// Everything is done by netlink and nf_tables directly; no program is called.
// What belongs to one container is written into a journal before it is made
// (STATE/network/endpoints/<id>.json), so that whoever finds a dead container's
// journal can take everything back. Addresses and host ports are reserved by
// symbolic links to their owner's id, of which the kernel makes one only: no lock
// is held by all starts at once.
//
// User-defined networks will be further Stores' worth of directories beside
// "bridge"; the journal already names its network.
package network
