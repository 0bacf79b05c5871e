package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/sys/unix"

	"berth/internal/build/solve"
	"berth/internal/errdefs"
)

// agents are what --ssh gives. An SSH agent is a program that holds private keys
// and signs with them for whoever reaches its socket, so that the keys
// themselves go nowhere. A step sees a socket of its own, with the owner and
// mode that the Dockerfile asks for; what is said there goes on to the user's
// agent, or to one in this process that holds the keys named on the command line.
//
// Sockets lie in the build's workspace; all that listens ends with Close.
type agents struct {
	dir     *os.File
	reach   map[string]reach // by id
	running sync.WaitGroup

	mu    sync.Mutex // guards what follows
	count int
	open  map[io.Closer]bool // listeners and connections
	ended bool
}

// newAgents prepares the agents of a build. dir is a directory that only this
// user may enter.
func newAgents(specs []sshSpec, dir string, lookup func(string) (string, bool)) (*agents, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	a := &agents{dir: d, reach: map[string]reach{}, open: map[io.Closer]bool{}}
	if err := a.find(specs, lookup); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return a, nil
}

// find finds or makes the agents that were asked for.
func (a *agents) find(specs []sshSpec, lookup func(string) (string, bool)) error {
	for _, s := range specs {
		if a.reach[s.id] != nil {
			return errdefs.New(errdefs.InvalidArgument, "the ssh agent %q is given twice", s.id)
		}
		reach, err := s.reach(lookup)
		if err != nil {
			return errdefs.Wrap(err, "use", "--ssh "+s.id)
		}
		a.reach[s.id] = reach
	}
	return nil
}

// reach returns what connects to the agent. end closes that connection.
type reach func() (ring agent.Agent, end func() error, err error)

// reach finds the agent, or makes one of keys.
func (s *sshSpec) reach(lookup func(string) (string, bool)) (reach, error) {
	paths := s.paths
	if len(paths) == 0 {
		socket, _ := lookup("SSH_AUTH_SOCK")
		if socket == "" {
			return nil, errdefs.New(errdefs.InvalidArgument, "the environment has no SSH_AUTH_SOCK").
				WithHint("start an agent (eval $(ssh-agent); ssh-add), or name a key: --ssh %s=KEYFILE", s.id)
		}
		paths = []string{socket}
	}
	var keys []string
	for _, p := range paths {
		st, err := os.Stat(p)
		if err != nil {
			return nil, err
		}
		if st.Mode()&os.ModeSocket == 0 {
			keys = append(keys, p)
		}
	}
	switch {
	case len(keys) == len(paths):
		return keyring(keys)
	case len(paths) > 1:
		return nil, errdefs.New(errdefs.InvalidArgument, "a socket stands alone: one socket, or one or more keys")
	}
	return func() (agent.Agent, func() error, error) {
		conn, err := net.Dial("unix", paths[0])
		if err != nil {
			return nil, nil, err
		}
		return agent.NewClient(conn), conn.Close, nil
	}, nil
}

// keyring is an agent in this process that holds the keys of files.
func keyring(files []string) (reach, error) {
	ring := agent.NewKeyring()
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		key, err := ssh.ParseRawPrivateKey(text)
		var locked *ssh.PassphraseMissingError
		switch {
		case errors.As(err, &locked):
			return nil, errdefs.New(errdefs.InvalidArgument, "the key %s has a passphrase", f).
				WithHint("give it to an agent (ssh-add %s) and use --ssh default", f)
		case err != nil:
			return nil, fmt.Errorf("%s is no private key: %w", f, err)
		}
		if err := ring.Add(agent.AddedKey{PrivateKey: key, Comment: filepath.Base(f)}); err != nil {
			return nil, err
		}
	}
	return func() (agent.Agent, func() error, error) { return ring, func() error { return nil }, nil }, nil
}

// signer lets a step list keys and sign with them, and change nothing: the
// user's agent outlives the build.
type signer struct{ agent.Agent }

var errReadOnly = errors.New("a build cannot change the agent")

func (signer) Add(agent.AddedKey) error   { return errReadOnly }
func (signer) Remove(ssh.PublicKey) error { return errReadOnly }
func (signer) RemoveAll() error           { return errReadOnly }
func (signer) Lock([]byte) error          { return errReadOnly }
func (signer) Unlock([]byte) error        { return errReadOnly }

// socket is solve.Options.SSH: it opens the socket of an id, nil if the user gave
// none. A step gets another one, from forStep.
func (a *agents) socket(id string) (*os.File, error) {
	if a.reach[id] == nil {
		return nil, nil
	}
	return a.listen(id, 0o600, 0, 0)
}

// forStep opens a socket for one RUN --mount=type=ssh; done ends it.
func (a *agents) forStep(m *solve.RunMount) (f *os.File, done func(), err error) {
	f, err = a.listen(m.ID, m.Mode, m.UID, m.GID)
	if err != nil {
		return nil, func() {}, errdefs.Wrap(err, "forward", "the ssh agent "+m.ID)
	}
	return f, func() { f.Close() }, nil
}

// listen makes a socket that leads to the agent of an id and returns a
// descriptor of its place, which can be mounted.
func (a *agents) listen(id string, mode, uid, gid uint32) (*os.File, error) {
	a.mu.Lock()
	a.count++
	name := "agent." + strconv.Itoa(a.count)
	a.mu.Unlock()
	// The address of a socket has room for 107 bytes (unix(7)), a data root may lie deeper.
	path := fmt.Sprintf("/proc/self/fd/%d/%s", a.dir.Fd(), name)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Chown(path, int(uid), int(gid)), os.Chmod(path, os.FileMode(mode&0o777)), a.adopt(l)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	a.running.Go(func() { a.serve(l, a.reach[id]) })
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), filepath.Join(a.dir.Name(), name)), nil
}

// adopt makes Close close c.
func (a *agents) adopt(c io.Closer) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return context.Canceled
	}
	a.open[c] = true
	return nil
}

func (a *agents) drop(c io.Closer) {
	a.mu.Lock()
	delete(a.open, c)
	a.mu.Unlock()
	c.Close()
}

// serve gives everyone who comes the agent.
func (a *agents) serve(l *net.UnixListener, reach reach) {
	defer a.drop(l)
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		if a.adopt(conn) != nil {
			conn.Close()
			return
		}
		a.running.Go(func() {
			defer a.drop(conn)
			ring, end, err := reach()
			if err != nil {
				return // the program sees an agent that hangs up
			}
			_ = agent.ServeAgent(signer{ring}, conn) // ends with the connection
			end()                                    //nolint:errcheck // a connection that is over
		})
	}
}

// Close ends all agents.
func (a *agents) Close() {
	a.mu.Lock()
	a.ended = true
	for c := range a.open {
		c.Close()
	}
	a.mu.Unlock()
	a.running.Wait()
	a.dir.Close()
}
