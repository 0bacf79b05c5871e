package dockerfile

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"berth/internal/build/dockerfile"
	"berth/internal/build/plan"
	"berth/internal/errdefs"
	"berth/internal/oci"
	"berth/internal/reference"
)

// cases is where berth's own tests keep their Dockerfiles and images.
const cases = "../../../internal/build/dockerfile/testdata"

var images = sync.OnceValue(func() map[string]oci.ImageConfig {
	text, err := os.ReadFile(cases + "/images.json")
	if err != nil {
		panic(err)
	}
	var list map[string]oci.ImageConfig
	if err := json.Unmarshal(text, &list); err != nil {
		panic(err)
	}
	return list
})

// elsewhere is what every image says that is not in the list, for Dockerfiles
// that were not written for it.
func elsewhere(p oci.Platform) oci.ImageConfig {
	return oci.ImageConfig{
		OS: p.OS, Architecture: p.Architecture, Variant: p.Variant,
		Config:  oci.RunConfig{Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, Cmd: []string{"/bin/sh"}},
		RootFS:  oci.RootFS{Type: "layers", DiffIDs: []oci.Digest{oci.DigestOf(nil)}}, // one without layers is scratch to BuildKit
		History: []oci.History{{CreatedBy: "ADD rootfs.tar / # buildkit"}},
	}
}

func (o options) resolve(_ context.Context, name string, p oci.Platform) (*plan.Image, error) {
	asked, err := reference.Parse(name)
	if err != nil {
		return nil, err
	}
	for known, c := range images() {
		if n, err := reference.Parse(known); err == nil && n == asked {
			return &plan.Image{Name: name, Config: c}, nil
		}
	}
	if o.anyImage {
		return &plan.Image{Name: name, Config: elsewhere(p)}, nil
	}
	return nil, errdefs.New(errdefs.NotFound, "image %s", name)
}

// askBerth returns what berth makes of a text.
func askBerth(text string, o options) (*facts, error) {
	file, err := dockerfile.Parse("Dockerfile", []byte(text))
	if err != nil {
		return nil, err
	}
	opt := dockerfile.Options{
		BuildArgs: o.args, Labels: o.labels, Target: o.target, Network: o.network,
		BuildPlatform: oci.Platform{OS: "linux", Architecture: "amd64"}, Resolve: o.resolve,
	}
	if o.platform != "" {
		if opt.Platform, err = oci.ParsePlatform(o.platform); err != nil {
			return nil, err
		}
	}
	p, err := file.Plan(context.Background(), opt)
	if err != nil {
		return nil, err
	}
	f := &facts{}
	target := p.Target()
	c := target.Config
	f.Author, f.Platform = c.Author, oci.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant}.String()
	text2, err := json.Marshal(c.Config) // empty and missing are the same there
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text2, &f.Config); err != nil {
		return nil, err
	}
	f.History = stageHistory(target)
	for _, w := range p.Warnings {
		f.Warnings = append(f.Warnings, fmt.Sprintf("%d %s %s", w.Line, w.Rule, w.Detail))
	}
	for _, s := range p.Stages {
		for _, step := range s.Steps {
			f.operation(step.Op, o)
		}
	}
	f.sort()
	return f, nil
}

func historyText(h oci.History) string {
	text := fmt.Sprintf("%s (%s, empty %v)", h.CreatedBy, h.Comment, h.EmptyLayer)
	if h.Created != nil {
		text += " at " + strconv.FormatInt(h.Created.Unix(), 10)
	}
	return text
}

// stageHistory is the history that the solver will write.
func stageHistory(s *plan.Stage) (list []string) {
	if s.Base.Stage != nil {
		list = stageHistory(s.Base.Stage)
	}
	for _, h := range s.Config.History {
		list = append(list, historyText(h))
	}
	for _, st := range s.Steps {
		list = append(list, historyText(st.History))
	}
	return list
}

func (f *facts) operation(op plan.Op, o options) {
	switch op := op.(type) {
	case *plan.Run:
		f.run(op, o)
	case *plan.Copy:
		f.copy(op)
	case *plan.MakeDir:
		user, stamp := "", int64(-1)
		if op.User != "" {
			user = owner(op.User)
		}
		if op.Created != nil {
			stamp = op.Created.UnixNano()
		}
		f.Dirs = append(f.Dirs, fmt.Sprintf("%s owner=%s time=%d", op.Path, user, stamp))
	}
}

func (f *facts) run(op *plan.Run, o options) {
	env := slices.Clone(op.Env)
	slices.Sort(env)
	var mounts []string
	for _, m := range op.Mounts {
		mounts = append(mounts, planMount(m, o)...)
	}
	slices.Sort(mounts)
	for _, file := range op.Files {
		f.Files = append(f.Files, fmt.Sprintf("%s %o %q", file.Name, file.Mode, file.Data))
	}
	proxy := ""
	if len(op.Proxy) > 0 {
		var values []any
		for _, name := range []string{"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"} {
			v := ""
			for _, p := range op.Proxy {
				if after, ok := strings.CutPrefix(p, name+"="); ok {
					v = after
				}
			}
			values = append(values, v)
		}
		proxy = fmt.Sprint(values...)
	}
	net := map[string]string{"default": "UNSET", "host": "HOST", "none": "NONE"}[op.Network]
	f.Runs = append(f.Runs, fmt.Sprintf("%q env=%q dir=%s user=%s host=%s net=%v insecure=%v proxy=%s mounts=%q",
		op.Args, env, op.Dir, op.User, op.Hostname, net, op.Insecure, proxy, mounts))
}

func planMount(m plan.Mount, o options) (list []string) {
	head := fmt.Sprintf("%s to=%s", m.Type, m.Target)
	from := strings.TrimSuffix(m.Path, "/")
	switch m.Type {
	case plan.MountSecret:
		if m.Env != "" {
			list = append(list, fmt.Sprintf("secret id=%s env=%s optional=%v", m.ID, m.Env, !m.Required))
		}
		if m.Target == "" {
			return list
		}
		return append(list, fmt.Sprintf("%s id=%s uid=%d gid=%d mode=%o optional=%v", head, m.ID, m.UID, m.GID, m.Mode, !m.Required))
	case plan.MountSSH:
		id := m.ID
		if id == "default" {
			id = "" // BuildKit fills it in later
		}
		return []string{fmt.Sprintf("%s id=%s uid=%d gid=%d mode=%o optional=%v", head, id, m.UID, m.GID, m.Mode, !m.Required)}
	case plan.MountTmpfs:
		return []string{fmt.Sprintf("%s size=%d", head, m.Size)}
	case plan.MountCache:
		id := m.ID
		if o.args["BUILDKIT_CACHE_MOUNT_NS"] == "" {
			id = "/" + id
		}
		return []string{fmt.Sprintf("%s from=%s ro=%v id=%s sharing=%s", head, from, m.ReadOnly, id, m.Sharing)}
	}
	return []string{fmt.Sprintf("%s from=%s ro=%v", head, from, m.ReadOnly)}
}

func (f *facts) copy(op *plan.Copy) {
	mode := op.Chmod
	if n, err := strconv.ParseUint(mode, 8, 32); err == nil {
		mode = strconv.FormatUint(n, 8)
	}
	add := func(src string, unpack bool, include []string) {
		f.Copies = append(f.Copies, fmt.Sprintf("%s to=%s owner=%s mode=%s unpack=%v include=%q exclude=%q",
			src, op.Dest, owner(op.Chown), mode, unpack, include, op.Exclude))
	}
	for _, p := range op.Paths {
		unpack := op.Unpack != plan.UnpackNever
		if !op.Parents {
			add(p, unpack, nil)
		} else if way, rest, ok := strings.Cut(p, "/./"); ok {
			add("/"+strings.TrimPrefix(way, "/"), unpack, []string{rest})
		} else {
			add("/", unpack, []string{strings.TrimPrefix(p, "/")})
		}
	}
	for _, r := range op.Remote {
		u, err := url.Parse(r)
		switch {
		case err == nil && strings.HasPrefix(u.Scheme, "http") && !strings.HasSuffix(u.Path, ".git"):
			name := path.Base(u.Path)
			if name == "." || name == "/" {
				name = "__unnamed__"
			}
			add("/"+name, op.Unpack == plan.UnpackAlways, nil)
		case err != nil && strings.HasPrefix(r, "http"):
			add("/__unnamed__", op.Unpack == plan.UnpackAlways, nil)
		default: // a repository
			add("/", false, nil)
		}
	}
	for _, file := range op.Files {
		f.Files = append(f.Files, fmt.Sprintf("%s %o %q", file.Name, file.Mode, file.Data))
		add(path.Join("/", file.Name), false, nil)
	}
}
