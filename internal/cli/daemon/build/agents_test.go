package build

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/sys/unix"

	"berth/internal/build/plan"
	"berth/internal/build/solve"
)

// key writes a private key and returns its file.
func key(t *testing.T, passphrase string) string {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "a key")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, "a key", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// connect reaches an agent as a step does: through the descriptor that is mounted.
func connect(t *testing.T, f *os.File) agent.ExtendedAgent {
	t.Helper()
	conn, err := net.Dial("unix", fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return agent.NewClient(conn)
}

func TestAgents(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("sockets are given to other users")
	}
	deep := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	if err := os.Mkdir(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	a, err := newAgents([]sshSpec{{id: "keys", paths: []string{key(t, ""), key(t, "")}}}, deep, nowhere)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	f, done, err := a.forStep(&solve.RunMount{Mount: plan.Mount{ID: "keys", Mode: 0o640, UID: 5, GID: 6}})
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Mode != unix.S_IFSOCK|0o640 || st.Uid != 5 || st.Gid != 6 {
		t.Errorf("the socket is %o of %d:%d, %v", st.Mode, st.Uid, st.Gid, err)
	}
	c := connect(t, f)
	keys, err := c.List()
	if err != nil || len(keys) != 2 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	sig, err := c.Sign(keys[0], []byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	if err := keys[0].Verify([]byte("text"), sig); err != nil {
		t.Error(err)
	}
	// A step changes nothing.
	if c.RemoveAll() == nil || c.Remove(keys[0]) == nil || c.Lock([]byte("x")) == nil {
		t.Error("a step could change the agent")
	}
	if keys, _ := connect(t, f).List(); len(keys) != 2 {
		t.Errorf("%d keys are left", len(keys))
	}

	// The agent of one build is that of the user for the next.
	socket := filepath.Join(t.TempDir(), "agent")
	if err := os.Symlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), socket); err != nil {
		t.Fatal(err)
	}
	b, err := newAgents([]sshSpec{{id: "default"}}, t.TempDir(), func(name string) (string, bool) { return socket, name == "SSH_AUTH_SOCK" })
	if err != nil {
		t.Fatal(err)
	}
	g, done, err := b.forStep(&solve.RunMount{Mount: plan.Mount{ID: "default"}})
	if err != nil {
		t.Fatal(err)
	}
	if keys, err := connect(t, g).List(); err != nil || len(keys) != 2 {
		t.Errorf("through a socket: %d keys, %v", len(keys), err)
	}
	done()
	b.Close()
	if f, err := b.socket("none"); f != nil || err != nil {
		t.Errorf("an agent that nobody gave: %v, %v", f, err)
	}
}

func TestAgentsRefused(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, specs := range map[string][]sshSpec{
		"no agent":     {{id: "default"}},
		"no file":      {{id: "a", paths: []string{"/nosuchfile"}}},
		"no key":       {{id: "a", paths: []string{plain}}},
		"a passphrase": {{id: "a", paths: []string{key(t, "secret")}}},
		"twice":        {{id: "a", paths: []string{key(t, "")}}, {id: "a", paths: []string{key(t, "")}}},
	} {
		if a, err := newAgents(specs, t.TempDir(), nowhere); err == nil {
			a.Close()
			t.Errorf("%s was accepted", name)
		}
	}
}
