package monitor

import (
	"reflect"
	"testing"

	"berth/internal/container"
	"berth/internal/jsontext/fields"
)

// TestPlanFields holds the list of members to the struct: a field that is added
// to one and forgotten in the other fails here.
func TestPlanFields(t *testing.T) {
	full := Plan{
		LogOptions: map[string]string{"max-size": "1m"},
		Network: container.Network{
			Bridge: "berth0", SandboxID: "4026531840",
			Ports:    map[string][]container.PortBinding{"80/tcp": {{HostIP: "0.0.0.0", HostPort: "8080"}}, "81/tcp": nil},
			Networks: map[string]container.Endpoint{"bridge": {NetworkID: "a", EndpointID: "b", Gateway: "172.17.0.1", IPAddress: "172.17.0.2", IPPrefixLen: 16, MacAddress: "02:42:ac:11:00:02"}},
		},
		Published: []container.Port{{IP: "::", PrivatePort: 80, PublicPort: 8080, Type: "tcp"}, {PrivatePort: 1, Type: "udp"}},
	}
	v := reflect.ValueOf(&full).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.String:
			f.SetString("value " + v.Type().Field(i).Name)
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Int:
			f.SetInt(int64(-i - 1))
		case reflect.Uint8, reflect.Uint16, reflect.Uint64:
			f.SetUint(uint64(i + 1))
		default:
			if f.IsZero() {
				t.Fatalf("this test does not fill Plan.%s", v.Type().Field(i).Name)
			}
		}
	}
	for _, want := range []*Plan{&full, {}} {
		var got Plan
		text := fields.Encode(func(c *fields.Codec) { planFields(c, want) })
		if !fields.Decode(text, func(c *fields.Codec) { planFields(c, &got) }) || !reflect.DeepEqual(&got, want) {
			t.Errorf("%s is read as\n%+v\nwant\n%+v", text, &got, want)
		}
	}
}
