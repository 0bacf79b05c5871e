package container

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"berth/internal/cli/command"
	"berth/internal/cli/flagvalue"
)

// CreateFlags are the flags of run and create as typed, before they are judged
// together. The groups keep flags together that end in one part of the request.
type CreateFlags struct {
	processFlags
	isolationFlags
	resourceFlags
	networkFlags
	storageFlags

	name, platform, pull, cidfile string
	quiet                         bool

	set    *pflag.FlagSet
	client *command.Env
}

// Bind defines the flags of cmd. A container's command follows its image, so
// flags end at the first word that is none.
func (f *CreateFlags) Bind(cmd *cobra.Command, env *command.Env) {
	command.FlagsFirst(cmd)
	fs := cmd.Flags()
	f.set, f.client = fs, env
	fs.Bool("help", false, "Print this help")
	fs.StringVar(&f.name, "name", "", "Name of the container (default: a random one)")
	fs.StringVar(&f.platform, "platform", "", "Platform of the image, as \"os/arch[/variant]\"")
	fs.StringVar(&f.pull, "pull", "missing", "When to pull the image: always, missing, never")
	fs.StringVar(&f.cidfile, "cidfile", "", "Write the container's id to this new file")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "Show no progress of a pull")
	f.processFlags.bind(fs, env)
	f.isolationFlags.bind(fs)
	f.resourceFlags.bind(fs)
	f.networkFlags.bind(fs)
	f.storageFlags.bind(fs)
}

// processFlags say what runs in the container.
type processFlags struct {
	interactive, tty, init      bool
	user, workdir, entrypoint   string
	hostname, domainname        string
	stopSignal                  string
	stopTimeout                 int
	restart                     string
	rm                          bool
	attach, env, labels         flagvalue.List
	envFiles, labelFiles        flagvalue.List
	groups                      flagvalue.List
	logDriver                   string
	logOpts                     flagvalue.List
	noHealthcheck, contentTrust bool
	runtime                     string
}

func (f *processFlags) bind(fs *pflag.FlagSet, env *command.Env) {
	f.attach.Check = flagvalue.Stream
	f.env.Check = flagvalue.Env(env.LookupEnv)
	f.labels.Check = flagvalue.Label
	fs.BoolVarP(&f.interactive, "interactive", "i", false, "Keep standard input open")
	fs.BoolVarP(&f.tty, "tty", "t", false, "Give the program a terminal")
	fs.VarP(&f.attach, "attach", "a", "Attach only this stream: stdin, stdout or stderr")
	fs.StringVar(&f.entrypoint, "entrypoint", "", "Program instead of the image's entrypoint")
	fs.StringVarP(&f.user, "user", "u", "", "User as \"name|uid[:group|gid]\"")
	fs.StringVarP(&f.workdir, "workdir", "w", "", "Working directory in the container")
	fs.VarP(&f.env, "env", "e", "Set a variable, NAME=VALUE, or pass on the client's, NAME")
	fs.Var(&f.envFiles, "env-file", "Read variables from a file, one per line")
	fs.VarP(&f.labels, "label", "l", "Set a label, KEY=VALUE")
	fs.Var(&f.labelFiles, "label-file", "Read labels from a file, one per line")
	fs.StringVarP(&f.hostname, "hostname", "h", "", "Host name in the container")
	fs.StringVar(&f.domainname, "domainname", "", "NIS domain name in the container")
	fs.BoolVar(&f.init, "init", false, "Run a small init as PID 1 that forwards signals and reaps")
	fs.Var(&f.groups, "group-add", "Add a supplementary group")
	fs.StringVar(&f.stopSignal, "stop-signal", "", "Signal that asks the program to end")
	fs.IntVar(&f.stopTimeout, "stop-timeout", 0, "Seconds between the stop signal and SIGKILL")
	fs.StringVar(&f.restart, "restart", "no", "When to start it again: no, on-failure[:max], always, unless-stopped")
	fs.BoolVar(&f.rm, "rm", false, "Remove the container and its anonymous volumes when it ends")
	fs.StringVar(&f.logDriver, "log-driver", "", "Where the output is kept: json-file, local, none")
	fs.Var(&f.logOpts, "log-opt", "Option of the log driver, KEY=VALUE")
	fs.StringVar(&f.runtime, "runtime", "", "Runtime (berth has one of its own)")
	fs.BoolVar(&f.noHealthcheck, "no-healthcheck", false, "Do not run the image's health check")
	fs.BoolVar(&f.contentTrust, "disable-content-trust", true, "Accepted for compatibility; has no effect")
	for _, hidden := range [...]string{"disable-content-trust", "runtime"} {
		fs.Lookup(hidden).Hidden = true
	}
}

// isolationFlags say what the container shares with others and what it may do.
type isolationFlags struct {
	pid, ipc, uts, userns, cgroupns string
	privileged, readOnly            bool
	capAdd, capDrop, securityOpts   flagvalue.List
	sysctls                         flagvalue.Map
}

func (f *isolationFlags) bind(fs *pflag.FlagSet) {
	f.sysctls.Check = flagvalue.Sysctl
	fs.StringVar(&f.pid, "pid", "", "PID namespace: host, container:NAME (default: its own)")
	fs.StringVar(&f.ipc, "ipc", "", "IPC namespace: private, shareable, host, none, container:NAME")
	fs.StringVar(&f.uts, "uts", "", "UTS namespace: host (default: its own)")
	fs.StringVar(&f.userns, "userns", "", "User namespace: host, auto, UID:GID:COUNT")
	fs.StringVar(&f.cgroupns, "cgroupns", "", "Cgroup namespace: private, host")
	fs.BoolVar(&f.privileged, "privileged", false, "Give all capabilities and devices of the host")
	fs.BoolVar(&f.readOnly, "read-only", false, "Make the root file system read-only")
	fs.Var(&f.capAdd, "cap-add", "Add a capability, or ALL")
	fs.Var(&f.capDrop, "cap-drop", "Drop a capability, or ALL")
	fs.Var(&f.securityOpts, "security-opt", "no-new-privileges, seccomp=FILE|unconfined, apparmor=PROFILE, systempaths=unconfined")
	fs.Var(&f.sysctls, "sysctl", "Set a kernel parameter of the container, KEY=VALUE")
}

// resourceFlags are the limits.
type resourceFlags struct {
	cpus                              flagvalue.NanoCPUs
	cpuShares, cpuPeriod, cpuQuota    int64
	cpusetCpus, cpusetMems            string
	memory, reservation, kernelMemory flagvalue.Bytes
	swap                              flagvalue.SwapBytes
	swappiness, pids                  int64
	oomKillDisable                    bool
	oomScoreAdj                       int
	blkioWeight                       uint16
	blkioWeightDevice                 flagvalue.WeightDevices
	readBps, writeBps                 flagvalue.RateDevices
	readIOps, writeIOps               flagvalue.RateDevices
	ulimits                           flagvalue.Ulimits
	devices, deviceRules              flagvalue.List
	cgroupParent                      string
}

func (f *resourceFlags) bind(fs *pflag.FlagSet) {
	f.readIOps.IOPS, f.writeIOps.IOPS = true, true
	f.devices.Check, f.deviceRules.Check = flagvalue.Device, flagvalue.DeviceRule
	fs.Var(&f.cpus, "cpus", "Number of CPUs, as 1.5")
	fs.Int64VarP(&f.cpuShares, "cpu-shares", "c", 0, "CPU share beside other containers (1024 is normal)")
	fs.Int64Var(&f.cpuPeriod, "cpu-period", 0, "Period of the CPU quota in microseconds")
	fs.Int64Var(&f.cpuQuota, "cpu-quota", 0, "CPU time per period in microseconds")
	fs.StringVar(&f.cpusetCpus, "cpuset-cpus", "", "CPUs to use, as 0-3 or 0,1")
	fs.StringVar(&f.cpusetMems, "cpuset-mems", "", "Memory nodes to use, as 0-3 or 0,1")
	fs.VarP(&f.memory, "memory", "m", "Memory limit, as 512m")
	fs.Var(&f.reservation, "memory-reservation", "Memory that is left to it when memory is short")
	fs.Var(&f.swap, "memory-swap", "Limit of memory and swap together; -1: no limit of swap")
	fs.Int64Var(&f.swappiness, "memory-swappiness", -1, "How readily its memory is swapped, 0 to 100")
	fs.Int64Var(&f.pids, "pids-limit", 0, "Limit of processes and threads; -1: none")
	fs.BoolVar(&f.oomKillDisable, "oom-kill-disable", false, "Let it wait instead of killing it when memory is used up (cgroup v1)")
	fs.IntVar(&f.oomScoreAdj, "oom-score-adj", 0, "How early the kernel kills it when the host runs out of memory, -1000 to 1000")
	fs.Uint16Var(&f.blkioWeight, "blkio-weight", 0, "Block I/O share, 10 to 1000")
	fs.Var(&f.blkioWeightDevice, "blkio-weight-device", "Block I/O share of one device, DEVICE:WEIGHT")
	fs.Var(&f.readBps, "device-read-bps", "Limit reads of a device, DEVICE:BYTES per second")
	fs.Var(&f.writeBps, "device-write-bps", "Limit writes to a device, DEVICE:BYTES per second")
	fs.Var(&f.readIOps, "device-read-iops", "Limit reads of a device, DEVICE:OPERATIONS per second")
	fs.Var(&f.writeIOps, "device-write-iops", "Limit writes to a device, DEVICE:OPERATIONS per second")
	fs.Var(&f.ulimits, "ulimit", "Limit of setrlimit(2), NAME=SOFT[:HARD]")
	fs.Var(&f.devices, "device", "Give a host device, HOST[:CONTAINER][:rwm]")
	fs.Var(&f.deviceRules, "device-cgroup-rule", "Allow devices by number, as \"c 42:* rwm\"")
	fs.StringVar(&f.cgroupParent, "cgroup-parent", "", "Cgroup under which the container's is made")
	fs.Var(&f.kernelMemory, "kernel-memory", "Accepted for compatibility; kernels no longer have this limit")
	fs.Lookup("kernel-memory").Hidden = true
}

// networkFlags connect the container.
type networkFlags struct {
	networks              flagvalue.List
	publish, expose       flagvalue.List
	publishAll            bool
	dns, dnsOpts, dnsFind flagvalue.List
	hosts                 flagvalue.List
}

func (f *networkFlags) bind(fs *pflag.FlagSet) {
	f.dns.Check, f.dnsFind.Check, f.hosts.Check = flagvalue.IP, flagvalue.SearchDomain, flagvalue.ExtraHost
	fs.Var(&f.networks, "network", "Network: bridge, host, none, container:NAME")
	fs.VarP(&f.publish, "publish", "p", "Publish a port, [[IP:]HOST:]CONTAINER[/udp]")
	fs.BoolVarP(&f.publishAll, "publish-all", "P", false, "Publish all exposed ports on free ports of the host")
	fs.Var(&f.expose, "expose", "Mark a port as used, PORT[-PORT][/udp]")
	fs.Var(&f.dns, "dns", "Name server")
	fs.Var(&f.dnsOpts, "dns-option", "Option of resolv.conf(5)")
	fs.Var(&f.dnsFind, "dns-search", "Search domain; \".\": none")
	fs.Var(&f.hosts, "add-host", "Line of /etc/hosts, HOST:IP")
	fs.SetNormalizeFunc(aliases)
}

// aliases are old names of flags that scripts still use.
func aliases(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	switch name {
	case "net":
		name = "network"
	case "dns-opt":
		name = "dns-option"
	}
	return pflag.NormalizedName(name)
}

// storageFlags mount things.
type storageFlags struct {
	volumes flagvalue.List
	mounts  flagvalue.Mounts
	tmpfs   flagvalue.List
	shmSize flagvalue.Bytes
	rootfs  string
}

// rootfsNext is the value of --rootfs when the directory is the next word.
const rootfsNext = "\x00next"

func (f *storageFlags) bind(fs *pflag.FlagSet) {
	fs.VarP(&f.volumes, "volume", "v", "Mount SOURCE:TARGET[:OPTIONS]; SOURCE is a path or a volume's name")
	fs.Var(&f.mounts, "mount", "Mount, as type=bind,source=/a,target=/b,readonly")
	fs.Var(&f.tmpfs, "tmpfs", "Mount an empty directory in memory, TARGET[:OPTIONS]")
	fs.Var(&f.shmSize, "shm-size", "Size of /dev/shm")
	fs.StringVar(&f.rootfs, "rootfs", "", "Run in this directory of the host instead of an image")
	fs.Lookup("rootfs").NoOptDefVal = rootfsNext
}
