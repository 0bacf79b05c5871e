package container

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"berth/internal/jsontext/fields"
)

// TestRecordCodec holds the list of fields to the structs: a field that is
// added to one and forgotten in the other fails here.
func TestRecordCodec(t *testing.T) {
	var full Record
	n := 0
	fill(reflect.ValueOf(&full).Elem(), &n)
	full.State = State{}
	full.HostConfig.BlkioDeviceReadBps[0].Rate = 1<<64 - 1
	empties := Record{Args: []string{}, Mounts: []MountPoint{}}
	empties.Config.Volumes, empties.HostConfig.PortBindings = map[string]struct{}{}, map[string][]PortBinding{"80/tcp": nil, "81/tcp": {}}
	for _, r := range []*Record{&full, {}, &empties} {
		want, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		text := encodeRecord(r)
		if !bytes.Equal(bytes.TrimSpace(text), want) {
			t.Errorf("wrote %s\nwant  %s", text, want)
		}
		got := &Record{}
		if !fields.Decode(text, func(c *fields.Codec) { recordFields(c, got) }) || !reflect.DeepEqual(got, r) {
			t.Errorf("read %+v\nwant %+v", got, r)
		}
	}
}

// TestRecordByHand: a file that a person edited is read, too.
func TestRecordByHand(t *testing.T) {
	for _, text := range []string{
		`{"Path": "sh", "Id": "x", "HostConfig": {"Memory": 5}}`,
		`{"Id": "x", "Path": "sh", "HostConfig": {"Memory": 5, "Unknown": [1]}, "More": {}}`,
		"{\n  \"Id\": \"x\",\n  \"Path\": \"sh\",\n  \"HostConfig\": {\"Memory\": 5}\n}\n",
	} {
		r, err := decodeRecord([]byte(text))
		if err != nil || r.ID != "x" || r.Path != "sh" || r.HostConfig.Memory != 5 {
			t.Errorf("%s: %+v, %v", text, r, err)
		}
	}
	for _, text := range []string{"", "{", `{"Id":1}`, `{"HostConfig":{"BlkioWeight":70000}}`} {
		if r, err := decodeRecord([]byte(text)); err == nil {
			t.Errorf("%q was accepted: %+v", text, r)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add(encodeRecord(&Record{ID: "x", Args: []string{"a"}, Mounts: []MountPoint{{Type: "bind"}}}))
	f.Add([]byte(`{"Id":"x","Config":{"Labels":{"a":"b"},"StopTimeout":3}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var r, want Record
		if !fields.Decode(text, func(c *fields.Codec) { recordFields(c, &r) }) {
			return
		}
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatalf("accepted %q: %v", text, err)
		}
		if !bytes.Equal(encodeRecord(&r), encodeRecord(&want)) {
			t.Fatalf("%q is\n%+v\nencoding/json reads\n%+v", text, r, want)
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	r := record("web")
	text := encodeRecord(r)
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			encodeRecord(r)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := decodeRecord(text); err != nil {
				b.Fatal(err)
			}
		}
	})
}
