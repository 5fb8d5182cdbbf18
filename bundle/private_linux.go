package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// privateMark is in the name of every private directory: ".NAME" + mark +
// digits is one for a bundle called NAME, of which only so much is used that
// the whole is not longer than a file name may be.
const (
	privateMark    = ".waybill-unfinished-"
	maxPrivateName = 200
)

// privateDir is where a bundle is made. It is locked for as long as its maker
// lives, so that one without a lock is known to be a dead one's.
type privateDir struct {
	path string
	lock *os.File
}

// newPrivateDir makes a private directory beside target, after removing those
// that were left there.
func newPrivateDir(target string) (*privateDir, error) {
	parent, name := filepath.Dir(target), filepath.Base(target)
	name = name[:min(len(name), maxPrivateName)]
	prefix := "." + name + privateMark
	if err := removeAbandoned(parent, prefix); err != nil {
		return nil, err
	}
	for {
		path, err := os.MkdirTemp(parent, prefix+"*") // mode 0700
		if err != nil {
			return nil, err
		}
		lock, err := lockDir(path)
		if err == nil {
			return &privateDir{path: path, lock: lock}, nil
		}
		// Between its making and its locking another process may take the
		// directory for abandoned, and be about to remove it. Leave it to that.
		if !errors.Is(err, errLocked) && !errors.Is(err, fs.ErrNotExist) {
			os.Remove(path)
			return nil, err
		}
	}
}

// errLocked says that a directory has a living owner, or is being removed.
var errLocked = errors.New("directory is locked")

// lockDir locks the directory at path. The lock is on the directory at that
// path, not one that was there a moment ago.
func lockDir(path string) (*os.File, error) {
	f, err := os.OpenFile(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK {
		err = errLocked
	}
	if err == nil {
		var there, mine fs.FileInfo
		if mine, err = f.Stat(); err == nil {
			there, err = os.Lstat(path)
		}
		if err == nil && !os.SameFile(there, mine) {
			err = fs.ErrNotExist
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// removeAbandoned removes the private directories in parent with the given
// prefix that nobody holds a lock on.
func removeAbandoned(parent, prefix string) error {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), prefix) || !isMine(e) {
			continue
		}
		path := filepath.Join(parent, e.Name())
		lock, err := lockDir(path)
		if errors.Is(err, errLocked) || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look at what an earlier run left: %w", err)
		}
		err = removeTree(path)
		lock.Close()
		if err != nil {
			return fmt.Errorf("remove what an earlier run left: %w", err)
		}
	}
	return nil
}

// isMine reports whether e is a private directory of this user's. In a
// directory many may write to, anyone could have made one of that name.
func isMine(e fs.DirEntry) bool {
	info, err := e.Info()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid() && info.Mode().Perm() == 0o700
}

// publish makes the finished directory appear as target.
func (p *privateDir) publish(target string, sync bool) error {
	if sync {
		if err := unix.Syncfs(int(p.lock.Fd())); err != nil {
			return fmt.Errorf("write %s to stable storage: %w", p.path, err)
		}
	}
	// Not os.Rename, which won't replace even an empty directory.
	err := unix.Rename(p.path, target)
	switch {
	case errors.Is(err, unix.ENOTEMPTY), errors.Is(err, unix.EEXIST), errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("%w: something was put there meanwhile", ErrOccupied)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w: it is a mount point: name a directory below it", ErrOccupied)
	case err != nil:
		return &os.LinkError{Op: "rename", Old: p.path, New: target, Err: err}
	}
	p.path = ""
	if !sync {
		return nil
	}
	parent, err := os.Open(filepath.Dir(target))
	if err != nil {
		return err
	}
	defer parent.Close()
	return parent.Sync()
}

// remove removes the directory, unless it was published, and gives up the lock.
func (p *privateDir) remove() {
	if p.path != "" {
		// The error that led here is the one to report, and the next Create
		// for the same target will try again.
		_ = removeTree(p.path)
	}
	p.lock.Close()
}

// removeTree removes all of path, also directories whose owner took the right
// to do so from himself.
func removeTree(path string) error {
	err := os.RemoveAll(path)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	// The tree is ours and private: nobody swaps its directories meanwhile.
	filepath.WalkDir(path, func(sub string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			return os.Chmod(sub, 0o700)
		}
		return nil
	})
	return os.RemoveAll(path)
}
