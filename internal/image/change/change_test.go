package change

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/internal/errdefs"
	"berth/internal/oci"
)

func TestApply(t *testing.T) {
	set := func(keys ...string) map[string]struct{} {
		m := map[string]struct{}{}
		for _, k := range keys {
			m[k] = struct{}{}
		}
		return m
	}
	base := oci.RunConfig{Env: []string{"PATH=/bin", "HOME=/root"}, Cmd: []string{"old"}, Entrypoint: []string{"entry"}, WorkingDir: "/srv"}
	for _, c := range []struct {
		changes []string
		want    func(c *oci.RunConfig)
	}{
		{[]string{`CMD ["serve", "--all"]`}, func(c *oci.RunConfig) { c.Cmd = []string{"serve", "--all"} }},
		{[]string{`cmd serve $HOME`}, func(c *oci.RunConfig) { c.Cmd = []string{"/bin/sh", "-c", "serve $HOME"} }},
		{[]string{`CMD [not json]`}, func(c *oci.RunConfig) { c.Cmd = []string{"/bin/sh", "-c", "[not json]"} }},
		{[]string{`CMD []`}, func(c *oci.RunConfig) { c.Cmd = []string{} }},
		{[]string{`ENTRYPOINT ["/run.sh"]`}, func(c *oci.RunConfig) { c.Entrypoint, c.Cmd = []string{"/run.sh"}, nil }},
		{[]string{`CMD ["x"]`, `ENTRYPOINT ["/run.sh"]`}, func(c *oci.RunConfig) { c.Entrypoint, c.Cmd = []string{"/run.sh"}, []string{"x"} }},
		{[]string{`ENTRYPOINT top -b`}, func(c *oci.RunConfig) { c.Entrypoint, c.Cmd = []string{"/bin/sh", "-c", "top -b"}, nil }},
		{[]string{`ENV A=1 B="two words" C=it\ is D='$HOME'`}, func(c *oci.RunConfig) {
			c.Env = append([]string{"PATH=/bin", "HOME=/root"}, "A=1", "B=two words", "C=it is", "D=$HOME")
		}},
		{[]string{`ENV PATH=$PATH:/opt`, `ENV X=${PATH}/y Y=${NONE:-d} Z=${HOME:+set}`}, func(c *oci.RunConfig) {
			c.Env = []string{"PATH=/bin:/opt", "HOME=/root", "X=/bin:/opt/y", "Y=d", "Z=set"}
		}},
		{[]string{`ENV MODE very fast`}, func(c *oci.RunConfig) { c.Env = []string{"PATH=/bin", "HOME=/root", "MODE=very fast"} }},
		{[]string{`EXPOSE 80 53/udp 8000-8002/TCP`}, func(c *oci.RunConfig) {
			c.ExposedPorts = set("80/tcp", "53/udp", "8000/tcp", "8001/tcp", "8002/tcp")
		}},
		{[]string{`LABEL a=b "c d"="e f" g=`}, func(c *oci.RunConfig) { c.Labels = map[string]string{"a": "b", "c d": "e f", "g": ""} }},
		{[]string{`ONBUILD RUN make`, `onbuild COPY . /x`}, func(c *oci.RunConfig) { c.OnBuild = []string{"RUN make", "COPY . /x"} }},
		{[]string{`USER 1000:1000`}, func(c *oci.RunConfig) { c.User = "1000:1000" }},
		{[]string{`VOLUME /a /b`, `VOLUME ["/c d", "/e"]`}, func(c *oci.RunConfig) { c.Volumes = set("/a", "/b", "/c d", "/e") }},
		{[]string{`WORKDIR /x/../y`}, func(c *oci.RunConfig) { c.WorkingDir = "/y" }},
		{[]string{`WORKDIR sub`, `WORKDIR $HOME/d`, `WORKDIR a b`}, func(c *oci.RunConfig) { c.WorkingDir = "/root/d/a b" }},
		{[]string{`STOPSIGNAL SIGQUIT`}, func(c *oci.RunConfig) { c.StopSignal = "SIGQUIT" }},
		{[]string{`HEALTHCHECK --interval=5s --retries=3 CMD curl localhost`}, func(c *oci.RunConfig) {
			c.Healthcheck = &oci.Healthcheck{Test: []string{"CMD-SHELL", "curl localhost"}, Interval: 5 * time.Second, Retries: 3}
		}},
		{[]string{`HEALTHCHECK CMD ["true"]`, `HEALTHCHECK NONE`}, func(c *oci.RunConfig) { c.Healthcheck = &oci.Healthcheck{Test: []string{"NONE"}} }},
	} {
		got, want := base, base
		c.want(&want)
		if err := Apply(&got, c.changes); err != nil {
			t.Errorf("%q: %v", c.changes, err)
		} else if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q (-want +got)\n%s", c.changes, d)
		}
	}
	if len(base.Env) != 2 || base.Labels != nil {
		t.Errorf("the caller's config was changed through a shared slice: %v", base)
	}
}

func TestApplyErrors(t *testing.T) {
	for line, want := range map[string]string{
		"RUN make":                     "run is not a valid change command",
		"":                             "requires at least one argument",
		"ENV":                          "ENV requires at least one argument",
		"ENV name":                     "ENV must have two arguments",
		"ENV a=b c":                    "can't find = in",
		"ENV =b":                       "ENV names can not be blank",
		`ENV a="b`:                     "matching double-quote",
		"ENV a='b":                     "matching single-quote",
		"ENV a=${B":                    "missing }",
		"ENV a=${B:-c":                 "missing }",
		"ENV a=${B:?unset}":            "B: unset",
		"ENV a=${B:!c}":                "unsupported modifier",
		"USER a b":                     "USER requires exactly one argument",
		"USER $NOBODY":                 "USER requires exactly one argument",
		"EXPOSE http":                  "invalid containerPort: http",
		"EXPOSE 70000":                 "invalid containerPort",
		"EXPOSE 90-80":                 "invalid containerPort",
		"EXPOSE 80/icmp":               "invalid proto: icmp",
		"ONBUILD ONBUILD RUN x":        "Chaining ONBUILD",
		"ONBUILD FROM x":               "FROM isn't allowed as an ONBUILD trigger",
		`VOLUME [""]`:                  "can not be an empty string",
		"VOLUME []":                    "VOLUME requires at least one argument",
		"HEALTHCHECK curl":             `Unknown type "CURL"`,
		"HEALTHCHECK CMD":              "Missing command",
		"HEALTHCHECK NONE x":           "takes no arguments",
		"HEALTHCHECK --interval=x CMD": "must be a duration",
		"HEALTHCHECK --every=1s CMD x": "unknown flag",
		"ENV a=b\nUSER x":              "one line",
	} {
		var c oci.RunConfig
		err := Apply(&c, []string{line})
		if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("%q: %v, want %q", line, err, want)
		}
	}
}

func FuzzApply(f *testing.F) {
	for _, seed := range []string{`ENV A="b c" D=$A`, `CMD ["x"]`, `HEALTHCHECK --retries=1 CMD x`, `LABEL a=${B:-'c'}`, `EXPOSE 1-3/udp`, `VOLUME ["/x"]`, `WORKDIR \`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		c := oci.RunConfig{Env: []string{"A=1"}, WorkingDir: "/w"}
		if Apply(&c, []string{line}) != nil {
			return
		}
		if c.WorkingDir[0] != '/' {
			t.Errorf("%q made the working directory %q", line, c.WorkingDir)
		}
		for _, v := range c.Env {
			if name, _, ok := strings.Cut(v, "="); !ok || name == "" && v != "" && !strings.HasPrefix(line, "ENV") {
				t.Errorf("%q made the variable %q", line, v)
			}
		}
	})
}
