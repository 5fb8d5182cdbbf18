package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// The kinds of failure of a store. Test with errors.Is.
var (
	// ErrNotFound: the store doesn't have it.
	ErrNotFound = errors.New("not in the store")
	// ErrExists: the store has it already.
	ErrExists = errors.New("already in the store")
	// ErrCorrupt: what the store has is not what it should be.
	ErrCorrupt = errors.New("corrupt")
)

// The names at the top of a store.
const (
	markFile  = "waybill-store" // says that this is a store, and its layout's version
	lockFile  = "lock"          // the store-wide lock,
	gateFile  = "gate"          // and the way to it
	blobsDir  = "blobs"
	refsDir   = "refs"
	ingestDir = "ingest"
	pullsDir  = "pulls"
	leasesDir = "leases"
	marksDir  = "marks"
	tmpDir    = "tmp"
)

// markContent is what markFile holds. A program that finds another version
// must not touch the store.
const markContent = "waybill store, layout 1\n"

// Options are the limits of a store. The zero value is useful.
type Options struct {
	// IngestQuota is how many bytes of disk the partials nobody is working on
	// may occupy together; 0 means 32 GiB.
	IngestQuota int64
	// IngestMaxAge is how long a partial nobody works on is kept; 0 means 7
	// days.
	IngestMaxAge time.Duration
}

// Store is a store in a local directory. All its methods may be called from
// any number of goroutines, and any number of processes may have the same
// directory open.
type Store struct {
	dir    string
	opts   Options
	bootID string // of the machine; tests replace it

	// leases are those not yet released, which this keeps reachable: were one
	// collected as garbage, its file would be closed and its lock gone.
	mu     sync.Mutex
	leases map[*Lease]bool
}

// Open opens the store in dir, and makes dir a store where it doesn't exist or
// is empty. It refuses a directory that holds something else. A store on a
// filesystem that can only be read can be opened and read.
func Open(dir string, opts Options) (*Store, error) {
	if opts.IngestQuota < 0 || opts.IngestMaxAge < 0 {
		return nil, fmt.Errorf("store %s: ingest quota %d bytes and age %s must not be negative", dir, opts.IngestQuota, opts.IngestMaxAge)
	}
	if opts.IngestQuota == 0 {
		opts.IngestQuota = 32 << 30
	}
	if opts.IngestMaxAge == 0 {
		opts.IngestMaxAge = 7 * 24 * time.Hour
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", dir, err)
	}
	boot, err := bootID()
	if err != nil {
		return nil, fmt.Errorf("store %s: boot id: %w", dir, err)
	}
	s := &Store{dir: abs, opts: opts, bootID: boot, leases: make(map[*Lease]bool)}
	if err := s.makeLayout(); err != nil {
		return nil, err
	}
	return s, nil
}

// Dir returns the absolute path of the store's directory.
func (s *Store) Dir() string { return s.dir }

// path returns the path of something in the store.
func (s *Store) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// makeLayout makes what is missing of a store.
func (s *Store) makeLayout() error {
	if info, err := os.Stat(s.dir); err == nil && !info.IsDir() {
		return fmt.Errorf("store %s: is a file; name a directory", s.dir)
	}
	if err := makeDirs("/", s.dir); err != nil {
		return s.writeError(fmt.Errorf("store: %w", err), 0)
	}
	if err := s.checkMark(); err != nil {
		return err
	}
	for _, name := range []string{blobsDir, refsDir, ingestDir, pullsDir, leasesDir, tmpDir} {
		if err := makeDirs(s.dir, s.path(name)); err != nil {
			return s.writeError(fmt.Errorf("store: %w", err), 0)
		}
	}
	for _, name := range []string{gateFile, lockFile} {
		f, err := os.OpenFile(s.path(name), os.O_RDONLY|os.O_CREATE, fileMode)
		if err != nil {
			return s.writeError(fmt.Errorf("store: %w", err), 0)
		}
		f.Close()
	}
	return nil
}

// checkMark makes sure that the directory is a store of this layout, marking it
// as one if it is empty. The mark is the first thing a store gets: a directory
// that holds anything and no mark is somebody's, and gc would empty it.
func (s *Store) checkMark() error {
	foreign, err := s.foreignEntry()
	if err != nil {
		return err
	}
	mark, err := os.ReadFile(s.path(markFile))
	switch {
	case err == nil && string(mark) == markContent:
		return nil
	case err == nil:
		return fmt.Errorf("store %s: %s says %s, want %q; use the program that made it, or choose another directory", s.dir, markFile, quoteShort(string(mark)), markContent)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("store: %w", err)
	case foreign != "":
		return fmt.Errorf("store %s: not a store, and not empty (has %s); choose an empty directory", s.dir, quoteShort(foreign))
	}
	temp := fmt.Sprintf("%s.%d-%d", s.path(markFile), os.Getpid(), tempCount.Add(1))
	return s.writeError(replaceFile(temp, s.path(markFile), []byte(markContent)), int64(len(markContent)))
}

// foreignEntry returns a name in the store's directory that is neither the mark
// nor on its way to become it, or the empty string.
func (s *Store) foreignEntry() (string, error) {
	d, err := os.Open(s.dir)
	if err != nil {
		return "", fmt.Errorf("store: %w", err)
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(64)
		for _, name := range names {
			// lost+found is in every root of an ext filesystem.
			if name != "lost+found" && !isMark(name) {
				return name, nil
			}
		}
		if len(names) == 0 || err != nil {
			return "", nil
		}
	}
}

func isMark(name string) bool {
	return len(name) >= len(markFile) && name[:len(markFile)] == markFile
}
