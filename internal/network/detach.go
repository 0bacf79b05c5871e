package network

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/filelock"
	"berth/internal/ident"
	"berth/internal/linux/netlink"
	"berth/internal/linux/nftables"
)

// Detach gives back what a container holds. It is no error if it holds nothing.
// The cable dies with the container's namespace, which the kernel does in its
// own time: waiting for it costs 15 ms.
func (s *Store) Detach(_ context.Context, id string) error { return s.detach(id) }

func (s *Store) detach(id string) error {
	j, err := s.readJournal(id)
	if err != nil || j == nil {
		return errdefs.Wrap(err, "read", "the network journal of "+ident.Short(id))
	}
	return s.release(j)
}

// release undoes Attach, the journal last.
func (s *Store) release(j *journal) error {
	var errs []error
	if len(j.Ports) > 0 {
		// Whoever writes the rules anew takes the elements from the journals.
		// The lock keeps that from happening between the removal of the
		// elements and that of the journal.
		lock, err := filelock.Shared(s.lockFile())
		if err != nil {
			return err
		}
		defer lock.Unlock()
	}
	for i := range j.Ports {
		err := s.commit(func(b *nftables.Batch) {
			m, key, _ := j.Ports[i].element(j.Address)
			b.DeleteElement(m, key)
		})
		if err != nil && !errors.Is(err, unix.ENOENT) { // ENOENT: it was never published, or the rules were flushed
			errs = append(errs, err)
		}
		errs = append(errs, unreserve(s.portFile(&j.Ports[i]), j.ID))
	}
	if j.Address.IsValid() {
		errs = append(errs, unreserve(filepath.Join(s.addressDir(), j.Address.String()), j.ID))
	} else {
		// The journal was never completed: reservations may have been made that it does not name.
		errs = append(errs, s.sweep(func(id string) bool { return id == j.ID }))
	}
	if err := os.Remove(s.journalFile(j.ID)); err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// sweep removes the reservations of owners that dead says are dead.
func (s *Store) sweep(dead func(id string) bool) error {
	var errs []error
	for _, dir := range []string{s.addressDir(), s.portDir()} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			if id := owner(path); id != "" && dead(id) {
				errs = append(errs, unreserve(path, id))
			}
		}
	}
	return errors.Join(errs...)
}

// GC gives back what containers hold that are not alive, cables included: a
// namespace that something else keeps open keeps its cable.
func (s *Store) GC(ctx context.Context, alive func(id string) bool) error {
	journals, err := s.journals()
	errs := []error{err}
	for _, j := range journals {
		if !alive(j.ID) {
			errs = append(errs, s.Detach(ctx, j.ID), unplug(j.Veth))
		}
	}
	return errors.Join(append(errs, s.sweep(func(id string) bool { return !alive(id) }))...)
}

// unplug deletes a cable if it is still there.
func unplug(veth string) error {
	if veth == "" {
		return nil
	}
	nl, err := netlink.Dial(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer nl.Close()
	if index, err := nl.LinkIndex(veth); err != nil || index == 0 {
		return err
	}
	if err := nl.Do(netlink.Delete(veth)); !errors.Is(err, unix.ENODEV) {
		return errdefs.Wrap(err, "delete", "link "+veth)
	}
	return nil
}
