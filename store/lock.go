package store

import (
	"context"
	"errors"
	"fmt"
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

// share takes the store-wide lock together with any number of others that
// share it; it excludes garbage collection. The lock is held for moments, and
// unlock must be called.
func (s *Store) share() (unlock func(), err error) {
	f, err := s.openLock()
	if err != nil {
		return nil, err
	}
	if err := flock(f, unix.LOCK_SH); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// exclude takes the store-wide lock alone. It waits for those who share it, or
// until ctx ends.
func (s *Store) exclude(ctx context.Context) (unlock func(), err error) {
	f, err := s.openLock()
	if err != nil {
		return nil, err
	}
	got := make(chan error, 1)
	go func() { got <- flock(f, unix.LOCK_EX) }()
	select {
	case err = <-got:
	case <-ctx.Done():
		// flock(2) can't be called off: let it end, and give the lock back.
		go func() { <-got; f.Close() }()
		return nil, context.Cause(ctx)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

func (s *Store) openLock() (*os.File, error) {
	// Read-only: sharing must work on a store that can only be read.
	f, err := os.Open(s.path(lockFile))
	if err != nil {
		return nil, fmt.Errorf("store lock: %w", err)
	}
	return f, nil
}
