package build

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
)

// secrets are what --secret gives, read once when the build begins. The bytes
// are in memory only.
type secrets map[string][]byte

// readSecrets reads all secrets. One that cannot be read is an error now, not
// in the middle of the build.
func readSecrets(list []secret, lookup func(string) (string, bool)) (secrets, error) {
	all := secrets{}
	for _, s := range list {
		data, err := s.read(lookup)
		if err != nil {
			return nil, errdefs.Wrap(err, "read", "the secret "+s.id)
		}
		if len(data) > maxSecret {
			return nil, errdefs.New(errdefs.InvalidArgument, "cannot read the secret %s: it has more than %d bytes", s.id, maxSecret)
		}
		all[s.id] = data
	}
	return all, nil
}

func (s *secret) read(lookup func(string) (string, bool)) ([]byte, error) {
	env, path := s.env, s.path
	if env == "" && path == "" {
		if _, ok := lookup(s.id); ok {
			env = s.id
		} else {
			path = s.id
		}
	}
	if env != "" {
		v, ok := lookup(env)
		if !ok {
			return nil, errdefs.New(errdefs.NotFound, "the environment has no variable %s", env)
		}
		return []byte(v), nil
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errdefs.New(errdefs.NotFound, "there is no file %s", path).WithHint("--secret id=NAME,src=FILE or id=NAME,env=VARIABLE")
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSecret+1))
}

// open is solve.Options.Secret: a memory file with the secret, nil for none.
func (s secrets) open(id string) (*os.File, error) {
	data, ok := s[id]
	if !ok {
		return nil, nil
	}
	fd, err := unix.MemfdCreate("secret", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "secret")
	if _, err := f.Write(data); err != nil {
		return nil, errors.Join(fmt.Errorf("hold a secret: %w", err), f.Close())
	}
	return f, nil
}
