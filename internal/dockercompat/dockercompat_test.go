package dockercompat

import (
	"encoding/json"
	"strings"
	"testing"
	"text/template"
	"time"

	"berth/internal/container"
	"berth/internal/engine"
	"berth/internal/oci"
)

func inspection() *engine.Inspection {
	in := &engine.Inspection{
		Driver: "overlay2", Platform: "linux", SizeRw: -1, SizeRootFs: -1,
		GraphDriver: map[string]string{"WorkDir": "/r/a/work", "LowerDir": "/r/l", "UpperDir": "/r/a/diff", "MergedDir": "/r/a/merged"},
	}
	in.ID, in.Path, in.Args, in.ImageID = "abc", "sleep", []string{"60"}, "sha256:def"
	in.Created = time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)
	in.Config.ExposedPorts = map[string]struct{}{"80/tcp": {}, "443/tcp": {}}
	in.HostConfig.NetworkMode, in.HostConfig.Memory = "bridge", 1<<20
	in.HostConfig.Mounts = []container.Mount{
		{Type: "bind", Source: "/a", Target: "/b", ReadOnly: true, Propagation: "rslave"}, {Type: "volume", Source: "v", Target: "/v", NoCopy: true},
		{Type: "tmpfs", Target: "/t", TmpfsSize: 5}, {Type: "bind", Source: "/c", Target: "/d"},
	}
	in.State = container.State{
		Name: "web", Status: container.Paused, PID: 4711, StartedAt: in.Created,
		Network: container.Network{
			SandboxID: "box", Ports: map[string][]container.PortBinding{"80/tcp": {{HostIP: "0.0.0.0", HostPort: "8080"}}},
			Networks: map[string]container.Endpoint{"bridge": {NetworkID: "net", IPAddress: "172.17.0.2", IPPrefixLen: 16, Gateway: "172.17.0.1", MacAddress: "02:42"}},
		},
	}
	return in
}

// render executes a template as inspect --format does.
func render(t *testing.T, text string, v any) string {
	t.Helper()
	tmpl, err := template.New("").Funcs(template.FuncMap{"json": func(v any) (string, error) { b, err := json.Marshal(v); return string(b), err }}).Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := tmpl.Execute(&b, v); err != nil {
		return "error"
	}
	return b.String()
}

func TestContainerTemplates(t *testing.T) {
	c := NewContainer(inspection())
	raw, err := Raw(c)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"{{.GraphDriver.Data}}":                                                              "map[LowerDir:/r/l MergedDir:/r/a/merged UpperDir:/r/a/diff WorkDir:/r/a/work]",
		"{{.GraphDriver.Name}} {{.Driver}}":                                                  "overlay2 overlay2",
		"{{.State.Pid}} {{.State.Status}} {{.State.Running}}":                                "4711 paused true",
		"{{.State.FinishedAt}} {{.Created}}":                                                 "0001-01-01T00:00:00Z 2026-01-02T03:04:05.0000006Z",
		"{{.Name}} {{.Image}} {{.Path}} {{.Args}}":                                           "/web sha256:def sleep [60]",
		"{{.HostConfig.NetworkMode}} {{.HostConfig.Memory}}":                                 "bridge 1048576",
		"{{.NetworkSettings.IPAddress}}":                                                     "172.17.0.2",
		`{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}`:                             "172.17.0.1",
		`{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}`:                     "8080",
		`{{range $p, $c := .NetworkSettings.Ports}}{{$p}} -> {{len $c}};{{end}}`:             "443/tcp -> 0;80/tcp -> 1;",
		`{{json .NetworkSettings.Ports}}`:                                                    `{"443/tcp":null,"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}]}`,
		`{{json .Mounts}} {{json .Config.Labels}} {{json .Config.Env}} {{json .Config.Cmd}}`: `[] {} [] null`,
		`{{json .HostConfig.LogConfig}}`:                                                     `{"Type":"","Config":{}}`,
		`{{json .HostConfig.Mounts}}`: `[{"Type":"bind","Source":"/a","Target":"/b","ReadOnly":true,"BindOptions":{"Propagation":"rslave"}},` +
			`{"Type":"volume","Source":"v","Target":"/v","VolumeOptions":{"NoCopy":true}},{"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":5}},{"Type":"bind","Source":"/c","Target":"/d"}]`,
	} {
		if got := render(t, text, c); got != want {
			t.Errorf("%s\n gives %s\n want  %s", text, got, want)
		}
		ordered := strings.Contains(text, "json") || strings.Contains(text, "len") // maps have their members in order, structs as declared
		if got := render(t, text, raw); got != want && !ordered {
			t.Errorf("%s\n gives %s on the JSON\n want  %s", text, got, want)
		}
	}
	if render(t, "{{.Id}}", c) != "error" || render(t, "{{.Id}} {{.HostConfig.NanoCpus}}", raw) != "abc 0" || render(t, "{{.ID}}", c) != "abc" {
		t.Error("both names of the id must work, each in its view")
	}
	if strings.Contains(render(t, "{{json .}}", c), "SizeRw") {
		t.Error("sizes that were not asked for are shown")
	}
}

func TestContainerStopped(t *testing.T) {
	in := inspection()
	in.State.Status, in.State.Network, in.SizeRw, in.SizeRootFs = container.Exited, container.Network{}, 0, 7
	c := NewContainer(in)
	if c.State.Running || c.NetworkSettings.IPAddress != "" || len(c.NetworkSettings.Ports) != 0 || c.NetworkSettings.Networks["bridge"] == nil || *c.SizeRw != 0 || *c.SizeRootFs != 7 {
		t.Errorf("a stopped container: %+v %+v", c, c.NetworkSettings)
	}
}

func TestImageAndVolume(t *testing.T) {
	in := &engine.ImageInspection{Config: oci.ImageConfig{Architecture: "amd64", OS: "linux", RootFS: oci.RootFS{Type: "layers", DiffIDs: []oci.Digest{"sha256:1"}}}}
	in.ID, in.Size, in.GraphDriver = "sha256:abc", 5, map[string]string{"UpperDir": "/u"}
	in.Config.Config.Cmd = []string{"sh"}
	img := NewImage(in)
	for text, want := range map[string]string{
		"{{.ID}} {{.Os}}/{{.Architecture}} {{.Size}} {{.Config.Cmd}}": "sha256:abc linux/amd64 5 [sh]",
		"{{.RootFS.Layers}} {{.GraphDriver.Data}}":                    "[sha256:1] map[UpperDir:/u]",
		"{{json .RepoTags}} {{json .Config.Entrypoint}}":              "[] null",
		"{{.Metadata.LastTagTime}}":                                   "0001-01-01T00:00:00Z",
	} {
		if got := render(t, text, img); got != want {
			t.Errorf("%s gives %s, want %s", text, got, want)
		}
	}
	v := NewVolume(&engine.VolumeInfo{Name: "data", Driver: "local", Scope: "local", Mountpoint: "/m", CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)})
	if got := render(t, "{{json .}}", v); got != `{"CreatedAt":"2026-01-02T03:04:05Z","Driver":"local","Labels":{},"Mountpoint":"/m","Name":"data","Options":{},"Scope":"local"}` {
		t.Errorf("volume %s", got)
	}
}
