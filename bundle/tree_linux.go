package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// CreateTree makes the OCI runtime bundle at dir of entries, a bundle's files
// as they are: config.json and a root filesystem beside it. dir must not exist
// or be an empty directory, in a parent directory that exists.
//
// As with [Create], everything is written into a private directory beside dir,
// of mode 0700, that becomes dir when the last file is complete and config.json
// was read and found to be an OCI runtime configuration whose root filesystem
// is there; until then there is nothing at dir. Several files are fetched at a
// time, in memory that doesn't grow with their sizes. Files belong to the
// caller. An entry that isn't below a directory that came before it, or comes
// twice, is [ErrInvalid], so that no name leads through a symbolic link or out
// of the bundle.
//
// An error of entries or of a file's reader is passed on wrapped.
func CreateTree(ctx context.Context, dir string, entries iter.Seq2[TreeEntry, error], opts TreeOptions) error {
	if err := createTree(ctx, dir, entries, opts.withDefaults()); err != nil {
		return fmt.Errorf("bundle %s: %w", dir, err)
	}
	return nil
}

func (o TreeOptions) withDefaults() TreeOptions {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.MaxEntries <= 0 {
		o.MaxEntries = DefaultMaxEntries
	}
	o.Warn = limited(o.Warn)
	return o
}

func createTree(ctx context.Context, dir string, entries iter.Seq2[TreeEntry, error], opts TreeOptions) error {
	dir, err := checkTarget(dir)
	if err != nil {
		return err
	}
	priv, err := newPrivateDir(dir)
	if err != nil {
		return err
	}
	defer priv.remove()
	if err := fillTree(ctx, priv.path, entries, opts); err != nil {
		return err
	}
	if err := checkTreeConfig(priv.path, opts); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return priv.publish(dir, opts.Sync)
}

// tree is a bundle that is being written.
type tree struct {
	opts  TreeOptions
	files *errgroup.Group
	ctx   context.Context // ends when a file fails
	dirs  []treeDir       // from the bundle's own down to the one being filled
	left  atomic.Int64    // bytes that may still be written
	bytes chan []byte     // buffers, one for each file at a time
}

// treeDir is an open directory.
type treeDir struct {
	entry TreeEntry
	fd    int
}

// fillTree writes entries below the directory root.
func fillTree(ctx context.Context, root string, entries iter.Seq2[TreeEntry, error], opts TreeOptions) (err error) {
	fd, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: root, Err: err}
	}
	t := &tree{opts: opts, dirs: []treeDir{{fd: fd}}, bytes: make(chan []byte, treeFiles)}
	t.left.Store(opts.MaxBytes)
	t.files, t.ctx = errgroup.WithContext(ctx)
	t.files.SetLimit(treeFiles)
	for range treeFiles {
		t.bytes <- make([]byte, chunkSize)
	}
	walkErr := t.addAll(entries)
	fileErr := t.files.Wait()
	closeErr := t.leave(0)
	switch {
	case fileErr != nil:
		return fileErr
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case walkErr != nil:
		return walkErr
	}
	return closeErr
}

// addAll adds entries until one can't be, or a file failed.
func (t *tree) addAll(entries iter.Seq2[TreeEntry, error]) error {
	count := 0
	for e, err := range entries {
		if err == nil {
			err = t.ctx.Err()
		}
		if err != nil {
			return err
		}
		if count++; count > t.opts.MaxEntries {
			return fmt.Errorf("%w: more than %d entries (MaxEntries)", ErrLimit, t.opts.MaxEntries)
		}
		if err := t.add(e); err != nil {
			return fmt.Errorf("%q: %w", shorten(e.Path), err)
		}
	}
	return nil
}

// add makes one entry. A file's content may follow later.
func (t *tree) add(e TreeEntry) error {
	if !fs.ValidPath(e.Path) || e.Path == "." || strings.Contains(e.Path, "\x00") || len(e.Path) > maxPath {
		return fmt.Errorf("%w: not a path in a bundle", ErrInvalid)
	}
	parent, base := path.Split(e.Path)
	if err := t.enter(strings.TrimSuffix(parent, "/")); err != nil {
		return err
	}
	d := t.dirs[len(t.dirs)-1]
	var err error
	switch e.Type {
	case fs.ModeDir:
		err = t.makeDirectory(d, base, e)
	case fs.ModeSymlink:
		if err = unix.Symlinkat(e.Target, d.fd, base); err == nil {
			err = setTreeTimes(d.fd, base, e.ModTime)
		}
	case 0:
		err = t.makeFile(d, base, e)
	default:
		err = fmt.Errorf("%w: neither file, directory nor symbolic link", ErrInvalid)
	}
	if errors.Is(err, unix.EEXIST) {
		err = fmt.Errorf("%w: it is there twice", ErrInvalid)
	}
	return err
}

// enter makes the directory parent, which must be one that is open, the one
// being filled.
func (t *tree) enter(parent string) error {
	for i := len(t.dirs) - 1; i >= 0; i-- {
		if t.dirs[i].entry.Path == parent {
			return t.leave(i + 1)
		}
	}
	return fmt.Errorf("%w: it is not in a directory that came before it", ErrInvalid)
}

// leave closes the directories from the i-th down, and gives them the modes and
// times they are to keep.
func (t *tree) leave(i int) error {
	var first error
	for len(t.dirs) > i {
		d := t.dirs[len(t.dirs)-1]
		t.dirs = t.dirs[:len(t.dirs)-1]
		var err error
		if d.entry.Path != "" {
			err = unix.Fchmod(d.fd, treeMode(d.entry, 0o755))
			if err == nil {
				err = setTreeTimes(d.fd, ".", d.entry.ModTime)
			}
		}
		unix.Close(d.fd)
		if err != nil && first == nil {
			first = fmt.Errorf("%q: %w", shorten(d.entry.Path), err)
		}
	}
	return first
}

// makeDirectory makes a directory and opens it.
func (t *tree) makeDirectory(d treeDir, base string, e TreeEntry) error {
	if err := unix.Mkdirat(d.fd, base, 0o700); err != nil {
		return err
	}
	fd, err := unix.Openat(d.fd, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	t.dirs = append(t.dirs, treeDir{entry: e, fd: fd})
	return nil
}

// makeFile makes a file, and has it filled while others are made.
func (t *tree) makeFile(d treeDir, base string, e TreeEntry) error {
	fd, err := unix.Openat(d.fd, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), e.Path)
	t.files.Go(func() error {
		err := t.fillFile(f, e)
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return fmt.Errorf("%q: %w", shorten(e.Path), err)
		}
		return nil
	})
	return nil
}

// fillFile writes a file's content, mode and time.
func (t *tree) fillFile(f *os.File, e TreeEntry) error {
	r, err := e.Open(t.ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	buf := <-t.bytes
	defer func() { t.bytes <- buf }()
	to := &treeWriter{f: f}
	written, err := io.CopyBuffer(to, &treeReader{r: r, left: &t.left, max: t.opts.MaxBytes}, buf)
	if err != nil {
		return err
	}
	if e.Size >= 0 && written != e.Size {
		return fmt.Errorf("%w: it has %d bytes and should have %d", ErrInvalid, written, e.Size)
	}
	unless := uint32(0o644)
	if to.isProgram() {
		unless = 0o755
	}
	if err := unix.Fchmod(int(f.Fd()), treeMode(e, unless)); err != nil {
		return err
	}
	return setTreeTimes(int(f.Fd()), "", e.ModTime)
}

// treeWriter writes a file and remembers how it begins.
type treeWriter struct {
	f    *os.File
	head []byte
}

func (w *treeWriter) Write(p []byte) (int, error) {
	if n := len(elfMark) - len(w.head); n > 0 {
		w.head = append(w.head, p[:min(n, len(p))]...)
	}
	return w.f.Write(p)
}

// elfMark is how programs begin that the kernel runs by itself.
const elfMark = "\x7fELF"

// isProgram reports whether the file begins as programs do.
func (w *treeWriter) isProgram() bool {
	return string(w.head) == elfMark || strings.HasPrefix(string(w.head), "#!")
}

// treeReader counts what all files together read against the limit.
type treeReader struct {
	r    io.Reader
	left *atomic.Int64
	max  int64
}

func (r *treeReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if r.left.Add(-int64(n)) < 0 {
		return 0, fmt.Errorf("%w: more than %d bytes (MaxBytes)", ErrLimit, r.max)
	}
	return n, err
}

// treeMode returns an entry's mode as the kernel has it.
func treeMode(e TreeEntry, unless uint32) uint32 {
	if !e.HasMode {
		return unless
	}
	mode := uint32(e.Mode.Perm())
	for is, bit := range map[fs.FileMode]uint32{fs.ModeSetuid: unix.S_ISUID, fs.ModeSetgid: unix.S_ISGID, fs.ModeSticky: unix.S_ISVTX} {
		if e.Mode&is != 0 {
			mode |= bit
		}
	}
	return mode
}

// setTreeTimes gives base in the directory fd, or what fd is where base is
// empty, its time.
func setTreeTimes(fd int, base string, at time.Time) error {
	if at.IsZero() {
		return nil
	}
	ts, err := unix.TimeToTimespec(at)
	if err != nil {
		return fmt.Errorf("%w: no such time: %v", ErrInvalid, at)
	}
	flags := unix.AT_SYMLINK_NOFOLLOW
	if base == "" {
		flags = unix.AT_EMPTY_PATH
	}
	return unix.UtimesNanoAt(fd, base, []unix.Timespec{ts, ts}, flags)
}

// openTreeConfig opens config.json, which must be a file.
func openTreeConfig(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, ConfigName), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	switch {
	case errors.Is(err, unix.ELOOP):
		return nil, fmt.Errorf("%w: %s is a symbolic link", ErrInvalid, ConfigName)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: no %s: it is not an OCI runtime bundle", ErrInvalid, ConfigName)
	}
	return f, err
}
