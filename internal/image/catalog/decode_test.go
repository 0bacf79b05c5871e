package catalog

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/internal/oci"
)

const fullConfig = `{
 "created": "2024-05-06T07:08:09.123456789Z", "author": "A", "architecture": "arm64", "variant": "v8", "os": "linux",
 "os.version": "1", "os.features": ["x"], "docker_version": "20.10", "comment": "c\u00e9\n", "parent": null, "unknown": {"config": [1, null, true]},
 "config": {"User": "u", "ExposedPorts": {"80/tcp": {}}, "Env": ["A=\"b\"", ""], "Entrypoint": null, "Cmd": [], "Volumes": {"/v": {}},
  "WorkingDir": "/w", "Labels": {"k": "v", "config": ""}, "StopSignal": "9", "ArgsEscaped": true, "OnBuild": ["RUN x"], "Shell": ["sh"],
  "Hostname": "ignored", "Healthcheck": {"Test": ["CMD", "x"], "Interval": 1, "Timeout": 2, "StartPeriod": 3, "StartInterval": 4, "Retries": 5, "X": 1}},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:1", "sha256:2"]},
 "history": [{"created": "2024-05-06T07:08:09Z", "created_by": "a", "author": "b", "comment": "c", "empty_layer": true}, {"created": null}]
}`

func TestDecodeConfig(t *testing.T) {
	for name, text := range map[string]string{
		"everything":        fullConfig,
		"nothing":           `{}`,
		"nulls":             `{"created":null,"config":null,"rootfs":null,"history":null,"os":null}`,
		"names in capitals": `{"OS":"linux","Config":{"cmd":["x"]},"rootfs":{"Diff_IDs":["y"]}}`,
		"empty lists":       `{"rootfs":{"diff_ids":[]},"history":[],"config":{"Labels":{},"Env":[],"ExposedPorts":null}}`,
		"null":              `null`,
	} {
		var want oci.ImageConfig
		must(t, json.Unmarshal([]byte(text), &want))
		got, err := decodeConfig([]byte(text))
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%s: %v (-encoding/json +ours)\n%s", name, err, d)
		}
	}
	for _, text := range []string{"", "x", `{"os":1}`, `{"os":"a"} x`, `{"config":[]}`, `{"history":[{"created":"yesterday"}]}`, `{"os":"a"`, `[]`} {
		if got, err := decodeConfig([]byte(text)); err == nil {
			t.Errorf("%q was accepted as %+v", text, got)
		}
	}
}

func FuzzDecodeConfig(f *testing.F) {
	f.Add([]byte(fullConfig))
	f.Add([]byte(`{"Os":"x","os":"y"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var loose oci.ImageConfig
		looseErr := json.Unmarshal(data, &loose)
		if _, err := decodeConfig(data); err != nil && looseErr == nil {
			t.Fatalf("refused what encoding/json reads: %v", err)
		}
		if looseErr != nil {
			return
		}
		// A document without repeated names is read the same.
		once, err := json.Marshal(loose)
		must(t, err)
		var want oci.ImageConfig
		must(t, json.Unmarshal(once, &want))
		got, err := decodeConfig(once)
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Fatalf("%s: %v (-encoding/json +ours)\n%s", once, err, d)
		}
	})
}

func BenchmarkDecodeConfig(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, err := decodeConfig([]byte(fullConfig))
		must(b, err)
	}
}
