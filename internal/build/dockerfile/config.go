package dockerfile

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"berth/internal/build/plan"
	"berth/internal/errdefs"
	"berth/internal/oci"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// Instructions that say how the image is run. WORKDIR is one too, though it
// makes the directory.

func (e *evaluation) env(in *instructions.EnvCommand) error {
	said := "ENV"
	for _, v := range in.Env {
		if v.NoDelim {
			e.lint.Run(&linter.RuleLegacyKeyValueFormat, in.Location(), linter.RuleLegacyKeyValueFormat.Format(in.Name()))
		}
		checkSecret("ENV", v.Key, in.Location(), e.lint)
		if err := e.changeEnv(v.Key, v.Value); err != nil {
			return err
		}
		said += " " + v.Key + "=" + v.Value
	}
	return e.step(nil, said)
}

func (e *evaluation) label(in *instructions.LabelCommand) error {
	said := "LABEL"
	labels := cloneMap(e.config.Config.Labels)
	for _, l := range in.Labels {
		if l.NoDelim {
			e.lint.Run(&linter.RuleLegacyKeyValueFormat, in.Location(), linter.RuleLegacyKeyValueFormat.Format(in.Name()))
		}
		labels[l.Key] = l.Value
		said += " " + l.Key + "=" + l.Value
	}
	e.config.Config.Labels = labels
	if err := e.t.set.budget.spend(64 * len(labels)); err != nil {
		return err
	}
	return e.step(nil, said)
}

func (e *evaluation) maintainer(in *instructions.MaintainerCommand) error {
	e.config.Author = in.Maintainer
	return e.step(nil, "MAINTAINER "+in.Maintainer)
}

func (e *evaluation) workdir(in *instructions.WorkdirCommand) error {
	if !e.s.rooted && !path.IsAbs(in.Path) {
		e.lint.Run(&linter.RuleWorkdirRelativePath, in.Location(), linter.RuleWorkdirRelativePath.Format(in.Path))
	}
	e.s.rooted = true
	c := &e.config.Config
	dir := e.inside(in.Path)
	if c.WorkingDir = dir; path.IsAbs(in.Path) {
		c.WorkingDir = in.Path // as it was written: Docker does not clean it
	}
	if dir == "/" {
		return e.step(nil, "WORKDIR "+c.WorkingDir)
	}
	return e.step(&plan.MakeDir{Path: dir, User: c.User, Created: e.t.set.epoch}, "WORKDIR "+c.WorkingDir)
}

func (e *evaluation) user(in *instructions.UserCommand) error {
	e.config.Config.User = in.User
	return e.step(nil, "USER "+in.User)
}

// shellForm puts the shell in front of a command that is not a JSON list.
func (e *evaluation) shellForm(args []string) []string {
	shell := e.config.Config.Shell
	if len(shell) == 0 {
		shell = []string{"/bin/sh", "-c"}
	}
	return append(slices.Clip(shell), strings.Join(args, " "))
}

func (e *evaluation) commandLine(name string, in *instructions.ShellDependantCmdLine) []string {
	if !in.PrependShell {
		return in.CmdLine
	}
	if len(e.config.Config.Shell) == 0 {
		e.lint.Run(&linter.RuleJSONArgsRecommended, e.now.Location(), linter.RuleJSONArgsRecommended.Format(name))
	}
	return e.shellForm(in.CmdLine)
}

func (e *evaluation) setCmd(in *instructions.CmdCommand) error {
	e.onlyOnce(&e.cmd)
	args := e.commandLine(in.Name(), &in.ShellDependantCmdLine)
	e.config.Config.Cmd, e.config.Config.ArgsEscaped = args, true
	return e.step(nil, fmt.Sprintf("CMD %q", args))
}

// setEntrypoint forgets the base's CMD, which was meant for another program; one of
// this stage stays.
func (e *evaluation) setEntrypoint(in *instructions.EntrypointCommand) error {
	e.onlyOnce(&e.entrypoint)
	args := e.commandLine(in.Name(), &in.ShellDependantCmdLine)
	e.config.Config.Entrypoint = args
	if e.cmd == nil {
		e.config.Config.Cmd = nil
	}
	return e.step(nil, fmt.Sprintf("ENTRYPOINT %q", args))
}

func (e *evaluation) shell(in *instructions.ShellCommand) error {
	e.config.Config.Shell = in.Shell
	return e.step(nil, fmt.Sprintf("SHELL %v", in.Shell))
}

func (e *evaluation) setHealthcheck(in *instructions.HealthCheckCommand) error {
	e.onlyOnce(&e.healthcheck)
	h := in.Health
	check := oci.Healthcheck{
		Test: h.Test, Interval: h.Interval, Timeout: h.Timeout,
		StartPeriod: h.StartPeriod, StartInterval: h.StartInterval, Retries: h.Retries,
	}
	e.config.Config.Healthcheck = &check
	return e.step(nil, fmt.Sprintf("HEALTHCHECK %+v", check))
}

func (e *evaluation) volume(in *instructions.VolumeCommand) error {
	volumes := cloneMap(e.config.Config.Volumes)
	for _, v := range in.Volumes {
		if v == "" {
			return errdefs.New(errdefs.InvalidArgument, "VOLUME specified can not be an empty string").
				WithHint("give the variable a value, as ${DIR:-/data}")
		}
		volumes[v] = struct{}{}
	}
	e.config.Config.Volumes = volumes
	if err := e.t.set.budget.spend(64 * len(volumes)); err != nil {
		return err
	}
	return e.step(nil, fmt.Sprintf("VOLUME %v", in.Volumes))
}

func (e *evaluation) stopSignal(in *instructions.StopSignalCommand) error {
	if !validSignal(in.Signal) {
		return pointed(in.Signal, errdefs.New(errdefs.InvalidArgument, "invalid signal: %s", in.Signal).
			WithHint("a signal is a name or a number, as SIGTERM, RTMIN+3 or 15; kill -l lists them"))
	}
	e.config.Config.StopSignal = in.Signal
	return e.step(nil, "STOPSIGNAL "+in.Signal)
}

// onlyOnce remarks an instruction of which only the last counts. The remark
// stands at the one that is lost.
func (e *evaluation) onlyOnce(last *[]parser.Range) {
	if *last != nil {
		e.lint.Run(&linter.RuleMultipleInstructionsDisallowed, *last, linter.RuleMultipleInstructionsDisallowed.Format(e.now.Name()))
	}
	*last = e.now.Location()
}
