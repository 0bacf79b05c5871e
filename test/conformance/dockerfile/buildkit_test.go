package dockerfile

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/oci"
)

// registry answers BuildKit from the same images as berth.
type registry options

func (r registry) ResolveImageConfig(_ context.Context, ref string, o sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	for name, c := range images() {
		n, err := reference.ParseNormalizedNamed(name)
		if err == nil && reference.TagNameOnly(n).String() == ref {
			return answer(ref, c)
		}
	}
	if p := o.ImageOpt.Platform; r.anyImage {
		return answer(ref, elsewhere(oci.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}))
	}
	return "", "", nil, fmt.Errorf("%s: not found", ref)
}

func answer(ref string, c oci.ImageConfig) (string, digest.Digest, []byte, error) {
	text, err := json.Marshal(c)
	return ref, digest.FromBytes(text), text, err
}

// askBuildKit returns what BuildKit makes of a text.
func askBuildKit(text string, o options) (*facts, error) {
	f := &facts{}
	var mu sync.Mutex // images are resolved, and remarked, at the same time
	caps := pb.Caps.CapSet(pb.Caps.All())
	opt := dockerfile2llb.ConvertOpt{
		Config: dockerui.Config{
			BuildArgs: o.args, Labels: o.labels, Target: o.target, CacheIDNamespace: o.args["BUILDKIT_CACHE_MOUNT_NS"],
			Hostname:       o.args["BUILDKIT_SANDBOX_HOSTNAME"],
			BuildPlatforms: []ocispecs.Platform{{OS: "linux", Architecture: "amd64"}},
		},
		MetaResolver: registry(o), LLBCaps: &caps,
		Warn: func(rule, _, _, detail string, where []parser.Range) {
			mu.Lock()
			defer mu.Unlock()
			if len(where) == 0 {
				f.Nowhere = append(f.Nowhere, rule+" "+detail)
				return
			}
			f.Warnings = append(f.Warnings, fmt.Sprintf("%d %s %s", where[0].Start.Line, rule, detail))
		},
	}
	if o.network == "host" {
		opt.NetworkMode = llb.NetModeHost
	}
	if check, ok := o.args["BUILDKIT_DOCKERFILE_CHECK"]; ok {
		// Only a client can hand this over; the directive means the same.
		text = "# check=" + check + "\n" + text
		opt.Warn = nil
	}
	if o.platform != "" {
		p, err := platforms.Parse(o.platform)
		if err != nil {
			return nil, err
		}
		p = platforms.Normalize(p)
		opt.TargetPlatform = &p
	}
	res, err := dockerfile2llb.Dockerfile2LLB(context.Background(), []byte(text), opt)
	if err != nil {
		return nil, err
	}
	img, err := json.Marshal(res.Image)
	if err != nil {
		return nil, err
	}
	var config oci.ImageConfig
	if err := json.Unmarshal(img, &config); err != nil {
		return nil, err
	}
	f.Config, f.Author = config.Config, config.Author
	f.Platform = oci.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant}.String()
	for _, h := range config.History {
		f.History = append(f.History, historyText(h))
	}
	def, err := res.State.Marshal(context.Background(), llb.LinuxAmd64, llb.WithCaps(caps))
	if err != nil {
		return nil, err
	}
	for _, dt := range def.ToPB().Def {
		var op pb.Op
		if err := op.UnmarshalVT(dt); err != nil {
			return nil, err
		}
		if exec := op.GetExec(); exec != nil {
			f.Runs = append(f.Runs, execText(exec))
		}
		if file := op.GetFile(); file != nil {
			for _, a := range file.Actions {
				f.action(a)
			}
		}
	}
	f.sort()
	return f, nil
}

func execText(op *pb.ExecOp) string {
	m := op.Meta
	env := slices.Clone(m.Env)
	slices.Sort(env)
	var mounts []string
	for _, v := range op.Secretenv {
		mounts = append(mounts, fmt.Sprintf("secret id=%s env=%s optional=%v", v.ID, v.Name, v.Optional))
	}
	for _, m := range op.Mounts {
		if m.Dest != "/" && m.Dest != "/dev/pipes/" {
			mounts = append(mounts, mountText(m, op.Meta.Cwd))
		}
	}
	slices.Sort(mounts)
	proxy := ""
	if p := m.ProxyEnv; p != nil {
		proxy = fmt.Sprint(p.HttpProxy, p.HttpsProxy, p.FtpProxy, p.NoProxy, p.AllProxy)
	}
	return fmt.Sprintf("%q env=%q dir=%s user=%s host=%s net=%v insecure=%v proxy=%s mounts=%q",
		m.Args, env, path.Clean(m.Cwd), m.User, m.Hostname, op.Network, op.Security == pb.SecurityMode_INSECURE, proxy, mounts)
}

func mountText(m *pb.Mount, cwd string) string {
	to := m.Dest
	if !path.IsAbs(to) { // it leaves the target of a secret to the runner
		to = path.Join(cwd, to)
	}
	head := fmt.Sprintf("%s to=%s", strings.ToLower(m.MountType.String()), path.Clean(to))
	switch m.MountType {
	case pb.MountType_SECRET:
		s := m.SecretOpt
		return fmt.Sprintf("%s id=%s uid=%d gid=%d mode=%o optional=%v", head, s.ID, s.Uid, s.Gid, s.Mode, s.Optional)
	case pb.MountType_SSH:
		s := m.SSHOpt
		return fmt.Sprintf("%s id=%s uid=%d gid=%d mode=%o optional=%v", head, s.ID, s.Uid, s.Gid, s.Mode, s.Optional)
	case pb.MountType_TMPFS:
		return fmt.Sprintf("%s size=%d", head, m.TmpfsOpt.Size)
	case pb.MountType_CACHE:
		return fmt.Sprintf("%s from=%s ro=%v id=%s sharing=%s", head, strings.TrimPrefix(m.Selector, "/cache"), m.Readonly, m.CacheOpt.ID,
			strings.ToLower(m.CacheOpt.Sharing.String()))
	}
	return fmt.Sprintf("%s from=%s ro=%v", head, m.Selector, m.Readonly)
}

func (f *facts) action(a *pb.FileAction) {
	if c := a.GetCopy(); c != nil {
		f.Copies = append(f.Copies, fmt.Sprintf("%s to=%s owner=%s mode=%s unpack=%v include=%q exclude=%q",
			path.Clean(c.Src), clean(c.Dest), pbOwner(c.Owner), pbMode(c), c.AttemptUnpackDockerCompatibility, c.IncludePatterns, c.ExcludePatterns))
	}
	if d := a.GetMkdir(); d != nil && d.Path != "/cache" {
		f.Dirs = append(f.Dirs, fmt.Sprintf("%s owner=%s time=%d", path.Clean(d.Path), pbOwner(d.Owner), d.Timestamp))
	}
	if m := a.GetMkfile(); m != nil {
		f.Files = append(f.Files, fmt.Sprintf("%s %o %q", path.Base(m.Path), m.Mode, m.Data))
	}
}

func pbMode(c *pb.FileActionCopy) string {
	switch {
	case c.ModeStr != "":
		return c.ModeStr
	case c.Mode >= 0:
		return fmt.Sprintf("%o", c.Mode)
	}
	return ""
}

func pbOwner(o *pb.ChownOpt) string {
	if o == nil {
		return ""
	}
	one := func(u *pb.UserOpt) string {
		if u == nil {
			return ""
		}
		if n := u.GetByName(); n != nil {
			return n.Name
		}
		return fmt.Sprint(u.GetByID())
	}
	return one(o.User) + ":" + one(o.Group)
}
