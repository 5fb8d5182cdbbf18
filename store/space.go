package store

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/bits"
	"os"

	"golang.org/x/sys/unix"
)

// SpaceError says that a filesystem has too little room left. errors.Is finds
// syscall.ENOSPC in it.
type SpaceError struct {
	Need, Have int64  // bytes
	Path       string // what was to be written
}

// Error returns one line saying how much is missing where, and what to do.
func (e *SpaceError) Error() string {
	return fmt.Sprintf("%s: no space left on device: %d bytes needed, %d free; free some, or choose a store elsewhere", e.Path, e.Need, e.Have)
}

// Unwrap returns syscall.ENOSPC.
func (e *SpaceError) Unwrap() error { return unix.ENOSPC }

// FreeSpace returns how many bytes this process may still write to the
// filesystem that holds path, which must exist.
func FreeSpace(path string) (int64, error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(path, &st)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, &fs.PathError{Op: "statfs", Path: path, Err: err}
		}
		break
	}
	blocks := uint64(st.Bavail) // what is not reserved for root
	if os.Geteuid() == 0 {
		blocks = uint64(st.Bfree)
	}
	if high, bytes := bits.Mul64(blocks, uint64(st.Bsize)); high == 0 && bytes < math.MaxInt64 {
		return int64(bytes), nil
	}
	return math.MaxInt64, nil
}

// Free returns how many bytes this process may still write to the store's
// filesystem.
func (s *Store) Free() (int64, error) {
	return FreeSpace(s.dir)
}

// writeError says what to do about err, which writing need bytes ended in; nil
// stays nil.
func (s *Store) writeError(err error, need int64) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		if errors.As(err, new(*SpaceError)) {
			return err
		}
		have, statErr := s.Free()
		if statErr != nil {
			return err
		}
		return &SpaceError{Need: need, Have: have, Path: s.dir}
	case errors.Is(err, unix.EROFS), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("store %s can't be written: %w; make it writable or choose another", s.dir, err)
	}
	return err
}
