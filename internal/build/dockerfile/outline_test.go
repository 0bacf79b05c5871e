package dockerfile

import (
	"fmt"
	"strings"
	"testing"
)

func TestArgs(t *testing.T) {
	const text = `# BASE the image to begin from
ARG BASE=alpine
# TAG is of another stage
ARG TAG=12
ARG SUFFIX
ARG NAME=${BASE}${SUFFIX}
FROM debian:${TAG} AS other
ARG ONLY_OTHER=1
FROM ${NAME} AS tools
# CFLAGS for the compiler
ARG CFLAGS=-O2 OPT
ARG BASE
ARG TARGETARCH
FROM tools
ARG CFLAGS=-O3
RUN true
`
	for _, c := range []struct {
		target, args, want string
	}{
		{"", "", "BASE=alpine (the image to begin from):2 NAME=alpine:6 OPT=:11 CFLAGS=-O3:15"},
		{"tools", "OPT=x CFLAGS=-g", "BASE=alpine (the image to begin from):2 NAME=alpine:6 CFLAGS=-g (for the compiler):11 OPT=x:11"},
		{"other", "", "TAG=12 (is of another stage):4 ONLY_OTHER=1:8"},
	} {
		o := testOptions()
		o.Target, o.BuildArgs = c.target, map[string]string{}
		for a := range strings.FieldsSeq(c.args) {
			name, value, _ := strings.Cut(a, "=")
			o.BuildArgs[name] = value
		}
		p, err := makePlan(text, o)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, a := range p.Args {
			s := a.Name + "=" + a.Value
			if a.Text != "" {
				s += " (" + a.Text + ")"
			}
			got = append(got, fmt.Sprintf("%s:%d", s, a.Line))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s %s:\ngot  %s\nwant %s", c.target, c.args, strings.Join(got, " "), c.want)
		}
	}
}
