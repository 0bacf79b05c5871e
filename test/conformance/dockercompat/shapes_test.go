// Package dockercompat holds berth's inspect and its units to Docker's own
// code: the types that Docker marshals, and the functions that format sizes.
// It is a module of its own, so that Docker's modules are not among berth's.
package dockercompat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/storage"
	"github.com/docker/docker/api/types/volume"

	berth "berth/internal/container"
	"berth/internal/dockercompat"
	"berth/internal/engine"
)

// object is v as JSON sees it.
func object(t *testing.T, v any) map[string]any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// compare reports names that only one side has, but for those that are known,
// and different kinds of values. Members of maps with free names are not compared.
func compare(t *testing.T, path string, ours, docker any, known map[string]string) {
	t.Helper()
	a, ok1 := ours.(map[string]any)
	b, ok2 := docker.(map[string]any)
	if !ok1 || !ok2 {
		if ours != nil && docker != nil && reflect.TypeOf(ours) != reflect.TypeOf(docker) {
			t.Errorf("%s is %T, Docker has %T", path, ours, docker)
		}
		return
	}
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if _, ok := b[name]; !ok && known[path+name] == "" {
			t.Errorf("%s%s is not Docker's", path, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b)) {
		switch v, ok := a[name]; {
		case !ok && known[path+name] == "":
			t.Errorf("%s%s is missing", path, name)
		case ok:
			compare(t, path+name+".", v, b[name], known)
		}
	}
}

func inspection() *engine.Inspection {
	in := &engine.Inspection{Driver: "overlay2", GraphDriver: map[string]string{"UpperDir": "/u"}}
	in.ID, in.Created = "abc", time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)
	in.Config.ExposedPorts = map[string]struct{}{"80/tcp": {}}
	in.HostConfig.PortBindings = map[string][]berth.PortBinding{"80/tcp": {{HostPort: "8080"}}}
	in.HostConfig.Mounts = []berth.Mount{{Type: "tmpfs", Target: "/t", TmpfsSize: 5, TmpfsMode: 0o700}, {Type: "bind", Source: "/a", Target: "/b", Propagation: "rslave", NonRecursive: true, CreateSource: true}}
	in.HostConfig.Devices = []berth.Device{{PathOnHost: "/dev/null"}}
	in.HostConfig.Ulimits = []berth.Ulimit{{Name: "nofile", Soft: 1, Hard: 2}}
	in.HostConfig.BlkioWeightDevice = []berth.WeightDevice{{Path: "/dev/sda", Weight: 10}}
	in.HostConfig.BlkioDeviceReadBps = []berth.RateDevice{{Path: "/dev/sda", Rate: 10}}
	in.HostConfig.NetworkMode, in.HostConfig.Runtime = "bridge", "berth"
	in.Mounts = []berth.MountPoint{{Type: "volume", Name: "v", Source: "/s", Destination: "/d", Driver: "local", Mode: "z", RW: true}}
	in.State = berth.State{Name: "web", Status: berth.Running, Network: berth.Network{
		Ports: map[string][]berth.PortBinding{"80/tcp": {{HostIP: "0.0.0.0", HostPort: "8080"}}}, Networks: map[string]berth.Endpoint{"bridge": {IPAddress: "172.17.0.2"}},
	}}
	return in
}

// TestContainer: Docker's own type reads all that berth writes, and the names are the same.
func TestContainer(t *testing.T) {
	ours := dockercompat.NewContainer(inspection())
	text, err := json.Marshal(ours)
	if err != nil {
		t.Fatal(err)
	}
	var docker container.InspectResponse
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&docker); err != nil {
		t.Errorf("Docker's type does not read it: %v", err)
	}
	known := map[string]string{
		"NetworkSettings.Networks.bridge.GwPriority": "newer than the classic shape",
	}
	compare(t, "", object(t, ours), object(t, docker), known)
	if docker.ID != "abc" || docker.HostConfig.Mounts[0].TmpfsOptions.Mode != 0o700 || docker.HostConfig.Mounts[1].BindOptions.Propagation != mount.PropagationRSlave ||
		docker.NetworkSettings.Networks["bridge"].IPAddress != "172.17.0.2" || docker.NetworkSettings.IPAddress != "172.17.0.2" ||
		docker.HostConfig.BlkioDeviceReadBps[0].Rate != 10 || docker.Mounts[0].Name != "v" || string(docker.NetworkSettings.Ports["80/tcp"][0].HostPort) != "8080" {
		t.Errorf("Docker's type reads something else: %+v", docker)
	}
	sameGoNames(t, reflect.TypeOf(*ours), reflect.TypeOf(docker), nil)
	sameGoNames(t, reflect.TypeFor[dockercompat.State](), reflect.TypeFor[container.State](), []string{"Health"})
	sameGoNames(t, reflect.TypeFor[dockercompat.HostConfig](), reflect.TypeFor[container.HostConfig](), []string{"Rootfs", "IDMappings", "Annotations", "StorageOpt", "KernelMemory", "KernelMemoryTCP"})
	sameGoNames(t, reflect.TypeFor[dockercompat.NetworkSettings](), reflect.TypeFor[container.NetworkSettings](), nil)
	sameGoNames(t, reflect.TypeFor[dockercompat.Endpoint](), reflect.TypeFor[network.EndpointSettings](), []string{"GwPriority"})
	sameGoNames(t, reflect.TypeFor[dockercompat.Config](), reflect.TypeFor[container.Config](), []string{"Healthcheck", "ArgsEscaped", "NetworkDisabled", "MacAddress", "Shell"})
	sameGoNames(t, reflect.TypeFor[dockercompat.GraphDriver](), reflect.TypeFor[storage.DriverData](), nil)
}

// sameGoNames holds the names that templates see.
func sameGoNames(t *testing.T, ours, docker reflect.Type, known []string) {
	t.Helper()
	a, b := fields(ours), fields(docker)
	for _, name := range slices.Concat(a, b) {
		if (!slices.Contains(a, name) || !slices.Contains(b, name)) && !slices.Contains(known, name) {
			t.Errorf("%v and %v: only one has the field %s", ours, docker, name)
		}
	}
}

// fields are the names of a struct's fields, with those of embedded structs.
func fields(s reflect.Type) (names []string) {
	for i := range s.NumField() {
		f := s.Field(i)
		typ := f.Type
		if typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		if f.Anonymous && typ.Kind() == reflect.Struct {
			names = append(names, fields(typ)...)
		} else if f.Name != "ImageManifestDescriptor" { // of the containerd store only
			names = append(names, f.Name)
		}
	}
	return names
}

func TestImage(t *testing.T) {
	in := &engine.ImageInspection{}
	in.ID, in.Size, in.Config.RootFS.Type = "sha256:abc", 5, "layers"
	ours := object(t, dockercompat.NewImage(in))
	docker := object(t, image.InspectResponse{Created: "x", VirtualSize: 1, RootFS: image.RootFS{Type: "layers"}})
	compare(t, "", ours, docker, map[string]string{})
}

func TestVolume(t *testing.T) {
	ours := object(t, dockercompat.NewVolume(&engine.VolumeInfo{Name: "v"}))
	compare(t, "", ours, object(t, volume.Volume{CreatedAt: "x"}), map[string]string{})
}

// TestLiterals: what berth's zero values print as is what scripts compare with.
func TestLiterals(t *testing.T) {
	in := &engine.Inspection{SizeRw: -1, SizeRootFs: -1}
	c := dockercompat.NewContainer(in)
	for path, got := range map[string]any{
		"Args []": c.Args, "Mounts []": c.Mounts, "Env []": c.Config.Env, "Labels {}": c.Config.Labels, "Cmd null": c.Config.Cmd, "Entrypoint null": c.Config.Entrypoint,
		"Volumes null": c.Config.Volumes, "OnBuild null": c.Config.OnBuild, "ExecIDs null": c.ExecIDs, "Binds null": c.HostConfig.Binds, "PortBindings {}": c.HostConfig.PortBindings,
		"CapAdd null": c.HostConfig.CapAdd, "Dns []": c.HostConfig.DNS, "Devices []": c.HostConfig.Devices, "Links null": c.HostConfig.Links, "Ports {}": c.NetworkSettings.Ports,
	} {
		text, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var name, want string
		fmt.Sscan(path, &name, &want)
		if string(text) != want {
			t.Errorf("%s is %s, Docker has %s", name, text, want)
		}
	}
}
