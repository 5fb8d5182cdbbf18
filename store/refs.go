package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// maxRef is the most bytes the file of a ref may have: descriptors may embed
// data and annotations.
const maxRef = 1 << 20

// Ref is a name the store keeps an image under.
type Ref struct {
	Name       string             `json:"name"`
	Descriptor ocispec.Descriptor `json:"descriptor"`
	ResolvedBy string             `json:"resolvedBy"` // who said that the name means the descriptor
	Time       time.Time          `json:"time"`       // and when
	Also       []Witness          `json:"also,omitempty"`
}

// Witness is somebody who said the same as Ref.ResolvedBy, where several had
// to agree.
type Witness struct {
	Resolver string    `json:"resolver"` // the protocol
	URI      string    `json:"uri"`      // who was asked
	Time     time.Time `json:"time"`     // and when
}

// check tells whether r may be stored.
func (r Ref) check() error {
	if err := checkRefName(r.Name); err != nil {
		return err
	}
	if _, _, err := checkDigest(r.Descriptor.Digest); err != nil {
		return fmt.Errorf("ref %s: %w", quoteShort(r.Name), err)
	}
	if r.Descriptor.Size < 0 {
		return fmt.Errorf("ref %s: size %d is negative", quoteShort(r.Name), r.Descriptor.Size)
	}
	return nil
}

// PutRef makes r.Name refer to r.Descriptor, durably, in place of what it
// referred to. The caller must hold the descriptor's digest and all below it in
// a [Lease] until PutRef returns.
func (s *Store) PutRef(r Ref) error {
	if err := r.check(); err != nil {
		return err
	}
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("ref %s: %w", quoteShort(r.Name), err)
	}
	if len(b) > maxRef {
		return fmt.Errorf("ref %s: %d bytes, more than the limit of %d", quoteShort(r.Name), len(b), maxRef)
	}
	return s.writeFile(s.path(refsDir, refPath(r.Name)), append(b, '\n'))
}

// Ref returns what name refers to, or [ErrNotFound].
func (s *Store) Ref(name string) (Ref, error) {
	if err := checkRefName(name); err != nil {
		return Ref{}, err
	}
	path := s.path(refsDir, refPath(name))
	b, err := readSmall(path, maxRef)
	if errors.Is(err, fs.ErrNotExist) {
		return Ref{}, fmt.Errorf("%s: %w", quoteShort(name), ErrNotFound)
	}
	if err != nil {
		return Ref{}, fmt.Errorf("ref %s: %w", quoteShort(name), err)
	}
	r, err := parseRef(b)
	if err == nil && r.Name != name {
		err = fmt.Errorf("says it is %s", quoteShort(r.Name))
	}
	if err != nil {
		return Ref{}, fmt.Errorf("ref %s: %w: %s: %w; remove it and pull again", quoteShort(name), ErrCorrupt, path, err)
	}
	return r, nil
}

// parseRef reads the file of a ref.
func parseRef(b []byte) (Ref, error) {
	var r Ref
	if err := json.Unmarshal(b, &r); err != nil {
		return Ref{}, err
	}
	return r, r.check()
}

// readSmall reads a regular file of at most max bytes.
func readSmall(path string, max int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(b)) > max {
		err = fmt.Errorf("%s: %w: more than the limit of %d bytes", path, ErrCorrupt, max)
	}
	return b, err
}

// Refs lists the refs, sorted by name. One that can't be read, or a file that
// is none, is yielded as an error; the listing goes on after it.
func (s *Store) Refs() iter.Seq2[Ref, error] {
	return func(yield func(Ref, error) bool) {
		names, failed := s.refNames()
		for _, err := range failed {
			if !yield(Ref{}, err) {
				return
			}
		}
		for _, name := range names {
			r, err := s.Ref(name)
			if errors.Is(err, ErrNotFound) {
				continue // removed meanwhile
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// refNames returns the names of all refs, sorted, and what is wrong in the
// tree.
func (s *Store) refNames() (names []string, failed []error) {
	root := s.path(refsDir)
	filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // removed meanwhile
		case err != nil:
			failed = append(failed, err)
			return nil
		case entry.IsDir():
			return nil
		}
		relative := strings.TrimPrefix(path, root+"/")
		name, ok := refName(relative)
		if !ok || !strings.HasSuffix(relative, refSuffix) || !entry.Type().IsRegular() {
			failed = append(failed, foreignError(path))
			return nil
		}
		names = append(names, name)
		return nil
	})
	slices.Sort(names)
	return names, failed
}

// RemoveRef removes a ref, or returns [ErrNotFound]. What it referred to stays
// until [Store.GC].
func (s *Store) RemoveRef(name string) error {
	if err := checkRefName(name); err != nil {
		return err
	}
	path := s.path(refsDir, refPath(name))
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", quoteShort(name), ErrNotFound)
	}
	if err != nil {
		return s.writeError(fmt.Errorf("ref %s: %w", quoteShort(name), err), 0)
	}
	if err := syncDir(filepath.Dir(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("ref %s: %w", quoteShort(name), err)
	}
	return nil
}

// sweepRefDirs removes the directories below refs/ that no ref needs any more.
// The caller excludes those who put refs.
func (s *Store) sweepRefDirs() error {
	var dirs []string
	err := filepath.WalkDir(s.path(refsDir), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && path != s.path(refsDir) {
			dirs = append(dirs, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, dir := range slices.Backward(dirs) { // those within come after
		if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
			return s.writeError(&fs.PathError{Op: "rmdir", Path: dir, Err: err}, 0)
		}
	}
	return nil
}
