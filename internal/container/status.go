package container

import "berth/internal/errdefs"

// Live reports whether a container in this state has processes or is about to
// have them again.
func (s Status) Live() bool { return s == Running || s == Paused || s == Restarting }

// CanBecome reports whether a container may go from s to next; see Status.
// Every state may be written again as it is.
func (s Status) CanBecome(next Status) bool {
	if s == next {
		return true
	}
	switch next {
	case Running:
		return s == Created || s == Exited || s == Restarting || s == Paused
	case Paused:
		return s == Running
	case Restarting:
		return s == Running || s == Paused
	case Exited:
		return s.Live() || s == Created // a start that failed half-way
	case Removing:
		return true
	case Dead:
		return s == Removing
	}
	return false
}

// checkTransition refuses an impossible step, naming the container.
func checkTransition(id string, from, to Status) error {
	if from.CanBecome(to) {
		return nil
	}
	return errdefs.New(errdefs.Conflict, "container %s is %s and cannot become %s", id, from, to)
}
