package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// The files of an ingest, in ingest/<algorithm>/<hex>/.
const (
	ingestLock    = "lock"
	ingestData    = "data"
	ingestJournal = "journal"
	tempSuffix    = ".tmp"
)

// How often a waiting Ingest looks whether its turn has come.
const (
	minPoll = 50 * time.Millisecond
	maxPoll = 250 * time.Millisecond
)

// Extent is a range of a blob that is held, and where it came from.
type Extent struct {
	Offset, Length int64  // bytes
	Source         string // as given to [Ingest.Record]; empty when not known
}

// Ingest is a blob being written, at any offsets, in any order, by any number
// of goroutines of its one holder. What it has recorded survives the holder:
// the next one finds it in Extents.
type Ingest struct {
	s      *Store
	header journalHeader
	dir    string
	lock   *os.File
	data   *os.File
	j      *journal

	dirty       atomic.Int64 // bytes recorded since writeback was last started
	writingBack atomic.Bool

	mu        sync.Mutex // one of Preallocate, Checkpoint and the ends at a time
	done      bool       // no more of them
	dirSynced bool       // the names of the files are durable
}

// Ingest begins to write the blob d of size bytes, or goes on where an earlier
// holder was cut off; size -1 means that it isn't known. One holder at a time,
// in all processes: others wait until it is done or ctx ends. It returns
// [ErrExists] if the blob is in the store, or is when the wait is over. A
// partial of another size is dropped.
//
// The caller must hold d in a [Lease], lest gc remove the blob once committed.
func (s *Store) Ingest(ctx context.Context, d digest.Digest, size int64) (*Ingest, error) {
	dir, err := digestPath(s.dir, ingestDir, d)
	if err != nil {
		return nil, err
	}
	if size < -1 {
		return nil, fmt.Errorf("%s: size %d is negative", d, size)
	}
	for poll := minPoll; ; poll = min(poll*3/2, maxPoll) {
		if err := s.checkAbsent(d); err != nil {
			return nil, err
		}
		lock, err := s.lockIngest(dir)
		if err != nil {
			return nil, fmt.Errorf("ingest of %s: %w", d, s.writeError(err, 0))
		}
		if lock != nil {
			return s.takeIngest(d, size, dir, lock)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("ingest of %s: waiting for its other holder: %w", d, context.Cause(ctx))
		case <-time.After(poll):
		}
	}
}

// checkAbsent returns ErrExists if the store has the blob d.
func (s *Store) checkAbsent(d digest.Digest) error {
	switch _, err := s.Stat(d); {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%s: %w", d, ErrExists)
}

// takeIngest makes an Ingest of a directory whose lock was just acquired, or
// gives the lock back.
func (s *Store) takeIngest(d digest.Digest, size int64, dir string, lock *os.File) (*Ingest, error) {
	if err := s.checkAbsent(d); err != nil {
		// Committed between our looking and our locking.
		removeIngest(dir, lock)
		return nil, err
	}
	i, err := s.openIngest(d, size, dir, lock)
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("ingest of %s: %w", d, s.writeError(err, 0))
	}
	if err := s.trimIngests(); err != nil {
		i.Close()
		return nil, fmt.Errorf("removing old partials: %w", err)
	}
	return i, nil
}

// lockIngest makes the directory of an ingest and locks it. It returns nil when
// somebody else has the lock.
func (s *Store) lockIngest(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, dirMode); err != nil {
		info, statErr := os.Lstat(dir)
		if errors.Is(err, fs.ErrExist) && (errors.Is(statErr, fs.ErrNotExist) || statErr == nil && info.IsDir()) {
			return nil, nil // another holder just removed it, and maybe one made it anew
		}
		return nil, err
	}
	path := filepath.Join(dir, ingestLock)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, fileMode)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // the same
	}
	if err != nil {
		return nil, err
	}
	ok, err := tryFlock(f, unix.LOCK_EX)
	if ok {
		ok, err = isCurrent(f, path)
	}
	if !ok || err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// removeIngest removes an ingest whose lock is held, and gives the lock back.
// Once the lock file is gone another holder may be at work, so it goes last.
func removeIngest(dir string, lock *os.File) error {
	defer lock.Close()
	var failed error
	for _, name := range []string{ingestData, ingestJournal, ingestJournal + tempSuffix, ingestLock} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) && failed == nil {
			failed = err
		}
	}
	os.Remove(dir) // which fails, and should, when there is a new holder
	return failed
}

// openIngest opens the files of an ingest whose lock is held.
func (s *Store) openIngest(d digest.Digest, size int64, dir string, lock *os.File) (i *Ingest, err error) {
	path := filepath.Join(dir, ingestData)
	data, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, fileMode)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			data.Close()
		}
	}()
	info, err := data.Stat()
	if err != nil {
		return nil, err
	}
	if err := checkRegular(path, info); err != nil {
		return nil, err
	}
	header := journalHeader{d, size, s.bootID}
	j, fresh, err := openJournal(filepath.Join(dir, ingestJournal), header, info.Size())
	if err != nil {
		return nil, err
	}
	if fresh && info.Size() > 0 {
		if err := data.Truncate(0); err != nil {
			return nil, err
		}
	}
	return &Ingest{s: s, header: header, dir: dir, lock: lock, data: data, j: j}, nil
}

// Extents returns what is held: what an earlier holder left on disk, and what
// this one has recorded since; sorted, disjoint, ranges from the same source
// that touch joined.
func (i *Ingest) Extents() []Extent { return i.j.extents() }

// File returns the file the blob is written to. It belongs to the Ingest.
func (i *Ingest) File() *os.File { return i.data }

// WriteAt writes p at off, as [io.WriterAt] says, within the blob's size. What
// is written doesn't count before it is recorded. What is recorded must be
// forgotten before it is written again: else a crash in between leaves bytes of
// one source under the name of another.
func (i *Ingest) WriteAt(p []byte, off int64) (int, error) {
	if i.header.size >= 0 && (off < 0 || off > i.header.size-int64(len(p))) {
		return 0, fmt.Errorf("%s: write of %d bytes at %d is outside its %d bytes", i.header.digest, len(p), off, i.header.size)
	}
	n, err := i.data.WriteAt(p, off)
	return n, i.s.writeError(err, int64(len(p)))
}

// ReadAt reads what was written, as [io.ReaderAt] says.
func (i *Ingest) ReadAt(p []byte, off int64) (int, error) { return i.data.ReadAt(p, off) }

// Record notes that the length bytes at off have been written and came from
// source, in place of what was recorded for that range. It survives the death
// of the process, and after the next Checkpoint a power loss. A source of more
// than 4 KiB, or beyond the first 256 or 64 KiB of them, is recorded as unknown;
// of very many ranges the smallest may be forgotten (see the package comment).
func (i *Ingest) Record(off, length int64, source string) error {
	if err := i.checkRange(off, length); err != nil || length == 0 {
		return err
	}
	if err := i.j.record(off, length, source); err != nil {
		return i.s.writeError(err, recordFrame)
	}
	i.writeBack(length)
	return nil
}

// writeBack starts writeback now and then, beside the download: else Commit
// would wait for the disk to take what the page cache piled up.
func (i *Ingest) writeBack(recorded int64) {
	const every = 16 << 20
	if i.dirty.Add(recorded) < every || !i.writingBack.CompareAndSwap(false, true) {
		return
	}
	i.dirty.Store(0)
	go func() {
		defer i.writingBack.Store(false)
		startWriteback(i.data)
	}()
}

// Forget notes that the length bytes at off are not held any more.
func (i *Ingest) Forget(off, length int64) error {
	if err := i.checkRange(off, length); err != nil || length == 0 {
		return err
	}
	return i.s.writeError(i.j.forget(off, length), recordFrame)
}

func (i *Ingest) checkRange(off, length int64) error {
	if i.header.validRange(off, length) || length == 0 && off >= 0 {
		return nil
	}
	return fmt.Errorf("%s: range of %d bytes at %d is outside its %d bytes", i.header.digest, length, off, i.header.size)
}

// Preallocate reserves disk space for the whole blob. It returns a
// [*SpaceError] when there is too little. On filesystems that can't reserve,
// it only sees whether there is enough now. It does nothing when the size is
// unknown.
func (i *Ingest) Preallocate() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.done {
		return i.closedError()
	}
	if i.header.size <= 0 {
		return nil
	}
	info, err := i.data.Stat()
	if err != nil {
		return err
	}
	have, err := i.s.Free()
	if err != nil {
		return err
	}
	if need := i.header.size - occupied(info); need > have {
		return &SpaceError{Need: need, Have: have, Path: i.data.Name()}
	}
	err = allocate(i.data, i.header.size)
	if errors.Is(err, errors.ErrUnsupported) {
		err = i.data.Truncate(i.header.size)
	}
	if err != nil {
		i.data.Truncate(info.Size()) // gives back what was reserved before it failed
	}
	return i.s.writeError(err, i.header.size)
}

// Checkpoint makes everything recorded so far durable: it survives a power
// loss.
func (i *Ingest) Checkpoint() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.done {
		return i.closedError()
	}
	if err := i.j.begin(); err != nil {
		return i.s.writeError(err, recordFrame)
	}
	if err := syncData(i.data); err != nil {
		return i.syncFailed(err)
	}
	if !i.dirSynced {
		for _, dir := range []string{i.dir, filepath.Dir(i.dir), i.s.path(ingestDir)} {
			if err := syncDir(dir); err != nil {
				return err
			}
		}
		i.dirSynced = true
	}
	return i.s.writeError(i.j.synced(), recordFrame)
}

// syncFailed drops what was recorded: after a failed fsync the kernel takes the
// pages it could not write for clean, so that a later one would succeed with
// part of the data missing.
func (i *Ingest) syncFailed(err error) error {
	err = i.s.writeError(fmt.Errorf("sync of %s: %w", i.data.Name(), err), 0)
	i.j.abandon(err)
	return err
}

// finish makes sure that only one of Commit, Close and Discard happens, once
// what else is under way is over.
func (i *Ingest) finish() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.done {
		return i.closedError()
	}
	i.done = true
	return nil
}

func (i *Ingest) closedError() error {
	return fmt.Errorf("ingest of %s: %w", i.header.digest, os.ErrClosed)
}

// Commit makes what was written the blob, durably and at once, and ends the
// holding. The caller has verified all of it against the digest. When it fails,
// what was recorded is kept for the next holder, unless the disk failed to take
// the data.
func (i *Ingest) Commit() error {
	if err := i.finish(); err != nil {
		return err
	}
	err := i.commit()
	i.j.close()
	i.data.Close()
	if err != nil {
		i.lock.Close()
		return fmt.Errorf("commit of %s: %w", i.header.digest, i.s.writeError(err, 0))
	}
	removeIngest(i.dir, i.lock) // what can't be removed now, gc removes
	return nil
}

func (i *Ingest) commit() error {
	info, err := i.data.Stat()
	if err != nil {
		return err
	}
	if i.header.size >= 0 && info.Size() != i.header.size {
		return fmt.Errorf("%w: %d bytes were written, want %d", ErrCorrupt, info.Size(), i.header.size)
	}
	if err := syncFile(i.data); err != nil {
		return i.syncFailed(err)
	}
	path, err := digestPath(i.s.dir, blobsDir, i.header.digest)
	if err != nil {
		return err
	}
	if err := makeDirs(i.s.dir, filepath.Dir(path)); err != nil {
		return err
	}
	return moveFile(i.data.Name(), path)
}

// Close ends the holding and keeps what was recorded for the next holder.
func (i *Ingest) Close() error {
	if err := i.finish(); err != nil {
		return err
	}
	err := i.j.close()
	if closeErr := i.data.Close(); err == nil {
		err = closeErr
	}
	i.lock.Close()
	return err
}

// Discard ends the holding and removes everything.
func (i *Ingest) Discard() error {
	if err := i.finish(); err != nil {
		return err
	}
	i.j.close()
	i.data.Close()
	return removeIngest(i.dir, i.lock)
}
