package daemon

import (
	"fmt"
	"strings"

	"berth/internal/buildinfo"
	"berth/internal/cli/command"
	"berth/internal/cli/daemon/progress"
	"berth/internal/cli/streams"
	"berth/internal/image/registry"
	"berth/internal/image/registry/hosts"
)

// registryOptions is how this user speaks to registries: with whose
// credentials, certificates and mirrors.
func registryOptions(env *command.Env, insecure bool) (o registry.Options, err error) {
	accounts, err := registry.OpenAccounts(env.StateRoot)
	if err != nil {
		return o, err
	}
	o.Credentials = accounts.Credentials
	if o.Hosts, err = hosts.Default(env.LookupEnv); err != nil {
		return o, err
	}
	o.Insecure, o.UserAgent = insecure, "berth/"+buildinfo.Version
	if list, ok := env.LookupEnv("BERTH_TRUSTED_REALMS"); ok {
		o.TrustedRealms = strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
	}
	return o, nil
}

// notice shows what a registry makes the user wait for: between the progress on
// a terminal, else on standard error, where it is in no script's way.
func notice(env *command.Env, p *progress.Printer) func(string) {
	if p != nil && streams.Terminal(env.Out) != nil {
		return p.Line
	}
	return func(line string) { fmt.Fprintln(env.Err, "berth: "+line) } //nolint:errcheck // stderr is the last resort
}
