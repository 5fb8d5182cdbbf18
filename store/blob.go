package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// BlobInfo is what a listing says of a blob.
type BlobInfo struct {
	Digest  digest.Digest
	Size    int64 // bytes
	ModTime time.Time
}

// Blob is an open blob. Its content is not verified again as it is read; see
// [Store.ReadBlob] and [Store.Verify].
type Blob struct {
	f    *os.File
	size int64
}

// Read reads the next bytes, as [io.Reader] says.
func (b *Blob) Read(p []byte) (int, error) { return b.f.Read(p) }

// ReadAt reads at an offset, as [io.ReaderAt] says.
func (b *Blob) ReadAt(p []byte, off int64) (int, error) { return b.f.ReadAt(p, off) }

// Seek sets where the next Read begins, as [io.Seeker] says.
func (b *Blob) Seek(offset int64, whence int) (int64, error) { return b.f.Seek(offset, whence) }

// Close closes the blob.
func (b *Blob) Close() error { return b.f.Close() }

// Size returns the blob's length in bytes.
func (b *Blob) Size() int64 { return b.size }

// File returns the open file, for sendfile and the like. It belongs to the
// Blob.
func (b *Blob) File() *os.File { return b.f }

// Stat returns the size in bytes of the blob d, or [ErrNotFound]. The answer
// only lasts for those who hold d in a [Lease].
func (s *Store) Stat(d digest.Digest) (int64, error) {
	info, err := s.blobInfo(d)
	return info.Size, err
}

// OpenBlob opens the blob d for reading, or returns [ErrNotFound]. An open
// blob stays readable when gc removes it.
func (s *Store) OpenBlob(d digest.Digest) (*Blob, error) {
	path, err := digestPath(s.dir, blobsDir, d)
	if err != nil {
		return nil, err
	}
	// O_NONBLOCK: a FIFO in the tree must not hang us.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, blobError(d, err)
	}
	info, err := f.Stat()
	if err == nil {
		err = checkRegular(path, info)
	}
	if err != nil {
		f.Close()
		return nil, blobError(d, err)
	}
	return &Blob{f, info.Size()}, nil
}

// ReadBlob returns the content of the blob d, verified against it. It returns
// [ErrNotFound], [ErrCorrupt], or an error that names the cap when the blob is
// larger than max bytes.
func (s *Store) ReadBlob(d digest.Digest, max int64) ([]byte, error) {
	b, err := s.OpenBlob(d)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	if b.Size() > max {
		return nil, fmt.Errorf("%s: has %d bytes, more than the limit of %d", d, b.Size(), max)
	}
	content := make([]byte, b.Size())
	if _, err := io.ReadFull(b, content); err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	if err := checkContent(d, content); err != nil {
		return nil, err
	}
	return content, nil
}

// OpenDocument opens the blob d after verifying it, as [Store.ReadBlob] does, for
// what needn't be in memory whole.
func (s *Store) OpenDocument(d digest.Digest) (*Blob, error) {
	b, err := s.OpenBlob(d)
	if err != nil {
		return nil, err
	}
	if err = b.rehash(context.Background(), d, make([]byte, 64<<10)); err == nil {
		_, err = b.Seek(0, io.SeekStart)
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// Put stores content as the blob d, durably, after checking that this is its
// digest ([ErrCorrupt] if not). It is fine if the blob exists. For content that
// isn't small and in memory there is [Store.Ingest].
func (s *Store) Put(d digest.Digest, content []byte) error {
	path, err := digestPath(s.dir, blobsDir, d)
	if err != nil {
		return err
	}
	if err := checkContent(d, content); err != nil {
		return err
	}
	if _, err := s.ReadBlob(d, int64(len(content))); err == nil {
		return nil
	}
	// Missing, or damaged: then this heals it.
	if err := s.writeFile(path, content); err != nil {
		return fmt.Errorf("%s: %w", d, err)
	}
	return nil
}

// Blobs lists the blobs, in no order. What doesn't belong in the tree is
// yielded as an error that names it; the listing goes on after it.
func (s *Store) Blobs() iter.Seq2[BlobInfo, error] {
	return func(yield func(BlobInfo, error) bool) {
		for d, err := range s.digests(blobsDir) {
			info := BlobInfo{Digest: d}
			if err == nil {
				info, err = s.blobInfo(d)
				if errors.Is(err, ErrNotFound) {
					continue // removed meanwhile
				}
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

func (s *Store) blobInfo(d digest.Digest) (BlobInfo, error) {
	path, err := digestPath(s.dir, blobsDir, d)
	if err != nil {
		return BlobInfo{Digest: d}, err
	}
	info, err := os.Lstat(path)
	if err == nil {
		err = checkRegular(path, info)
	}
	if err != nil {
		return BlobInfo{Digest: d}, blobError(d, err)
	}
	return BlobInfo{d, info.Size(), info.ModTime()}, nil
}

// Verify lists the blobs as [Store.Blobs] does, and reads each: those whose
// content doesn't have their digest come with [ErrCorrupt]. It ends with ctx's
// error when that ends.
func (s *Store) Verify(ctx context.Context) iter.Seq2[BlobInfo, error] {
	return func(yield func(BlobInfo, error) bool) {
		buf := make([]byte, 1<<20)
		for info, err := range s.Blobs() {
			if err == nil {
				err = s.rehash(ctx, info.Digest, buf)
			}
			if ctx.Err() != nil {
				yield(info, context.Cause(ctx))
				return
			}
			if errors.Is(err, ErrNotFound) {
				continue // removed meanwhile
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

// rehash reads the blob d through buf and checks its digest.
func (s *Store) rehash(ctx context.Context, d digest.Digest, buf []byte) error {
	b, err := s.OpenBlob(d)
	if err != nil {
		return err
	}
	defer b.Close()
	return b.rehash(ctx, d, buf)
}

// rehash reads b to the end through buf and checks that d is its digest.
func (b *Blob) rehash(ctx context.Context, d digest.Digest, buf []byte) error {
	h, err := newHash(d)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		n, err := b.Read(buf)
		h.Write(buf[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("%s: %w", d, err)
		}
	}
	if got := hashDigest(d, h); ctx.Err() == nil && got != d {
		return fmt.Errorf("%s: %w: content is %s; remove %s and fetch it again", d, ErrCorrupt, got, b.f.Name())
	}
	return nil
}

// digests lists the digests that are names in dir/alg/ for every registered
// algorithm. What isn't one is yielded as an error.
func (s *Store) digests(dir string) iter.Seq2[digest.Digest, error] {
	return func(yield func(digest.Digest, error) bool) {
		for alg, err := range readDir(s.path(dir)) {
			if err == nil {
				if _, ok := algorithms[alg.Name()]; !ok || !alg.IsDir() {
					err = foreignError(s.path(dir, alg.Name()))
				}
			}
			if err != nil {
				if !yield("", err) {
					return
				}
				continue
			}
			for entry, err := range readDir(s.path(dir, alg.Name())) {
				var d digest.Digest
				if err == nil {
					d = digest.Digest(alg.Name() + ":" + entry.Name())
					if _, _, invalid := checkDigest(d); invalid != nil {
						d, err = "", foreignError(s.path(dir, alg.Name(), entry.Name()))
					}
				}
				if !yield(d, err) {
					return
				}
			}
		}
	}
}

// readDir lists a directory a batch at a time, so that memory doesn't grow with
// it. A directory that isn't there is empty.
func readDir(dir string) iter.Seq2[fs.DirEntry, error] {
	return func(yield func(fs.DirEntry, error) bool) {
		d, err := os.Open(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			yield(nil, err)
			return
		}
		defer d.Close()
		for {
			entries, err := d.ReadDir(256)
			for _, entry := range entries {
				if !yield(entry, nil) {
					return
				}
			}
			if err != nil {
				if err != io.EOF {
					yield(nil, err)
				}
				return
			}
		}
	}
}

// checkRegular tells whether what is at path is a regular file, the only kind
// the store makes.
func checkRegular(path string, info fs.FileInfo) error {
	if info.Mode().IsRegular() {
		return nil
	}
	return fmt.Errorf("%w: %s is not a regular file; remove it", ErrCorrupt, path)
}

func foreignError(path string) error {
	return fmt.Errorf("%s: %w: doesn't belong in %s; move it elsewhere", path, ErrCorrupt, filepath.Dir(path))
}

// blobError says which blob err is about.
func blobError(d digest.Digest, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", d, ErrNotFound)
	}
	return fmt.Errorf("%s: %w", d, err)
}
