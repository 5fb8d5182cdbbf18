package store

import (
	"cmp"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
)

// IngestInfo is what a listing says of an ingest.
type IngestInfo struct {
	Digest   digest.Digest
	Size     int64     // of the whole blob in bytes; -1 when unknown
	Recorded int64     // bytes the next holder would find
	Disk     int64     // bytes it occupies, with what was preallocated
	ModTime  time.Time // when anything was last written
	Active   bool      // somebody holds it
}

// Ingests lists the partials, in no order.
func (s *Store) Ingests() iter.Seq2[IngestInfo, error] {
	return func(yield func(IngestInfo, error) bool) {
		for d, err := range s.digests(ingestDir) {
			info := IngestInfo{Digest: d}
			if err == nil {
				info, err = s.ingestInfo(d)
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

// ingestInfo describes the partial of d, which may be at work.
func (s *Store) ingestInfo(d digest.Digest) (IngestInfo, error) {
	info := IngestInfo{Digest: d, Size: -1}
	dir, err := digestPath(s.dir, ingestDir, d)
	if err != nil {
		return info, err
	}
	lock, err := os.Open(filepath.Join(dir, ingestLock))
	if err == nil {
		free, lockErr := tryFlock(lock, syscall.LOCK_SH)
		info.Active = !free && lockErr == nil
		lock.Close()
	}
	var dataSize int64
	for _, name := range []string{ingestLock, ingestData, ingestJournal} {
		st, err := os.Lstat(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return info, err
		}
		if name == ingestData {
			dataSize = st.Size()
		}
		info.Disk += occupied(st)
		if st.ModTime().After(info.ModTime) {
			info.ModTime = st.ModTime()
		}
	}
	l, good, err := readJournal(filepath.Join(dir, ingestJournal))
	if err != nil || good == 0 {
		return info, err
	}
	if l.header.boot != s.bootID || s.bootID == "" {
		l.afterPowerLoss()
	}
	l.spans.cut(dataSize, 1<<63-1)
	info.Size, info.Recorded = l.header.size, l.spans.bytes()
	return info, nil
}

// trimIngests removes the partials nobody works on that are too old, and the
// oldest of the others until they are within the quota.
func (s *Store) trimIngests() error {
	_, err := s.sweepIngests(false, nil)
	return err
}

// sweepIngests does what trimIngests says, and returns what it removed, or with
// dryRun would have. Partials of digests in keep stay.
func (s *Store) sweepIngests(dryRun bool, keep map[digest.Digest]bool) ([]IngestInfo, error) {
	var idle []IngestInfo
	var total int64
	for info, err := range s.Ingests() {
		if err == nil && !info.Active && !keep[info.Digest] {
			idle = append(idle, info)
			total += info.Disk
		}
	}
	slices.SortFunc(idle, func(a, b IngestInfo) int {
		return cmp.Or(a.ModTime.Compare(b.ModTime), cmp.Compare(a.Digest, b.Digest))
	})
	var removed []IngestInfo
	for _, info := range idle {
		if time.Since(info.ModTime) <= s.opts.IngestMaxAge && total <= s.opts.IngestQuota {
			continue
		}
		if !dryRun {
			gone, err := s.dropIngest(info.Digest)
			if err != nil {
				return removed, s.writeError(err, 0)
			}
			if !gone {
				continue // somebody has just taken it up
			}
		}
		removed = append(removed, info)
		total -= info.Disk
	}
	return removed, nil
}

// dropIngest removes the partial of d unless somebody holds it.
func (s *Store) dropIngest(d digest.Digest) (bool, error) {
	dir, err := digestPath(s.dir, ingestDir, d)
	if err != nil {
		return false, err
	}
	lock, err := s.lockIngest(dir)
	if lock == nil {
		return false, err
	}
	return true, removeIngest(dir, lock)
}

// occupied returns how many bytes of disk a file takes, which is more than its
// length where space was reserved and less where it has holes.
func occupied(info fs.FileInfo) int64 {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return info.Size()
	}
	return st.Blocks * 512
}
