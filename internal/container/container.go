// Package container provides a container as berth keeps it on disk: what was
// asked for (Config, HostConfig), what it is now (State), and the state machine
// between them.
//
// The words and JSON names are Docker's, because they are the user's: the file
// ROOT/containers/<id>/config.json can be read by anyone who has read `docker
// inspect`. A container is a plain record here; nothing in this package starts
// a process or mounts anything. The engine is the only writer of Config; State
// is written by whoever moves the container: the engine and its monitor.
package container

import (
	"time"

	"berth/internal/linux/userns"
)

// Config is what a container's program is, whatever host runs it.
// JSON names are those of Docker's container config.
type Config struct {
	Hostname     string              `json:"Hostname"`
	Domainname   string              `json:"Domainname"`
	User         string              `json:"User"` // "", "user", "uid", "user:group", ...; resolved inside the rootfs at start
	AttachStdin  bool                `json:"AttachStdin"`
	AttachStdout bool                `json:"AttachStdout"`
	AttachStderr bool                `json:"AttachStderr"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"` // "80/tcp"
	Tty          bool                `json:"Tty"`
	OpenStdin    bool                `json:"OpenStdin"` // -i: stdin stays open even when nobody is attached
	StdinOnce    bool                `json:"StdinOnce"` // close stdin when the first attached client goes
	Env          []string            `json:"Env"`       // "K=V", image's first
	Cmd          []string            `json:"Cmd"`
	Image        string              `json:"Image"` // the reference as the user typed it
	Volumes      map[string]struct{} `json:"Volumes"`
	WorkingDir   string              `json:"WorkingDir"`
	Entrypoint   []string            `json:"Entrypoint"`
	Labels       map[string]string   `json:"Labels"`
	StopSignal   string              `json:"StopSignal,omitempty"`
	StopTimeout  *int                `json:"StopTimeout,omitempty"` // seconds; nil: 10
}

// HostConfig is what the host gives the container and what it keeps from it.
// JSON names are those of Docker's HostConfig.
type HostConfig struct {
	Binds           []string                 `json:"Binds"` // "src:dst[:options]" as typed
	Mounts          []Mount                  `json:"Mounts,omitempty"`
	Tmpfs           map[string]string        `json:"Tmpfs,omitempty"` // target -> mount options
	ContainerIDFile string                   `json:"ContainerIDFile"`
	LogConfig       LogConfig                `json:"LogConfig"`
	NetworkMode     string                   `json:"NetworkMode"`  // "bridge", "host", "none", "container:<id>"
	PortBindings    map[string][]PortBinding `json:"PortBindings"` // "80/tcp" -> host side
	PublishAllPorts bool                     `json:"PublishAllPorts"`
	RestartPolicy   RestartPolicy            `json:"RestartPolicy"`
	AutoRemove      bool                     `json:"AutoRemove"`
	CapAdd          []string                 `json:"CapAdd"`
	CapDrop         []string                 `json:"CapDrop"`
	CgroupnsMode    string                   `json:"CgroupnsMode"` // "private" (default) or "host"
	DNS             []string                 `json:"Dns"`
	DNSOptions      []string                 `json:"DnsOptions"`
	DNSSearch       []string                 `json:"DnsSearch"`
	ExtraHosts      []string                 `json:"ExtraHosts"` // "name:ip"
	GroupAdd        []string                 `json:"GroupAdd"`
	IpcMode         string                   `json:"IpcMode"` // "private" (default), "shareable", "host", "none", "container:<id>"
	OomScoreAdj     int                      `json:"OomScoreAdj"`
	PidMode         string                   `json:"PidMode"` // "", "host", "container:<id>"
	Privileged      bool                     `json:"Privileged"`
	ReadonlyRootfs  bool                     `json:"ReadonlyRootfs"`
	SecurityOpt     []string                 `json:"SecurityOpt"`
	UTSMode         string                   `json:"UTSMode"`    // "", "host", "container:<id>"
	UsernsMode      string                   `json:"UsernsMode"` // "", "host", "auto", "<uid>:<gid>:<count>"
	ShmSize         int64                    `json:"ShmSize"`    // bytes
	Sysctls         map[string]string        `json:"Sysctls,omitempty"`
	Runtime         string                   `json:"Runtime"`
	Init            *bool                    `json:"Init,omitempty"`
	MaskedPaths     []string                 `json:"MaskedPaths"`
	ReadonlyPaths   []string                 `json:"ReadonlyPaths"`
	Rootfs          string                   `json:"Rootfs,omitempty"` // --rootfs: a host directory instead of an image (berth's own)
	Resources
}

// Resources are the limits, each the zero value when not set.
type Resources struct {
	CgroupParent         string         `json:"CgroupParent"`
	CPUShares            int64          `json:"CpuShares"`
	NanoCPUs             int64          `json:"NanoCpus"` // --cpus x 1e9
	CPUPeriod            int64          `json:"CpuPeriod"`
	CPUQuota             int64          `json:"CpuQuota"`
	CpusetCpus           string         `json:"CpusetCpus"`
	CpusetMems           string         `json:"CpusetMems"`
	Memory               int64          `json:"Memory"`            // bytes
	MemorySwap           int64          `json:"MemorySwap"`        // memory+swap in bytes; -1 unlimited; 0: twice Memory
	MemoryReservation    int64          `json:"MemoryReservation"` // bytes
	MemorySwappiness     *int64         `json:"MemorySwappiness"`
	OomKillDisable       *bool          `json:"OomKillDisable"`
	PidsLimit            *int64         `json:"PidsLimit"` // nil: berth's default; 0 or -1: unlimited
	BlkioWeight          uint16         `json:"BlkioWeight"`
	BlkioWeightDevice    []WeightDevice `json:"BlkioWeightDevice,omitempty"`
	BlkioDeviceReadBps   []RateDevice   `json:"BlkioDeviceReadBps,omitempty"`
	BlkioDeviceWriteBps  []RateDevice   `json:"BlkioDeviceWriteBps,omitempty"`
	BlkioDeviceReadIOps  []RateDevice   `json:"BlkioDeviceReadIOps,omitempty"`
	BlkioDeviceWriteIOps []RateDevice   `json:"BlkioDeviceWriteIOps,omitempty"`
	Devices              []Device       `json:"Devices"`
	DeviceCgroupRules    []string       `json:"DeviceCgroupRules"`
	Ulimits              []Ulimit       `json:"Ulimits"`
}

// WeightDevice is a block device's share, 10 to 1000.
type WeightDevice struct {
	Path   string `json:"Path"`
	Weight uint16 `json:"Weight"`
}

// RateDevice is a block device's limit per second, in bytes or operations.
type RateDevice struct {
	Path string `json:"Path"`
	Rate uint64 `json:"Rate"`
}

// Device is a host device given to the container.
type Device struct {
	PathOnHost        string `json:"PathOnHost"`
	PathInContainer   string `json:"PathInContainer"`
	CgroupPermissions string `json:"CgroupPermissions"` // letters of "rwm"
}

// Ulimit is one resource limit of setrlimit(2) by its short name ("nofile").
type Ulimit struct {
	Name string `json:"Name"`
	Soft int64  `json:"Soft"`
	Hard int64  `json:"Hard"`
}

// Mount is one --mount (or a parsed -v).
type Mount struct {
	Type        string `json:"Type"` // "bind", "volume", "tmpfs"
	Source      string `json:"Source,omitempty"`
	Target      string `json:"Target"`
	ReadOnly    bool   `json:"ReadOnly,omitempty"`
	Propagation string `json:"Propagation,omitempty"` // bind: "rprivate" (default), "rslave", ...
	// NonRecursive binds the source directory alone, without the mounts below it.
	NonRecursive bool `json:"NonRecursive,omitempty"`
	// NoCopy leaves a new volume empty instead of filling it from the image.
	NoCopy bool `json:"NoCopy,omitempty"`
	// CreateSource makes a missing bind source as a directory (-v does, --mount does not).
	CreateSource bool   `json:"CreateSource,omitempty"`
	TmpfsSize    int64  `json:"TmpfsSize,omitempty"` // bytes
	TmpfsMode    uint32 `json:"TmpfsMode,omitempty"`
}

// LogConfig names the log driver and its options.
type LogConfig struct {
	Type   string            `json:"Type"`
	Config map[string]string `json:"Config"`
}

// PortBinding is the host side of a published port; an empty HostPort asks for a free one.
type PortBinding struct {
	HostIP   string `json:"HostIp"`
	HostPort string `json:"HostPort"`
}

// RestartPolicy says when the monitor starts the container again.
type RestartPolicy struct {
	Name              string `json:"Name"` // "no" or "", "always", "unless-stopped", "on-failure"
	MaximumRetryCount int    `json:"MaximumRetryCount"`
}

// MountPoint is a mount as it was made, shown by inspect.
type MountPoint struct {
	Type        string `json:"Type"`
	Name        string `json:"Name,omitempty"` // volume name
	Source      string `json:"Source"`
	Destination string `json:"Destination"`
	Driver      string `json:"Driver,omitempty"`
	Mode        string `json:"Mode"`
	RW          bool   `json:"RW"`
	Propagation string `json:"Propagation"`
}

// Endpoint is the container's place on one network.
type Endpoint struct {
	NetworkID   string `json:"NetworkID"`
	EndpointID  string `json:"EndpointID"`
	Gateway     string `json:"Gateway"`
	IPAddress   string `json:"IPAddress"`
	IPPrefixLen int    `json:"IPPrefixLen"`
	MacAddress  string `json:"MacAddress"`
}

// Network is the container's network as it is now; the zero value when it has none.
type Network struct {
	Bridge    string                   `json:"Bridge"`
	SandboxID string                   `json:"SandboxID"`
	Ports     map[string][]PortBinding `json:"Ports"` // what is really published
	Networks  map[string]Endpoint      `json:"Networks"`
}

// Status is the state of a container in one word, as `ps` and `inspect` say it.
//
//	created -> running <-> paused
//	created -> exited                          (a start that failed after PID 1 was made)
//	running, paused -> exited -> running       (start, restart; a frozen container can be killed)
//	running, paused -> restarting -> running   (restart policy, between two runs)
//	restarting -> exited                       (stopped between two runs)
//	any -> removing -> gone;  a removal that failed leaves dead, which can be removed again
//
// CanBecome holds this table, and Store.Update refuses any other step.
type Status string

// The states of a container.
const (
	Created    Status = "created"
	Running    Status = "running"
	Paused     Status = "paused"
	Restarting Status = "restarting"
	Removing   Status = "removing"
	Exited     Status = "exited"
	Dead       Status = "dead"
)

// State is what changes while a container lives. It is kept in a small file of
// its own (state.json) beside the large config.json, because `ps` reads all of
// them: everything that a row of `ps` shows is here.
type State struct {
	ID      string    `json:"ID"`
	Name    string    `json:"Name"` // without a leading slash
	Created time.Time `json:"Created"`
	Image   string    `json:"Image"`   // the reference as typed
	ImageID string    `json:"ImageID"` // "sha256:<hex>", "" with --rootfs
	Command string    `json:"Command"` // path and arguments joined by blanks, as ps shows it

	Status       Status            `json:"Status"`
	PID          int               `json:"Pid"`          // of PID 1 as the host sees it; 0 unless running or paused
	PIDStart     uint64            `json:"PidStart"`     // field 22 of /proc/PID/stat: tells a reused PID
	MonitorPID   int               `json:"MonitorPid"`   // 0 unless running, paused or restarting
	MonitorStart uint64            `json:"MonitorStart"` // as PIDStart; 0: not known
	BootID       string            `json:"BootID"`       // of the boot in which PID is meant
	ExitCode     int               `json:"ExitCode"`     // of the last run
	Error        string            `json:"Error"`        // why the last start failed
	OOMKilled    bool              `json:"OOMKilled"`    // in the last run
	StartedAt    time.Time         `json:"StartedAt"`    // zero: never
	FinishedAt   time.Time         `json:"FinishedAt"`   // zero: never
	RestartCount int               `json:"RestartCount"` // by the policy, since the last start by hand
	StoppedByAPI bool              `json:"Stopped"`      // the user stopped it: unless-stopped honours that
	AutoRemove   bool              `json:"AutoRemove,omitempty"`
	Ports        []Port            `json:"Ports,omitempty"`
	Labels       map[string]string `json:"Labels,omitempty"`
	NetworkMode  string            `json:"NetworkMode,omitempty"`
	MountNames   []string          `json:"Mounts,omitempty"` // volume names or source paths, for ps --format '{{.Mounts}}'
	Network      Network           `json:"Network"`
}

// Port is one exposed or published port as ps shows it.
type Port struct {
	IP          string `json:"IP,omitempty"`
	PrivatePort uint16 `json:"PrivatePort"`
	PublicPort  uint16 `json:"PublicPort,omitempty"`
	Type        string `json:"Type"` // "tcp", "udp"
}

// Record is a whole container: the part that never changes after create, and the State.
type Record struct {
	ID         string       `json:"Id"`
	Created    time.Time    `json:"Created"`
	Path       string       `json:"Path"` // argv[0] of PID 1
	Args       []string     `json:"Args"` // the rest of argv
	ImageID    string       `json:"Image"`
	Config     Config       `json:"Config"`
	HostConfig HostConfig   `json:"HostConfig"`
	Mounts     []MountPoint `json:"Mounts"`
	// AnonymousVolumes are the volumes made for this container alone; rm -v and --rm remove them.
	AnonymousVolumes []string `json:"AnonymousVolumes,omitempty"`
	// IDs are the host's users and groups that the container's are; nil: it has
	// no user namespace, and they are the host's own.
	IDs *userns.Range `json:"IDs,omitempty"`

	State State `json:"-"`
}
