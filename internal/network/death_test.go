package network

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"

	"testing"
	"time"

	"berth/internal/errdefs"
	"berth/internal/ident"
)

// The two directories that were given to Open.
func (s *Store) dataRoot() string  { return s.data[:len(s.data)-len("/network")] }
func (s *Store) stateRoot() string { return s.state[:len(s.state)-len("/network")] }

// TestMain lets the test binary play a process that attaches until it is killed.
func TestMain(m *testing.M) {
	if data := os.Getenv("ATTACH_UNTIL_KILLED"); data != "" {
		s := Open(data, os.Getenv("ATTACH_STATE"))
		for i := 0; ; i++ {
			id := ident.New()
			a, err := s.Attach(context.Background(), Request{ContainerID: id, Ports: []Publish{{Proto: "tcp", ContainerPort: 80, HostPort: uint16(8000 + i%4)}, {Proto: "udp", ContainerPort: 80}}})
			if err == nil {
				a.NetNS.Close()
				err = s.Detach(context.Background(), id)
			}
			if err != nil && !errors.Is(err, errdefs.Conflict) { // the port of one that was killed
				fmt.Println(err)
			}
		}
	}
	os.Exit(m.Run())
}

// A process may die at any instant; GC then finds all that it left.
func TestDeathAtAnyInstant(t *testing.T) {
	w := newWorld(t)
	keep, keptID := w.attachID(ident.New(), Publish{Proto: "tcp", ContainerPort: 80, HostPort: 9999})
	w.serve(keep.NetNS, "0.0.0.0:80")
	for range 25 {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), "ATTACH_UNTIL_KILLED="+w.store.dataRoot(), "ATTACH_STATE="+w.store.stateRoot())
		cmd.Stdout = os.Stdout
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20*time.Millisecond + time.Duration(rand.IntN(20000))*time.Microsecond)
		cmd.Process.Kill()
		cmd.Wait()
	}
	if err := w.store.GC(t.Context(), func(id string) bool { return id == keptID }); err != nil {
		t.Error(err)
	}
	w.sees("the one that lives", w.outside, "tcp", at(hostAddr, 9999), outsideAddr)
	keep.NetNS.Close()
	if err := w.store.Detach(t.Context(), keptID); err != nil {
		t.Error(err)
	}
	w.nothingLeft()
}
