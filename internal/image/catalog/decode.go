package catalog

import (
	"encoding/json"
	"strings"
	"time"

	"berth/internal/jsontext"
	"berth/internal/oci"
)

// decodeConfig reads a config as json.Unmarshal would. Every run reads one, and
// encoding/json spends a fifth of a millisecond on learning the types, so the
// document is walked by hand. encoding/json also takes names in another case
// ("CONFIG"): what could be such a name leaves the document to it, so that all
// of berth sees the same image.
func decodeConfig(raw []byte) (oci.ImageConfig, error) {
	d := configDecoder{Decoder: jsontext.NewDecoder(raw)}
	c := d.image()
	if d.Err() == nil && d.End() && !d.odd {
		return c, nil
	}
	var slow oci.ImageConfig
	err := json.Unmarshal(raw, &slow)
	return slow, err
}

// configDecoder walks one config.
type configDecoder struct {
	jsontext.Decoder
	odd bool // there was a name that encoding/json may take for one of ours
}

// other passes over a member that is none of the names, which are separated by blanks.
func (d *configDecoder) other(key []byte, names string) {
	for name := range strings.FieldsSeq(names) {
		if strings.EqualFold(string(key), name) {
			d.odd = true
		}
	}
	d.Skip()
}

func (d *configDecoder) image() (c oci.ImageConfig) {
	for more := d.Open('{'); more; more = d.More('}') {
		switch key := d.Key(); string(key) {
		case "created":
			c.Created = d.timePointer()
		case "author":
			c.Author = d.Text()
		case "architecture":
			c.Architecture = d.Text()
		case "variant":
			c.Variant = d.Text()
		case "os":
			c.OS = d.Text()
		case "os.version":
			c.OSVersion = d.Text()
		case "os.features":
			c.OSFeatures = d.texts()
		case "config":
			c.Config = d.runConfig()
		case "rootfs":
			c.RootFS = d.rootFS()
		case "history":
			c.History = d.history()
		case "docker_version":
			c.DockerVersion = d.Text()
		case "comment":
			c.Comment = d.Text()
		case "parent":
			c.Parent = d.Text()
		default:
			d.other(key, "created author architecture variant os os.version os.features config rootfs history docker_version comment parent")
		}
	}
	return c
}

func (d *configDecoder) runConfig() (c oci.RunConfig) {
	for more := d.Open('{'); more; more = d.More('}') {
		switch key := d.Key(); string(key) {
		case "User":
			c.User = d.Text()
		case "ExposedPorts":
			c.ExposedPorts = d.set()
		case "Env":
			c.Env = d.texts()
		case "Entrypoint":
			c.Entrypoint = d.texts()
		case "Cmd":
			c.Cmd = d.texts()
		case "Volumes":
			c.Volumes = d.set()
		case "WorkingDir":
			c.WorkingDir = d.Text()
		case "Labels":
			c.Labels = d.textMap()
		case "StopSignal":
			c.StopSignal = d.Text()
		case "ArgsEscaped":
			c.ArgsEscaped = d.flag()
		case "OnBuild":
			c.OnBuild = d.texts()
		case "Shell":
			c.Shell = d.texts()
		case "Healthcheck":
			c.Healthcheck = d.healthcheck()
		default:
			d.other(key, "User ExposedPorts Env Entrypoint Cmd Volumes WorkingDir Labels StopSignal ArgsEscaped OnBuild Shell Healthcheck")
		}
	}
	return c
}

func (d *configDecoder) healthcheck() *oci.Healthcheck {
	if d.Null() {
		return nil
	}
	h := &oci.Healthcheck{}
	for more := d.Open('{'); more; more = d.More('}') {
		switch key := d.Key(); string(key) {
		case "Test":
			h.Test = d.texts()
		case "Interval":
			h.Interval = time.Duration(d.number())
		case "Timeout":
			h.Timeout = time.Duration(d.number())
		case "StartPeriod":
			h.StartPeriod = time.Duration(d.number())
		case "StartInterval":
			h.StartInterval = time.Duration(d.number())
		case "Retries":
			h.Retries = int(d.number())
		default:
			d.other(key, "Test Interval Timeout StartPeriod StartInterval Retries")
		}
	}
	return h
}

func (d *configDecoder) rootFS() (r oci.RootFS) {
	for more := d.Open('{'); more; more = d.More('}') {
		switch key := d.Key(); string(key) {
		case "type":
			r.Type = d.Text()
		case "diff_ids":
			if d.Null() {
				break
			}
			r.DiffIDs = []oci.Digest{}
			for more := d.Open('['); more; more = d.More(']') {
				r.DiffIDs = append(r.DiffIDs, oci.Digest(d.Text()))
			}
		default:
			d.other(key, "type diff_ids")
		}
	}
	return r
}

func (d *configDecoder) history() []oci.History {
	if d.Null() {
		return nil
	}
	list := []oci.History{}
	for more := d.Open('['); more; more = d.More(']') {
		var h oci.History
		for more := d.Open('{'); more; more = d.More('}') {
			switch key := d.Key(); string(key) {
			case "created":
				h.Created = d.timePointer()
			case "created_by":
				h.CreatedBy = d.Text()
			case "author":
				h.Author = d.Text()
			case "comment":
				h.Comment = d.Text()
			case "empty_layer":
				h.EmptyLayer = d.flag()
			default:
				d.other(key, "created created_by author comment empty_layer")
			}
		}
		list = append(list, h)
	}
	return list
}

func (d *configDecoder) timePointer() *time.Time {
	if d.Null() {
		return nil
	}
	t := d.Time()
	return &t
}

func (d *configDecoder) flag() bool { return !d.Null() && d.Bool() }

func (d *configDecoder) number() int64 {
	if d.Null() {
		return 0
	}
	return d.Int()
}

func (d *configDecoder) texts() []string {
	if d.Null() {
		return nil
	}
	list := []string{}
	for more := d.Open('['); more; more = d.More(']') {
		list = append(list, d.Text())
	}
	return list
}

func (d *configDecoder) textMap() map[string]string {
	if d.Null() {
		return nil
	}
	m := map[string]string{}
	for more := d.Open('{'); more; more = d.More('}') {
		key := string(d.Key())
		m[key] = d.Text()
	}
	return m
}

// set reads an object whose values, empty objects, say nothing.
func (d *configDecoder) set() map[string]struct{} {
	if d.Null() {
		return nil
	}
	m := map[string]struct{}{}
	for more := d.Open('{'); more; more = d.More('}') {
		m[string(d.Key())] = struct{}{}
		d.Skip()
	}
	return m
}
