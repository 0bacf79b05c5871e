// Package cleanup provides the undo stack of a multi-step operation: acquire a
// thing, push its release, and either run them all backwards on failure or
// forget them on success.
//
//	cu := cleanup.New()
//	defer func() { err = errors.Join(err, cu.Run()) }()
//	... cu.Add(func() error { return os.Remove(dir) })
//	cu.Release() // everything worked: keep what was made
package cleanup

import "errors"

// Stack holds undo steps, newest last. It is not safe for concurrent use.
type Stack struct{ steps []func() error }

// New returns an empty stack.
func New() *Stack { return &Stack{} }

// Add pushes an undo step.
func (s *Stack) Add(step func() error) { s.steps = append(s.steps, step) }

// Release forgets all steps: the operation succeeded.
func (s *Stack) Release() { s.steps = nil }

// Run runs the steps in reverse order, every one even if another fails, and
// returns their errors joined. A second Run does nothing.
func (s *Stack) Run() error {
	var errs []error
	for i := len(s.steps) - 1; i >= 0; i-- {
		if err := s.steps[i](); err != nil {
			errs = append(errs, err)
		}
	}
	s.steps = nil
	return errors.Join(errs...)
}
