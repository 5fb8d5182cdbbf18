package store

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Locks are flock(2) locks. They belong to the open file description, so they
// exclude goroutines as well as processes (each opens the file for itself),
// and the kernel drops them when their process dies, however it dies.

// tryFlock takes the lock without waiting and tells whether it got it.
func tryFlock(f *os.File, how int) (bool, error) {
	err := flock(f, how|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// flock takes the lock, waiting for it unless how says LOCK_NB.
func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return &fs.PathError{Op: "flock", Path: f.Name(), Err: err}
		}
		return nil
	}
}

// isCurrent tells whether path still names the file f has open. A lock on a
// file that has meanwhile been removed or replaced excludes nobody.
func isCurrent(f *os.File, path string) (bool, error) {
	held, err := f.Stat()
	if err != nil {
		return false, err
	}
	named, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(held, named), err
}

// The store-wide lock is two: everybody takes the gate, then the lock. Those who
// share the lock leave the gate at once; who wants it alone stays in the gate,
// so that newcomers wait there and those inside run out. With the lock only,
// enough who share it by turns would keep garbage collection waiting for ever.

// share takes the store-wide lock together with any number of others that
// share it; it excludes garbage collection. The lock is held for moments, and
// unlock must be called.
func (s *Store) share() (unlock func(), err error) {
	gate, err := s.openLocked(gateFile, os.O_RDONLY, unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	defer gate.Close()
	lock, err := s.openLocked(lockFile, os.O_RDONLY, unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	return func() { lock.Close() }, nil
}

// exclude takes the store-wide lock alone. It waits for those who have it, or
// until ctx ends.
func (s *Store) exclude(ctx context.Context) (unlock func(), err error) {
	type result struct {
		unlock func()
		err    error
	}
	got := make(chan result, 1)
	go func() {
		unlock, err := s.waitAlone()
		got <- result{unlock, err}
	}()
	select {
	case r := <-got:
		return r.unlock, r.err
	case <-ctx.Done():
		// flock(2) can't be called off: let it end, and give the lock back.
		go func() {
			if r := <-got; r.err == nil {
				r.unlock()
			}
		}()
		return nil, context.Cause(ctx)
	}
}

func (s *Store) waitAlone() (unlock func(), err error) {
	gate, err := s.openLocked(gateFile, os.O_RDWR, unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	lock, err := s.openLocked(lockFile, os.O_RDWR, unix.LOCK_EX)
	if err != nil {
		gate.Close()
		return nil, err
	}
	return func() { lock.Close(); gate.Close() }, nil
}

// openLocked opens a file at the top of the store and locks it. Sharing must work
// on a store that can only be read; NFS wants a file open for writing to lock
// it alone.
func (s *Store) openLocked(name string, flag, how int) (*os.File, error) {
	f, err := os.OpenFile(s.path(name), flag, 0)
	if err != nil {
		return nil, s.writeError(err, 0)
	}
	if err := flock(f, how); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
