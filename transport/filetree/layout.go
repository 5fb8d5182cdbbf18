package filetree

import (
	"context"
	"errors"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/layout"
)

// maxLayoutFile is the largest oci-layout file that is read, in bytes.
const maxLayoutFile = 4096

// Resolve returns the image that n, a [name.Place], means in the OCI layout there:
// see [layout.Find].
func (t *Tree) Resolve(ctx context.Context, n name.Name) (layout.Found, error) {
	index, err := t.readIndex(ctx, n)
	if err != nil {
		return layout.Found{}, err
	}
	return layout.Find(n, index, func(file string) ([]byte, error) {
		return t.readFile(ctx, n.Path, file, image.MaxDocument)
	})
}

// Entries returns the descriptors in the index.json of the layout at n, in its
// order.
func (t *Tree) Entries(ctx context.Context, n name.Name) ([]ocispec.Descriptor, error) {
	index, err := t.readIndex(ctx, n)
	if err != nil {
		return nil, err
	}
	return layout.Entries(n, index)
}

func (t *Tree) readIndex(ctx context.Context, n name.Name) ([]byte, error) {
	if n.Kind != name.Place {
		return nil, transport.Errorf(transport.ErrPermanent, n.String(), "not the URI of a place")
	}
	marker, err := t.readFile(ctx, n.Path, ocispec.ImageLayoutFile, maxLayoutFile)
	if err != nil {
		return nil, notLayout(n, ocispec.ImageLayoutFile, err)
	}
	if err := layout.CheckVersion(n, marker); err != nil {
		return nil, err
	}
	content, err := t.readFile(ctx, n.Path, ocispec.ImageIndexFile, image.MaxDocument)
	if err != nil {
		return nil, notLayout(n, ocispec.ImageIndexFile, err)
	}
	return content, nil
}

// notLayout says what a missing file means.
func notLayout(n name.Name, file string, err error) error {
	if !errors.Is(err, transport.ErrNotFound) {
		return err
	}
	return transport.Errorf(transport.ErrNotFound, n.Path, "no OCI layout there: %w", err)
}

// readFile returns a file's content. One larger than limit bytes is
// [transport.ErrPermanent].
func (t *Tree) readFile(ctx context.Context, place, file string, limit int64) ([]byte, error) {
	r, err := t.files.OpenFile(ctx, place, file, Part{Size: -1, Length: -1})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	content, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > limit {
		return nil, transport.Errorf(transport.ErrPermanent, place, "%s is larger than the limit of %d bytes", file, limit)
	}
	return content, nil
}
