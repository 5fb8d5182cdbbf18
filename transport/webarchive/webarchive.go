package webarchive

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/filetree"
)

// Scheme is what stands before the URL of an archive: "oci-archive+https://…".
const Scheme = "oci-archive+"

// maxArchives is how many archives' members are remembered.
const maxArchives = 64

// Web reads files of web servers by their URLs; *https.Transport does.
type Web interface {
	transport.Transport
	transport.Sizer
	transport.Checker
}

// Transport is the [transport.Transport] of such archives, and finds images in
// them. It is safe for concurrent use.
type Transport struct {
	web Web

	mu    sync.Mutex
	trees map[transport.Remote]*filetree.Tree
}

var (
	_ transport.Transport = (*Transport)(nil)
	_ transport.Sizer     = (*Transport)(nil)
	_ transport.Checker   = (*Transport)(nil)
)

// New returns a transport that reads with web.
func New(web Web) *Transport {
	return &Transport{web: web, trees: map[transport.Remote]*filetree.Tree{}}
}

// On returns the archives that are read on somebody's word. What is known of them
// is kept apart from what others may read.
func (t *Transport) On(remote transport.Remote) *filetree.Tree {
	remote = canonical(remote)
	t.mu.Lock()
	defer t.mu.Unlock()
	tree := t.trees[remote]
	if tree == nil {
		tree = filetree.New(&files{web: t.web, remote: remote, known: map[string]*slot{}})
		t.trees[remote] = tree
	}
	return tree
}

// canonical returns the one of few values that says the same.
func canonical(remote transport.Remote) transport.Remote {
	if remote == 0 {
		return 0
	}
	return transport.RemoteIn(remote.Floor())
}

// Open implements [transport.Transport].
func (t *Transport) Open(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	return t.On(route.Remote).Open(ctx, route, desc, offset, length)
}

// Size implements [transport.Sizer].
func (t *Transport) Size(ctx context.Context, route transport.Route, desc ocispec.Descriptor) (int64, error) {
	return t.On(route.Remote).Size(ctx, route, desc)
}

// Check implements [transport.Checker].
func (t *Transport) Check(uri string) error {
	u, ok := strings.CutPrefix(uri, Scheme)
	if !ok {
		return transport.Errorf(transport.ErrPermanent, uri, "not %shttps://HOST/FILE.tar", Scheme)
	}
	return t.web.Check(u)
}

// files are the members of archives.
type files struct {
	web    Web
	remote transport.Remote

	mu    sync.Mutex
	known map[string]*slot // by URL
}

var _ filetree.Files = (*files)(nil)

// slot is what is known of an archive. Who looks into it holds the lock.
type slot struct {
	lock    chan struct{}
	archive *archive // nil until it was read
}

// route returns the route to the file that an archive is.
func (f *files) route(url string) transport.Route {
	return transport.Route{URI: url, Origin: "an archive's address", Remote: f.remote}
}

// open returns the archive at a place, read now or earlier.
func (f *files) open(ctx context.Context, place string) (*archive, error) {
	url := strings.TrimPrefix(place, Scheme)
	s := f.slot(url)
	select {
	case s.lock <- struct{}{}:
		defer func() { <-s.lock }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if s.archive == nil {
		a, err := f.read(ctx, url)
		if err != nil {
			return nil, err
		}
		s.archive = a
	}
	return s.archive, nil
}

func (f *files) slot(url string) *slot {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.known[url]
	if s == nil {
		for other := range f.known {
			if len(f.known) < maxArchives {
				break
			}
			delete(f.known, other) // any: it is read again when it is needed
		}
		s = &slot{lock: make(chan struct{}, 1)}
		f.known[url] = s
	}
	return s
}

// forget has an archive read anew.
func (f *files) forget(a *archive) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.known, a.url)
}

// OpenFile implements [filetree.Files].
func (f *files) OpenFile(ctx context.Context, place, name string, part filetree.Part) (io.ReadCloser, error) {
	a, m, err := f.find(ctx, place, name)
	if err != nil {
		return nil, err
	}
	if part.Size >= 0 && part.Size != m.size {
		return nil, transport.Errorf(transport.ErrPermanent, place, "%s has %d bytes, not %d", name, m.size, part.Size)
	}
	length := part.Length
	if length < 0 {
		length = m.size
	}
	if part.Offset < 0 || part.Offset > m.size || length > m.size-part.Offset {
		return nil, transport.Errorf(transport.ErrPermanent, place, "%d bytes from %d on are not all in %s, which has %d", length, part.Offset, name, m.size)
	}
	if length == 0 {
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	body, err := f.web.Open(ctx, f.route(a.url), ocispec.Descriptor{Size: a.size}, m.offset+part.Offset, length)
	if errors.Is(err, transport.ErrPermanent) || errors.Is(err, transport.ErrNotFound) {
		f.forget(a)
	}
	return body, inPlace(place, err)
}

// FileSize implements [filetree.Files].
func (f *files) FileSize(ctx context.Context, place, name string) (int64, error) {
	_, m, err := f.find(ctx, place, name)
	return m.size, err
}

// find returns where in an archive a file lies.
func (f *files) find(ctx context.Context, place, name string) (*archive, member, error) {
	a, err := f.open(ctx, place)
	if err != nil {
		return nil, member{}, inPlace(place, err)
	}
	m, ok := a.members[name]
	switch {
	case !ok:
		return nil, member{}, transport.Errorf(transport.ErrNotFound, place, "%s is not in the archive", name)
	case m.bad != "":
		return nil, member{}, transport.Errorf(transport.ErrPermanent, place, "%s: %s", name, m.bad)
	}
	return a, m, nil
}

// inPlace says what to do about a server that doesn't know ranges: all of the
// archive instead of a part of it is no use.
func inPlace(place string, err error) error {
	if !errors.Is(err, transport.ErrRangeUnsupported) {
		return err
	}
	return transport.Errorf(transport.ErrPermanent, place, "the server knows no ranges, and the archive can only be read in place with them; download it and use oci-archive:FILE")
}
