package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// Lease keeps blobs from garbage collection until it is released or its process
// dies. Its methods may be called from any goroutine.
type Lease struct {
	s    *Store
	path string

	mu   sync.Mutex
	f    *os.File // locked; nil once released
	held map[digest.Digest]bool
	size int64
}

// Lease makes a lease that holds nothing yet. The id, most fittingly that of
// the pull, must not be that of another live one ([ErrExists]).
func (s *Store) Lease(id string) (*Lease, error) {
	if err := checkID("lease", id); err != nil {
		return nil, err
	}
	// Between making the file and locking it, gc must not take it for a dead
	// process's.
	unlock, err := s.share()
	if err != nil {
		return nil, err
	}
	defer unlock()
	path := s.path(leasesDir, id)
	f, err := lockOwn(path)
	if err != nil {
		return nil, s.writeError(fmt.Errorf("lease %s: %w", id, err), 0)
	}
	if err := f.Truncate(0); err != nil { // a dead process's
		f.Close()
		return nil, s.writeError(fmt.Errorf("lease %s: %w", id, err), 0)
	}
	l := &Lease{s: s, path: path, f: f, held: make(map[digest.Digest]bool)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leases[l] = true
	return l, nil
}

// lockOwn opens and locks the file of a lease, or returns ErrExists where
// somebody has it locked.
func lockOwn(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE|unix.O_NOFOLLOW, fileMode)
		if err != nil {
			return nil, err
		}
		ok, err := tryFlock(f, unix.LOCK_EX)
		if !ok && err == nil {
			err = ErrExists
		}
		var current bool
		if err == nil {
			current, err = isCurrent(f, path)
		}
		if current {
			return f, nil
		}
		f.Close()
		if err != nil {
			return nil, err
		}
		// Its last holder removed it under us; the next try makes a new one.
	}
}

// Hold keeps gc from removing the given blobs, whether or not they are in the
// store yet. It must be called before its holder relies on them in any way:
// before asking whether the store has them as well as before fetching them.
// While gc is at work, Hold waits.
func (l *Lease) Hold(digests ...digest.Digest) error {
	for _, d := range digests {
		if _, _, err := checkDigest(d); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return fmt.Errorf("lease %s: %w", l.path, os.ErrClosed)
	}
	var lines []byte
	for _, d := range digests {
		if !l.held[d] {
			lines = append(append(lines, d...), '\n')
		}
	}
	if len(lines) == 0 {
		return nil
	}
	unlock, err := l.s.share()
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := l.f.Write(lines); err != nil {
		// Half a line would stop gc.
		l.f.Truncate(l.size)
		return l.s.writeError(fmt.Errorf("lease: %w", err), int64(len(lines)))
	}
	l.size += int64(len(lines))
	for _, d := range digests {
		l.held[d] = true
	}
	return nil
}

// Release lets go of everything. Another Release does nothing.
func (l *Lease) Release() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	err := os.Remove(l.path)
	l.f.Close()
	l.f = nil
	l.s.mu.Lock()
	delete(l.s.leases, l)
	l.s.mu.Unlock()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// leased returns what live leases hold, and removes dead ones unless dryRun.
// The caller excludes all others.
func (s *Store) leased(dryRun bool) (map[digest.Digest]bool, error) {
	held := make(map[digest.Digest]bool)
	for entry, err := range readDir(s.path(leasesDir)) {
		if err != nil {
			return nil, err
		}
		path := s.path(leasesDir, entry.Name())
		if !entry.Type().IsRegular() || !validID.MatchString(entry.Name()) {
			return nil, foreignError(path)
		}
		if err := s.readLease(path, held, dryRun); err != nil {
			return nil, err
		}
	}
	return held, nil
}

// readLease adds to held what the lease at path holds if it is alive.
func (s *Store) readLease(path string, held map[digest.Digest]bool, dryRun bool) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // just released
	}
	if err != nil {
		return err
	}
	defer f.Close()
	dead, err := tryFlock(f, unix.LOCK_SH)
	if err != nil {
		return err
	}
	if dead {
		if dryRun {
			return nil
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return s.writeError(err, 0)
		}
		return nil
	}
	content, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	for line := range bytes.Lines(content) {
		d, whole := strings.CutSuffix(string(line), "\n")
		if _, _, err := checkDigest(digest.Digest(d)); err != nil || !whole {
			return fmt.Errorf("lease %s: %w: has the line %s; end its process", path, ErrCorrupt, quoteShort(d))
		}
		held[digest.Digest(d)] = true
	}
	return nil
}
