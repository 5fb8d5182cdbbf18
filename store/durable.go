package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Everything the package does to survive a power loss is in this file: what is
// to be durable goes through syncFile, syncData, syncDir, makeDirs, moveFile or
// replaceFile. What differs between systems is in durable_linux.go and
// durable_other.go.

const (
	dirMode  = 0o755
	fileMode = 0o644
)

// syncFile makes f's content and length durable.
func syncFile(f *os.File) error {
	return f.Sync()
}

// syncDir makes durable which names dir holds. Filesystems that can't sync a
// directory say so with EINVAL or ENOTSUP, and have nothing to be synced.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) {
		return err
	}
	return nil
}

// makeDirs makes dir and what is missing above it up to root, which exists,
// durably.
func makeDirs(root, dir string) error {
	if dir == root {
		return nil
	}
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if err := makeDirs(root, parent); err != nil {
		return err
	}
	err := os.Mkdir(dir, dirMode)
	if errors.Is(err, fs.ErrExist) {
		info, statErr := os.Stat(dir)
		if statErr == nil && info.IsDir() {
			return nil // made by somebody else just now
		}
		return &fs.PathError{Op: "mkdir", Path: dir, Err: unix.ENOTDIR}
	}
	if err != nil {
		return err
	}
	return syncDir(parent)
}

// moveFile renames old, whose content is durable, to path, durably. The directory
// of old isn't synced: should a filesystem bring that name back after a power
// loss, it is one of a stray file, which gc removes.
func moveFile(old, path string) error {
	if err := os.Rename(old, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// replaceFile makes content the content of path, atomically and durably: any
// reader, and any power loss, sees all of the old or all of the new. temp names
// the file it is written to first, on the same filesystem.
func replaceFile(temp, path string, content []byte) (err error) {
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(temp)
		}
	}()
	_, err = f.Write(content)
	if err == nil {
		err = syncFile(f)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return moveFile(temp, path)
}

var tempCount atomic.Uint64

// tempPath returns a path in the store's tmp/ that nobody else uses. Whoever
// makes a file there shares the store-wide lock as long as it exists, so that
// what garbage collection, which excludes them, finds there is a dead
// process's.
func (s *Store) tempPath() string {
	return s.path(tmpDir, strconv.Itoa(os.Getpid())+"-"+strconv.FormatUint(tempCount.Add(1), 10))
}

// writeFile makes content the content of path, which is below the store's
// directory, atomically and durably.
func (s *Store) writeFile(path string, content []byte) error {
	unlock, err := s.share()
	if err != nil {
		return err
	}
	defer unlock()
	// Only gc, which is excluded now, removes directories.
	err = makeDirs(s.dir, filepath.Dir(path))
	if err == nil {
		err = replaceFile(s.tempPath(), path, content)
	}
	return s.writeError(err, int64(len(content)))
}
