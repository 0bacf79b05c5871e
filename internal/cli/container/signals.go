package container

import (
	"context"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
)

// signals catches the signals of an attached client. Until a container runs,
// Ctrl-C and SIGTERM give the work up (they cancel the context); from then on
// every signal is the program's and is sent on. One channel serves both phases,
// so that no signal falls between them.
type signals struct {
	ch     chan os.Signal
	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex // guards send
	send func(sig string) error
}

// forwarded are the signals a client passes on: those that someone may send it
// on purpose. SIGCHLD, SIGPIPE and SIGURG come from the kernel and the Go
// runtime for reasons of the client itself.
func forwarded() []os.Signal {
	return []os.Signal{
		syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGABRT, syscall.SIGALRM,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGCONT, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU,
	}
}

// catchSignals begins the first phase. Stop it on every way out.
func catchSignals(ctx context.Context) (*signals, context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	s := &signals{ch: make(chan os.Signal, 16), cancel: cancel, done: make(chan struct{})}
	signal.Notify(s.ch, syscall.SIGINT, syscall.SIGTERM)
	go s.loop()
	return s, ctx
}

func (s *signals) loop() {
	defer close(s.done)
	for sig := range s.ch {
		s.mu.Lock()
		send := s.send
		s.mu.Unlock()
		if send == nil {
			s.cancel()
			continue
		}
		number, _ := sig.(syscall.Signal)   // os/signal on Linux sends nothing else
		_ = send(strconv.Itoa(int(number))) // the program may have ended: then its exit is on the way
	}
}

// forward begins the second phase.
func (s *signals) forward(send func(sig string) error) {
	s.mu.Lock()
	s.send = send
	s.mu.Unlock()
	signal.Notify(s.ch, forwarded()...)
}

// release gives the signals their default action again.
func (s *signals) release() { signal.Stop(s.ch) }

// stop ends the work.
func (s *signals) stop() {
	s.release()
	close(s.ch)
	<-s.done
	s.cancel()
}
