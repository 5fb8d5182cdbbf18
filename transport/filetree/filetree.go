package filetree

import (
	"context"
	"errors"
	"io"
	"path"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
	"github.com/waybill-project/waybill/transport"
)

// Files reads files at places of one kind. Implementations are safe for
// concurrent use.
type Files interface {
	// OpenFile opens a part of the file called name, a clean slash-separated
	// path relative to the place that the URI place names, with the meaning
	// and the errors of [transport.Transport]'s Open. A name that is no file
	// there is [transport.ErrNotFound].
	OpenFile(ctx context.Context, place, name string, part Part) (io.ReadCloser, error)
	// FileSize returns a file's size in bytes. An error is as OpenFile's.
	FileSize(ctx context.Context, place, name string) (int64, error)
}

// Part is a range of a file.
type Part struct {
	// Size is what the whole file is expected to have, in bytes, or -1. A file
	// known to have another is [transport.ErrPermanent].
	Size int64
	// Offset and Length are the range. Length -1 means to the end, and is only
	// used with Offset 0 where Size is -1.
	Offset, Length int64
}

// forms are where a blob may be below a place, ALGORITHM/HEX being its name.
var forms = []string{ocispec.ImageBlobsDir, ""}

// Tree is the [transport.Transport] and [transport.Sizer] of the places that
// Files reads. It is safe for concurrent use.
type Tree struct {
	files Files

	mu    sync.Mutex
	known map[string]int // place → index in forms of the one that held a blob last
}

var (
	_ transport.Transport = (*Tree)(nil)
	_ transport.Sizer     = (*Tree)(nil)
)

// New returns the transport of what files reads.
func New(files Files) *Tree {
	return &Tree{files: files, known: map[string]int{}}
}

// Open implements [transport.Transport]. The route's URI is the place's. A blob
// that is in neither form is [transport.ErrNotFound].
func (t *Tree) Open(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	return look(t, route.URI, desc, func(name string) (io.ReadCloser, error) {
		return t.files.OpenFile(ctx, route.URI, name, Part{Size: desc.Size, Offset: offset, Length: length})
	})
}

// Size implements [transport.Sizer].
func (t *Tree) Size(ctx context.Context, route transport.Route, desc ocispec.Descriptor) (int64, error) {
	return look(t, route.URI, desc, func(name string) (int64, error) {
		return t.files.FileSize(ctx, route.URI, name)
	})
}

// look tries the forms a place may have, the one that held a blob before
// first.
func look[T any](t *Tree, place string, desc ocispec.Descriptor, try func(name string) (T, error)) (T, error) {
	var none T
	// Before it is a path (CVE-2024-3727).
	if err := blobdigest.Validate(desc.Digest); err != nil {
		return none, transport.Errorf(transport.ErrPermanent, place, "%w", err)
	}
	usual := t.form(place)
	var first error // a refusal before that it isn't there
	for i := range forms {
		form := (usual + i) % len(forms)
		found, err := try(path.Join(forms[form], desc.Digest.Algorithm().String(), desc.Digest.Encoded()))
		if err == nil {
			t.remember(place, form)
			return found, nil
		}
		// An object store answers whoever may not list a bucket that what isn't
		// there is forbidden.
		if !errors.Is(err, transport.ErrNotFound) && !errors.Is(err, transport.ErrUnauthorized) {
			return none, err
		}
		if first == nil || errors.Is(first, transport.ErrNotFound) && !errors.Is(err, transport.ErrNotFound) {
			first = err
		}
	}
	return none, first
}

func (t *Tree) form(place string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.known[place]
}

func (t *Tree) remember(place string, form int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.known) < maxKnown {
		t.known[place] = form
	}
}

// maxKnown bounds how many places are remembered. Of more, each is looked at
// anew.
const maxKnown = 10_000
