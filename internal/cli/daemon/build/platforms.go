package build

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"berth/internal/build/plan"
	"berth/internal/build/solve"
	"berth/internal/errdefs"
	"berth/internal/linux/binfmt"
	"berth/internal/oci"
)

// platformsOf are the platforms to build for; the zero value is this host's.
func (b *build) platformsOf() []oci.Platform {
	if len(b.platforms) == 0 {
		return []oci.Platform{{}}
	}
	return b.platforms
}

// plans makes the plan of each platform.
func (b *build) plans(ctx context.Context, found *images) ([]*plan.Plan, error) {
	var all []*plan.Plan
	for _, to := range b.platformsOf() {
		p, err := b.file.Plan(ctx, b.planOptions(found, to))
		if err != nil {
			return nil, err
		}
		b.warnPlan(p)
		all = append(all, p)
	}
	return all, nil
}

// solveAll carries plans out, at the same time. Of several errors the first
// counts, and stops the others. A step that failed is looked into by a person,
// who has one terminal: then it is one plan after the other.
func solveAll(ctx context.Context, plans []*plan.Plan, o solve.Options) ([]*solve.Result, error) {
	results := make([]*solve.Result, len(plans))
	g, ctx := errgroup.WithContext(ctx)
	if o.Failed != nil {
		g.SetLimit(1)
	}
	for i, p := range plans {
		g.Go(func() (err error) {
			results[i], err = solve.Solve(ctx, p, o)
			return err
		})
	}
	err := g.Wait()
	if err == nil {
		return results, nil
	}
	for _, r := range results {
		if r != nil {
			err = errors.Join(err, r.Close())
		}
	}
	return nil, err
}

// canRun reports whether programs of a platform run here, if need be by an emulator.
func canRun(p oci.Platform) error {
	host := oci.HostPlatform()
	if p.Architecture == host.Architecture || host.Runs(p) {
		return nil
	}
	h, err := binfmt.For(p.Architecture)
	switch {
	case err != nil:
		return errdefs.Wrap(err, "look for", "an emulator of "+p.String())
	case h == nil:
		return errdefs.New(errdefs.Unsupported, "this step runs a program for %s, and this machine is %s without an emulator for that", p, host).
			WithHint("'apt install qemu-user-static' brings emulators; or compile in a stage FROM --platform=$BUILDPLATFORM, which runs here, and COPY from it")
	case !h.Fixed:
		return errdefs.New(errdefs.Unsupported, "this step runs a program for %s, and its emulator %s is not visible in containers", p, h.Interpreter).
			WithHint("register %s in /proc/sys/fs/binfmt_misc with the flag F, as Debian's qemu-user-static does", h.Name)
	}
	return nil
}
