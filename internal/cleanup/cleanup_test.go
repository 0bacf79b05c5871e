package cleanup

import (
	"errors"
	"testing"
)

func TestRunIsReverseAndComplete(t *testing.T) {
	var order []int
	boom := errors.New("boom")
	s := New()
	s.Add(func() error { order = append(order, 1); return nil })
	s.Add(func() error { order = append(order, 2); return boom })
	s.Add(func() error { order = append(order, 3); return nil })
	if err := s.Run(); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	if len(order) != 3 || order[0] != 3 || order[2] != 1 {
		t.Errorf("order %v", order)
	}
	if s.Run() != nil || len(order) != 3 {
		t.Error("second Run must do nothing")
	}
}

func TestReleaseForgets(t *testing.T) {
	s := New()
	s.Add(func() error { t.Error("ran after Release"); return nil })
	s.Release()
	if err := s.Run(); err != nil {
		t.Error(err)
	}
}
