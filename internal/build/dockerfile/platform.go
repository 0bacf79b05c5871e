package dockerfile

import (
	"strings"

	"berth/internal/errdefs"
	"berth/internal/oci"

	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// platformArgs are the variables that every build has before its first FROM;
// in a stage they need an ARG (Dockerfile reference, "Automatic platform ARGs").
func platformArgs(s *setup, target string) *variables {
	build, to := s.BuildPlatform, s.Platform
	v := newVariables()
	for _, p := range [...]struct{ name, value string }{
		{"BUILDPLATFORM", build.String()},
		{"BUILDOS", build.OS},
		{"BUILDOSVERSION", build.OSVersion},
		{"BUILDARCH", build.Architecture},
		{"BUILDVARIANT", build.Variant},
		{"TARGETPLATFORM", to.String()},
		{"TARGETOS", to.OS},
		{"TARGETOSVERSION", to.OSVersion},
		{"TARGETARCH", to.Architecture},
		{"TARGETVARIANT", to.Variant},
		{"TARGETSTAGE", target},
	} {
		if given, ok := s.BuildArgs[p.name]; ok {
			p.value = given
		}
		v.set(p.name, p.value)
	}
	return v
}

// platformOf reads FROM --platform.
func (t *translation) platformOf(s *stage, lint *linter.Linter) error {
	res, err := t.expand.word(s.Platform, t.global)
	t.remarkUndeclared(res.Unmatched, s.Location, lint)
	s.take(res.Matched)
	if err != nil {
		return err
	}
	if _, ok := res.Matched["TARGETPLATFORM"]; ok && len(res.Matched) == 1 && len(res.Unmatched) == 0 {
		if v, _ := t.global.Get("TARGETPLATFORM"); v == res.Result {
			lint.Run(&linter.RuleRedundantTargetPlatform, s.Location, linter.RuleRedundantTargetPlatform.Format(s.Platform))
		}
	}
	if res.Result == "" {
		return pointed(s.Platform, errdefs.New(errdefs.InvalidArgument, "empty platform value from expression %s", s.Platform).
			WithHint("%s", t.missingArg(res.Unmatched)))
	}
	p, err := oci.ParsePlatform(res.Result)
	if err != nil {
		return pointed(s.Platform, err)
	}
	constant := len(res.Matched) == 0 && len(res.Unmatched) == 0
	if constant && !strings.Contains(s.Name, p.OS) && !strings.Contains(s.Name, p.Architecture) {
		lint.Run(&linter.RuleFromPlatformFlagConstDisallowed, s.Location, linter.RuleFromPlatformFlagConstDisallowed.Format(res.Result))
	}
	s.asked = &p
	return nil
}

// platformFor is what the base of s has to be for.
func (t *translation) platformFor(s *stage) oci.Platform {
	if s.asked != nil {
		return *s.asked
	}
	return t.set.Platform
}

// finishPlatform writes into the result what it is for: what the user asked
// for, else what the base image says.
func (t *translation) finishPlatform(c *oci.ImageConfig) {
	to := t.set.Platform
	if !t.set.implicit {
		same := to.OS == c.OS && to.Architecture == c.Architecture
		c.OS, c.Architecture = to.OS, to.Architecture
		if to.Variant != "" || !same {
			c.Variant = to.Variant
		}
		if to.OSVersion != "" || !same {
			c.OSVersion = to.OSVersion
		}
		if to.OSFeatures != nil {
			c.OSFeatures = to.OSFeatures
		}
	}
	p := oci.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant}
	if p.OS != "" && p.Architecture != "" {
		p = p.Normalize()
		c.OS, c.Architecture, c.Variant = p.OS, p.Architecture, p.Variant
	}
}

// checkPlatform remarks an image that is for something else than what was asked for.
func (t *translation) checkPlatform(name string, o *outside, where []parser.Range, lint *linter.Linter) {
	if o.image == nil {
		return
	}
	c := o.image.Config
	got := oci.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant}
	if got.OS != o.want.OS || got.Architecture != o.want.Architecture {
		lint.Run(&linter.RuleInvalidBaseImagePlatform, where, linter.RuleInvalidBaseImagePlatform.Format(name, o.want.String(), got.Normalize().String()))
	}
}
