package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// maxManifest is the largest manifest or index gc reads, in bytes: the largest
// there may be, package image's MaxDocument.
const maxManifest = 32 << 20

// GCOptions say how to collect garbage.
type GCOptions struct {
	// DryRun only reports what would go.
	DryRun bool
	// Children returns the descriptors that content, which desc describes,
	// refers to. It is asked about what refs point at and about every manifest
	// and index below that. Content that refers to nothing (a ref may point at
	// any) has no children; an error stops the collection. It must not write
	// to the store, which waits for gc. Required.
	Children func(desc ocispec.Descriptor, content []byte) ([]ocispec.Descriptor, error)
}

// GCReport says what a collection removed, or with DryRun would have.
type GCReport struct {
	Blobs       int
	Bytes       int64 // of those blobs
	Ingests     int
	IngestBytes int64 // recorded in those partials
}

// GC removes the blobs that no ref and no live lease leads to, the partials
// that are too old or over the quota, and what dead processes left. It stops
// with an error, having removed no blob, when it can't tell what a ref leads to.
func (s *Store) GC(ctx context.Context, opts GCOptions) (GCReport, error) {
	if opts.Children == nil {
		return GCReport{}, errors.New("gc: GCOptions.Children is required")
	}
	unlock, err := s.lockForGC(ctx, opts.DryRun)
	if err != nil {
		return GCReport{}, fmt.Errorf("gc: %w", err)
	}
	defer unlock()
	held, err := s.leased(opts.DryRun)
	if err != nil {
		return GCReport{}, fmt.Errorf("gc: %w", err)
	}
	m := marker{s: s, children: opts.Children, marked: make(map[digest.Digest]bool)}
	for d := range held {
		m.marked[d] = false
	}
	for ref, err := range s.Refs() {
		// A ref that can't be read might be the only way to anything.
		if err == nil {
			err = m.walk(ctx, ref)
		}
		if err != nil {
			return GCReport{}, fmt.Errorf("gc: nothing removed: %w", err)
		}
	}
	report, err := s.sweep(ctx, m.marked, held, opts.DryRun)
	if err != nil {
		return report, fmt.Errorf("gc: %w", err)
	}
	return report, nil
}

// lockForGC excludes all others. A dry run, which changes nothing, must work on a
// store that can only be read, too: nobody changes that.
func (s *Store) lockForGC(ctx context.Context, dryRun bool) (unlock func(), err error) {
	unlock, err = s.exclude(ctx)
	if dryRun && (errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS)) {
		return s.share()
	}
	return unlock, err
}

// marker finds what refs lead to.
type marker struct {
	s        *Store
	children func(ocispec.Descriptor, []byte) ([]ocispec.Descriptor, error)
	// marked are the digests found; true where what is below was looked at.
	marked map[digest.Digest]bool
}

// walk marks what ref leads to.
func (m *marker) walk(ctx context.Context, ref Ref) error {
	stack := []ocispec.Descriptor{ref.Descriptor}
	for root := true; len(stack) > 0; root = false {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		desc := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if _, _, err := checkDigest(desc.Digest); err != nil {
			return fmt.Errorf("%s: %w", quoteShort(ref.Name), err)
		}
		if m.marked[desc.Digest] {
			continue
		}
		children, looked, err := m.look(desc, root)
		if err != nil {
			return fmt.Errorf("what %s leads to is not known: %w; rm it or pull it again", quoteShort(ref.Name), err)
		}
		m.marked[desc.Digest] = looked
		stack = append(stack, children...)
	}
	return nil
}

// look returns the children of desc, and whether they were looked for.
func (m *marker) look(desc ocispec.Descriptor, root bool) (children []ocispec.Descriptor, looked bool, err error) {
	listed := listsChildren(desc.MediaType)
	if !root && !listed {
		return nil, false, nil
	}
	size, err := m.s.Stat(desc.Digest)
	switch {
	case errors.Is(err, ErrNotFound) && !root:
		return nil, false, nil // a platform that wasn't pulled
	case err != nil:
		return nil, false, err
	case size > maxManifest && !listed:
		return nil, false, nil // too large to refer to anything
	}
	content, err := m.s.ReadBlob(desc.Digest, maxManifest)
	if err != nil {
		return nil, false, err
	}
	children, err = m.children(desc, content)
	if err != nil {
		return nil, false, fmt.Errorf("manifest %s: %w", desc.Digest, err)
	}
	return children, true, nil
}

// listsChildren tells whether content of a media type refers to other content.
// Layers and configs don't, and aren't read.
func listsChildren(mediaType string) bool {
	switch mediaType {
	case ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex,
		"application/vnd.oci.artifact.manifest.v1+json",
		"application/vnd.docker.distribution.manifest.v2+json",
		"application/vnd.docker.distribution.manifest.list.v2+json":
		return true
	}
	return false
}

// sweep removes what isn't marked.
func (s *Store) sweep(ctx context.Context, marked, held map[digest.Digest]bool, dryRun bool) (GCReport, error) {
	var report GCReport
	for info, err := range s.Blobs() {
		if ctx.Err() != nil {
			return report, context.Cause(ctx)
		}
		if errors.Is(err, ErrCorrupt) {
			continue // not a blob of ours, so not ours to remove
		}
		if err != nil {
			return report, err
		}
		if _, keep := marked[info.Digest]; keep {
			continue
		}
		if !dryRun {
			if err := s.removeBlob(info.Digest); err != nil {
				return report, err
			}
		}
		report.Blobs++
		report.Bytes += info.Size
	}
	partials, err := s.sweepIngests(dryRun, held)
	for _, info := range partials {
		report.Ingests++
		report.IngestBytes += info.Recorded
	}
	if err != nil || dryRun {
		return report, err
	}
	if err := s.sweepRefDirs(); err != nil {
		return report, err
	}
	if err := s.sweepMarks(time.Now()); err != nil {
		return report, err
	}
	return report, s.sweepTemp()
}

func (s *Store) removeBlob(d digest.Digest) error {
	path, err := digestPath(s.dir, blobsDir, d)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s.writeError(err, 0)
	}
	return nil
}

// sweepTemp removes the temporary files, which all are dead processes': see
// tempPath.
func (s *Store) sweepTemp() error {
	for entry, err := range readDir(s.path(tmpDir)) {
		if err != nil {
			return err
		}
		if !entry.Type().IsRegular() {
			continue
		}
		if err := os.Remove(s.path(tmpDir, entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return s.writeError(err, 0)
		}
	}
	return nil
}

// Usage says what a store holds.
type Usage struct {
	Blobs       int
	Bytes       int64 // of those blobs
	Ingests     int
	IngestBytes int64 // recorded in the partials, not what was preallocated
}

// DF adds up what the store holds.
func (s *Store) DF() (Usage, error) {
	var u Usage
	for info, err := range s.Blobs() {
		if errors.Is(err, ErrCorrupt) {
			continue // foreign; not counted
		}
		if err != nil {
			return u, err
		}
		u.Blobs++
		u.Bytes += info.Size
	}
	for info, err := range s.Ingests() {
		if errors.Is(err, ErrCorrupt) {
			continue
		}
		if err != nil {
			return u, err
		}
		u.Ingests++
		u.IngestBytes += info.Recorded
	}
	return u, nil
}
