package cbpf

import (
	"testing"

	"golang.org/x/sys/unix"
)

const (
	ld  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	ret = unix.BPF_RET | unix.BPF_K
	jeq = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	jge = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	ja  = unix.BPF_JMP | unix.BPF_JA
	and = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
)

func TestRun(t *testing.T) {
	code := []unix.SockFilter{
		{Code: ld, K: 0},
		{Code: jeq, Jt: 0, Jf: 4, K: 7},
		{Code: ld, K: 20}, // high half of the first argument
		{Code: and, K: 0xf0},
		{Code: jge, Jt: 2, K: 0x20},
		{Code: ja, K: 0},
		{Code: ret, K: 1},
		{Code: ret, K: 2},
	}
	if err := Check(code); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		nr, want uint32
		arg      uint64
	}{{6, 1, 0}, {7, 1, 0}, {7, 1, 0x1f << 32}, {7, 2, 0x20 << 32}, {7, 1, 0x20}} {
		got, _, err := Run(code, &Data{Number: c.nr, Args: [6]uint64{c.arg}})
		if err != nil || got != c.want {
			t.Errorf("%+v: %d, %v", c, got, err)
		}
	}
}

func TestCheck(t *testing.T) {
	end := unix.SockFilter{Code: ret}
	for name, code := range map[string][]unix.SockFilter{
		"empty":        {},
		"no return":    {{Code: ld}},
		"far jump":     {{Code: ja, K: 1}, end},
		"far branch":   {{Code: jeq, Jf: 1}, end},
		"odd load":     {{Code: ld, K: 2}, end},
		"outside load": {{Code: ld, K: 64}, end},
		"opcode":       {{Code: unix.BPF_MISC}, end},
		"too long":     make([]unix.SockFilter, unix.BPF_MAXINSNS+1),
	} {
		if Check(code) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
