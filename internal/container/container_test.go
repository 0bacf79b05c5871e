package container

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"berth/internal/errdefs"
)

func TestNames(t *testing.T) {
	for _, ok := range []string{"ab", "web-1", "A.b_c", "0x", strings.Repeat("a", 255)} {
		if err := CheckName(ok); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{"", "a", "-ab", ".ab", "..", "_a", "a/b", "a b", "é1", "a\n", strings.Repeat("a", 256)} {
		err := CheckName(bad)
		if !errors.Is(err, errdefs.InvalidArgument) || !strings.Contains(err.Error(), "Invalid container name ("+bad+"), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	seen := map[string]bool{}
	for i := range 200 {
		name := RandomName(i % 3)
		if err := CheckName(name); err != nil || strings.Count(name, "_") != 1 {
			t.Errorf("random name %q: %v", name, err)
		}
		seen[name] = true
	}
	if len(seen) < 150 {
		t.Errorf("only %d of 200 random names differ", len(seen))
	}
}

func TestTransitions(t *testing.T) {
	all := []Status{Created, Running, Paused, Restarting, Removing, Exited, Dead}
	legal := map[Status][]Status{
		Created:    {Running, Exited, Removing},
		Running:    {Paused, Restarting, Exited, Removing},
		Paused:     {Running, Restarting, Exited, Removing},
		Restarting: {Running, Exited, Removing},
		Exited:     {Running, Removing},
		Removing:   {Dead},
		Dead:       {Removing},
	}
	for _, from := range all {
		for _, to := range all {
			want := from == to
			for _, l := range legal[from] {
				want = want || l == to
			}
			if got := from.CanBecome(to); got != want {
				t.Errorf("%s -> %s: %v", from, to, got)
			}
		}
	}
}

// fill sets every field that v reaches to something that is not its zero value.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString(strings.Repeat("é<\"", *n%3) + "s" + string(rune('a'+*n%26)))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint16, reflect.Uint64, reflect.Uint32:
		v.SetUint(uint64(*n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(k, n)
			fill(e, n)
			v.SetMapIndex(k, e)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(int64(1e9+*n), int64(*n)).UTC()))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	default:
		panic(v.Kind().String())
	}
}

// TestStateCodec holds the hand-written codec to the struct: a field that is
// added to State and forgotten there fails here.
func TestStateCodec(t *testing.T) {
	var full State
	n := 0
	fill(reflect.ValueOf(&full).Elem(), &n)
	for _, want := range []State{full, {ID: "x", Status: Created}, {ID: "x", Status: Running, Network: Network{Ports: map[string][]PortBinding{"80/tcp": nil, "81/tcp": {}}}}} {
		text := appendState(nil, &want)
		got, whole, err := parseState(text)
		if err != nil || !whole || !reflect.DeepEqual(got, want) {
			t.Errorf("read %+v (whole %v, %v)\nfrom %s\nwant %+v", got, whole, err, text, want)
		}
		var std State
		if err := json.Unmarshal(text, &std); err != nil || !reflect.DeepEqual(std, want) {
			t.Errorf("encoding/json reads %+v, %v", std, err)
		}
		std2, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, whole, err := parseState(std2); err != nil || whole || got.ID != want.ID || !reflect.DeepEqual(got.Labels, want.Labels) {
			t.Errorf("cannot read what encoding/json writes: %+v, %v, %v", got, whole, err)
		}
	}
}

// TestTornState: no mixture of two states passes for one.
func TestTornState(t *testing.T) {
	a := appendState(nil, &State{ID: "x", Status: Running, PID: 11111, Error: "one"})
	b := appendState(nil, &State{ID: "x", Status: Exited, ExitCode: 22222, Error: "two"})
	for range 1000 {
		cut := rand.IntN(min(len(a), len(b))-2) + 1
		mixed := append(append([]byte(nil), a[:cut]...), b[min(cut, len(b)):]...)
		if string(mixed) == string(a) || string(mixed) == string(b) {
			continue
		}
		if _, whole, err := parseState(mixed); err == nil && whole {
			t.Fatalf("a mixture at %d is taken for whole: %s", cut, mixed)
		}
	}
}

func FuzzParseState(f *testing.F) {
	f.Add(appendState(nil, &State{ID: "x", Status: Running, Labels: map[string]string{"a": "b"}}))
	f.Add([]byte(`{"ID":"x","Status":"exited","Network":{"Networks":{"bridge":{"IPAddress":"1.2.3.4"}}},"Ports":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		st, _, err := parseState(text)
		if err != nil {
			return
		}
		again, whole, err := parseState(appendState(nil, &st))
		if err != nil || !whole || !again.StartedAt.Equal(st.StartedAt) || again.Status != st.Status {
			t.Errorf("%+v became %+v (%v, %v)", st, again, whole, err)
		}
	})
}
