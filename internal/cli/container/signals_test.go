package container

import (
	"context"
	"os"
	"syscall"
	"testing"
	"time"
)

func kill(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), sig); err != nil {
		t.Fatal(err)
	}
}

func TestSignalsCancelThenForward(t *testing.T) {
	s, ctx := catchSignals(context.Background())
	kill(t, syscall.SIGTERM)
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the first phase did not cancel")
	}
	s.stop()

	s, ctx = catchSignals(context.Background())
	got := make(chan string, 4)
	s.forward(func(sig string) error { got <- sig; return nil })
	for sig, want := range map[syscall.Signal]string{syscall.SIGTERM: "15", syscall.SIGINT: "2", syscall.SIGUSR1: "10", syscall.SIGHUP: "1"} {
		kill(t, sig)
		select {
		case name := <-got:
			if name != want {
				t.Errorf("%v was sent on as %s", sig, name)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%v was not sent on", sig)
		}
	}
	if ctx.Err() != nil {
		t.Error("a forwarded signal cancelled the work")
	}
	s.stop()
	if ctx.Err() == nil {
		t.Error("stop must end the context")
	}
}
