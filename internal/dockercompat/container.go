package dockercompat

import (
	"berth/internal/container"
	"berth/internal/engine"
)

// Container is the answer to inspect of a container.
type Container struct {
	ID              string `json:"Id"`
	Created         string
	Path            string
	Args            []string
	State           *State
	Image           string
	ResolvConfPath  string
	HostnamePath    string
	HostsPath       string
	LogPath         string
	Name            string // with a leading slash
	RestartCount    int
	Driver          string
	Platform        string
	MountLabel      string
	ProcessLabel    string
	AppArmorProfile string
	ExecIDs         []string
	HostConfig      *HostConfig
	GraphDriver     GraphDriver
	SizeRw          *int64 `json:",omitempty"`
	SizeRootFs      *int64 `json:",omitempty"`
	Mounts          []container.MountPoint
	Config          *Config
	NetworkSettings *NetworkSettings
}

// State is how a container is.
type State struct {
	Status     string
	Running    bool // also while paused and between two runs
	Paused     bool
	Restarting bool
	OOMKilled  bool
	Dead       bool
	Pid        int
	ExitCode   int
	Error      string
	StartedAt  string
	FinishedAt string
}

// Config is what a container's program is.
type Config struct {
	container.Config
	OnBuild []string
}

// NewContainer returns the shape of a container.
func NewContainer(in *engine.Inspection) *Container {
	st := &in.State
	c := &Container{
		ID: in.ID, Created: timestamp(in.Created), Path: in.Path, Args: list(in.Args), State: newState(st), Image: in.ImageID,
		ResolvConfPath: in.ResolvConfPath, HostnamePath: in.HostnamePath, HostsPath: in.HostsPath, LogPath: in.LogPath,
		Name: "/" + st.Name, RestartCount: st.RestartCount, Driver: in.Driver, Platform: in.Platform, AppArmorProfile: in.AppArmorProfile,
		ExecIDs: in.ExecIDs, HostConfig: newHostConfig(&in.Record), GraphDriver: GraphDriver{in.GraphDriver, in.Driver},
		Mounts: list(in.Mounts), Config: &Config{Config: in.Config}, NetworkSettings: newNetworkSettings(in),
	}
	c.Config.Env, c.Config.Labels = list(c.Config.Env), table(c.Config.Labels)
	if in.SizeRw >= 0 {
		c.SizeRw = &in.SizeRw
	}
	if in.SizeRootFs >= 0 {
		c.SizeRootFs = &in.SizeRootFs
	}
	return c
}

func newState(s *container.State) *State {
	return &State{
		Status: string(s.Status), Running: s.Status.Live(), Paused: s.Status == container.Paused, Restarting: s.Status == container.Restarting,
		OOMKilled: s.OOMKilled, Dead: s.Status == container.Dead, Pid: s.PID, ExitCode: s.ExitCode, Error: s.Error,
		StartedAt: timestamp(s.StartedAt), FinishedAt: timestamp(s.FinishedAt),
	}
}
