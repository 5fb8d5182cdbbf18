package archive

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/layout"
	"github.com/waybill-project/waybill/transport/local"
)

// The schemes of the URIs of this transport's routes.
const (
	SchemeOCI    = "oci-archive"
	SchemeDocker = "docker-archive"
)

const (
	maxDocument   = image.MaxDocument
	maxLayoutFile = 4096
	// maxKept is how many archives' indexes are kept.
	maxKept = 64
)

// Transport reads blobs and names from archives. The zero value is ready; it
// must not be copied. Set the fields before first use.
type Transport struct {
	// TempDir is where archives that are compressed as a whole are unpacked;
	// empty means [os.TempDir]. It should be on a disk: a file system in memory
	// would hold the whole archive there.
	TempDir string
	// MaxUnpacked is how large those may become, in bytes; 0 means
	// [DefaultMaxUnpacked].
	MaxUnpacked int64

	mu   sync.Mutex
	kept map[string]*slot
}

var (
	_ transport.Transport = (*Transport)(nil)
	_ transport.Sizer     = (*Transport)(nil)
	_ transport.Checker   = (*Transport)(nil)
	_ io.Closer           = (*Transport)(nil)
)

// slot is the index of the archive at one path, made by one at a time.
type slot struct {
	busy    chan struct{} // holds a token while somebody is at it
	archive *archive
}

func (t *Transport) maxUnpacked() int64 {
	if t.MaxUnpacked > 0 {
		return t.MaxUnpacked
	}
	return DefaultMaxUnpacked
}

// Open implements [transport.Transport]. The route's URI is oci-archive:FILE or
// docker-archive:FILE. The first request to a file takes as long as reading all
// its tar headers, or unpacking it where it is compressed.
func (t *Transport) Open(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	b, err := t.find(ctx, route, desc)
	if err != nil {
		return nil, err
	}
	return local.Section(ctx, b, desc, offset, length)
}

// Size implements [transport.Sizer].
func (t *Transport) Size(ctx context.Context, route transport.Route, desc ocispec.Descriptor) (int64, error) {
	b, err := t.find(ctx, route, desc)
	if err != nil {
		return 0, err
	}
	return b.Size, b.Closer.Close()
}

// Check implements [transport.Checker].
func (t *Transport) Check(uri string) error {
	_, err := parse(uri)
	return err
}

// parse returns the name of the archive that a route's URI is.
func parse(uri string) (name.Name, error) {
	// What is no name of an archive isn't parsed as any other: the error would
	// quote it, and with it what may be a password.
	scheme, _, _ := strings.Cut(uri, ":")
	if scheme != SchemeOCI && scheme != SchemeDocker {
		return name.Name{}, notArchive(uri)
	}
	n, err := name.Parse(uri)
	if err != nil {
		return name.Name{}, transport.Errorf(transport.ErrPermanent, uri, "%w", err)
	}
	return n, nil
}

func notArchive(uri string) error {
	return transport.Errorf(transport.ErrPermanent, uri, "not the name of an archive; write oci-archive:FILE or docker-archive:FILE")
}

// find returns the blob; closing it closes the archive.
func (t *Transport) find(ctx context.Context, route transport.Route, desc ocispec.Descriptor) (local.Blob, error) {
	n, err := parse(route.URI)
	if err != nil {
		return local.Blob{}, err
	}
	h, err := t.open(ctx, n, route.URI)
	if err != nil {
		return local.Blob{}, err
	}
	var b local.Blob
	if n.Kind == name.DockerArchive {
		b, err = h.dockerBlob(ctx, desc.Digest)
	} else {
		b, err = h.ociBlob(desc.Digest)
	}
	if err != nil {
		h.Close()
		return local.Blob{}, fail(ctx, route.URI, err)
	}
	return b, nil
}

// Resolve returns the image that n means, a [name.OCIArchive] or
// [name.DockerArchive]: see [layout.Find]. In a docker-archive the refs are the
// RepoTags, "@N" is the N-th image of manifest.json, and the digest is that of the
// manifest that is made for it.
func (t *Transport) Resolve(ctx context.Context, n name.Name) (layout.Found, error) {
	h, err := t.open(ctx, n, n.String())
	if err != nil {
		return layout.Found{}, err
	}
	defer h.Close()
	var found layout.Found
	if n.Kind == name.DockerArchive {
		found.Descriptor, err = h.resolveDocker(ctx, n)
		return found, failIf(ctx, n, err)
	}
	index, err := h.ociIndex(n)
	if err == nil {
		found, err = layout.Find(n, index, func(file string) ([]byte, error) { return h.read(file, maxDocument) })
	}
	return found, failIf(ctx, n, err)
}

// Entries returns the descriptors of the images in the archive: the entries
// of its index.json, or one for each tag of each image of a docker-archive.
// Their annotations hold the refs ([layout.Ref]).
func (t *Transport) Entries(ctx context.Context, n name.Name) ([]ocispec.Descriptor, error) {
	h, err := t.open(ctx, n, n.String())
	if err != nil {
		return nil, err
	}
	defer h.Close()
	if n.Kind == name.DockerArchive {
		entries, err := h.dockerEntries(ctx)
		return entries, failIf(ctx, n, err)
	}
	index, err := h.ociIndex(n)
	if err != nil {
		return nil, fail(ctx, n.String(), err)
	}
	return layout.Entries(n, index)
}

func failIf(ctx context.Context, n name.Name, err error) error {
	if err == nil {
		return nil
	}
	return fail(ctx, n.String(), err)
}

// Close forgets all archives and removes what was unpacked of them, also from
// under those who read it. The transport can be used further on.
func (t *Transport) Close() error {
	t.mu.Lock()
	kept := t.kept
	t.kept = nil
	t.mu.Unlock()
	var errs []error
	for _, s := range kept {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}

// close waits for whoever is making the index and drops it.
func (s *slot) close() error {
	s.busy <- struct{}{}
	defer func() { <-s.busy }()
	a := s.archive
	s.archive = nil
	if a == nil || a.unpacked == nil {
		return nil
	}
	return a.unpacked.Close()
}

// open opens the archive n names and sees to it that it is indexed.
func (t *Transport) open(ctx context.Context, n name.Name, uri string) (*handle, error) {
	if n.Kind != name.OCIArchive && n.Kind != name.DockerArchive {
		return nil, notArchive(uri)
	}
	f, err := local.OpenPath(uri, n.Path)
	if err != nil {
		return nil, err
	}
	a, err := t.index(ctx, uri, n.Path, f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &handle{archive: a, uri: uri, file: f}, nil
}

// index returns what is known of the open file f at path, reading it through
// where nothing is, or where it changed.
func (t *Transport) index(ctx context.Context, uri, path string, f *os.File) (*archive, error) {
	id, err := identify(f)
	if err != nil {
		return nil, local.Errorf(uri, err, "file %s", path)
	}
	s := t.slot(path)
	select {
	case s.busy <- struct{}{}:
		defer func() { <-s.busy }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.archive != nil && s.archive.id == id {
		return s.archive, nil
	}
	a, err := t.indexFile(ctx, uri, f, id)
	if err != nil {
		return nil, err
	}
	// Readers may still hold what was unpacked of the file's former content: it
	// is left to the runtime, which closes files nobody refers to.
	s.archive = a
	return a, nil
}

// slot returns the slot of a path. With too many, an arbitrary one makes room.
func (t *Transport) slot(path string) *slot {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s, ok := t.kept[path]; ok {
		return s
	}
	if t.kept == nil {
		t.kept = map[string]*slot{}
	}
	for other := range t.kept {
		if len(t.kept) < maxKept {
			break
		}
		delete(t.kept, other)
	}
	s := &slot{busy: make(chan struct{}, 1)}
	t.kept[path] = s
	return s
}
