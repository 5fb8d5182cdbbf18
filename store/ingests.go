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
	"golang.org/x/sys/unix"
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

// Ingests lists the partials, in no order. What doesn't belong in the tree is
// yielded as an error that names it; the listing goes on after it.
func (s *Store) Ingests() iter.Seq2[IngestInfo, error] {
	return func(yield func(IngestInfo, error) bool) {
		for d, err := range s.digests(ingestDir) {
			info := IngestInfo{Digest: d}
			if err == nil {
				info, err = s.ingestInfo(d)
				if errors.Is(err, fs.ErrNotExist) {
					continue // removed meanwhile
				}
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

// ingestInfo describes the partial of d, which may be at work.
func (s *Store) ingestInfo(d digest.Digest) (IngestInfo, error) {
	info, dataSize, err := s.statIngest(d)
	if err != nil {
		return info, err
	}
	dir, err := digestPath(s.dir, ingestDir, d)
	if err != nil {
		return info, err
	}
	info.Size = -1
	if info.Active, err = isLocked(filepath.Join(dir, ingestLock)); err != nil {
		return info, err
	}
	l, good, err := readJournal(filepath.Join(dir, ingestJournal))
	if err != nil || good == 0 {
		return info, err
	}
	l.survivors(s.bootID, dataSize)
	info.Size, info.Recorded = l.header.size, l.spans.bytes()
	return info, nil
}

// statIngest finds out what can be had without opening anything: Disk and
// ModTime, and the length of the data.
func (s *Store) statIngest(d digest.Digest) (info IngestInfo, dataSize int64, err error) {
	info.Digest = d
	dir, err := digestPath(s.dir, ingestDir, d)
	if err != nil {
		return info, 0, err
	}
	st, err := os.Lstat(dir)
	if err != nil {
		return info, 0, err
	}
	if !st.IsDir() {
		return info, 0, foreignError(dir)
	}
	info.ModTime = st.ModTime()
	for _, name := range []string{ingestData, ingestJournal} {
		st, err := os.Lstat(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return info, 0, err
		}
		if name == ingestData {
			dataSize = st.Size()
		}
		info.Disk += occupied(st)
		if st.ModTime().After(info.ModTime) {
			info.ModTime = st.ModTime()
		}
	}
	return info, dataSize, nil
}

// isLocked tells whether somebody has locked the file at path alone.
func isLocked(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	free, err := tryFlock(f, unix.LOCK_SH)
	return !free, err
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

// trimIngests removes the partials nobody works on that are too old, and the
// oldest of the others until they are within the quota.
func (s *Store) trimIngests() error {
	_, err := s.sweepIngests(false, nil)
	return err
}

// sweepIngests does what trimIngests says, and returns what it removed, or with
// dryRun would have. Partials of digests in keep stay.
func (s *Store) sweepIngests(dryRun bool, keep map[digest.Digest]bool) ([]IngestInfo, error) {
	all, excess, err := s.ingestsByAge()
	if err != nil {
		return nil, err
	}
	var removed []IngestInfo
	for _, info := range all {
		if _, needed := keep[info.Digest]; needed || excess <= 0 && !s.outlived(info) {
			continue
		}
		gone, err := s.dropIngest(&info, dryRun)
		if err != nil {
			return removed, s.writeError(err, 0)
		}
		if gone {
			removed = append(removed, info)
			excess -= info.Disk
		}
	}
	return removed, nil
}

// ingestsByAge returns all partials, those longest untouched first, and by how
// many bytes those nobody holds are over the quota.
func (s *Store) ingestsByAge() (all []IngestInfo, excess int64, err error) {
	excess = -s.opts.IngestQuota
	for d, err := range s.digests(ingestDir) {
		if errors.Is(err, ErrCorrupt) {
			continue // not ours
		}
		if err != nil {
			return nil, 0, err
		}
		info, _, err := s.statIngest(d)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrCorrupt) {
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		all = append(all, info)
		excess += info.Disk
	}
	// Only when that is too much is it worth finding out who is at work.
	for i := 0; excess > 0 && i < len(all); i++ {
		dir, err := digestPath(s.dir, ingestDir, all[i].Digest)
		if err != nil {
			return nil, 0, err
		}
		active, err := isLocked(filepath.Join(dir, ingestLock))
		if err != nil {
			return nil, 0, err
		}
		if active {
			excess -= all[i].Disk
		}
	}
	slices.SortFunc(all, func(a, b IngestInfo) int {
		return cmp.Or(a.ModTime.Compare(b.ModTime), cmp.Compare(a.Digest, b.Digest))
	})
	return all, excess, nil
}

// outlived tells whether a partial is of no more use: too old, or left behind by
// a holder that died right after committing the blob.
func (s *Store) outlived(info IngestInfo) bool {
	if time.Since(info.ModTime) > s.opts.IngestMaxAge {
		return true
	}
	_, err := s.Stat(info.Digest)
	return err == nil
}

// dropIngest removes a partial, or with dryRun only says whether it would. It
// leaves those that somebody holds, or has touched since info was gathered, and
// completes info.
func (s *Store) dropIngest(info *IngestInfo, dryRun bool) (bool, error) {
	dir, err := digestPath(s.dir, ingestDir, info.Digest)
	if err != nil {
		return false, err
	}
	full, err := s.ingestInfo(info.Digest)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || full.Active {
		return false, err
	}
	touched := !full.ModTime.Equal(info.ModTime)
	*info = full
	if dryRun || touched {
		return !touched, nil
	}
	lock, err := s.lockIngest(dir)
	if lock == nil {
		return false, err
	}
	return true, removeIngest(dir, lock)
}
