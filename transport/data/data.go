// Package data is the transport of scheme "data": the blob is in its
// descriptor (image-spec descriptor.md, "data"), and nothing is asked of
// anyone. What stands in the route's URI after the scheme is not read.
package data

import (
	"bytes"
	"context"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/local"
)

// Scheme is the scheme of the URIs of this transport's routes.
const Scheme = "data"

// URI is all there is to a route of this transport.
const URI = Scheme + ":"

// Transport reads blobs from their descriptors. The zero value is ready.
type Transport struct{}

var (
	_ transport.Transport = Transport{}
	_ transport.Sizer     = Transport{}
	_ transport.Checker   = Transport{}
)

// Open implements [transport.Transport]. A descriptor without data is
// [transport.ErrNotFound].
func (Transport) Open(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	b, err := blob(route, desc)
	if err != nil {
		return nil, err
	}
	return local.Section(ctx, b, desc, offset, length)
}

// Size implements [transport.Sizer].
func (Transport) Size(_ context.Context, route transport.Route, desc ocispec.Descriptor) (int64, error) {
	b, err := blob(route, desc)
	return b.Size, err
}

// Check implements [transport.Checker].
func (Transport) Check(uri string) error {
	if !strings.HasPrefix(uri, URI) {
		return transport.Errorf(transport.ErrPermanent, uri, "not %s", URI)
	}
	return nil
}

func blob(route transport.Route, desc ocispec.Descriptor) (local.Blob, error) {
	// Nothing is looked up by it. Where a digest is known, it is one.
	if desc.Digest != "" {
		if err := blobdigest.Validate(desc.Digest); err != nil {
			return local.Blob{}, transport.Errorf(transport.ErrPermanent, route.URI, "%w", err)
		}
	}
	// An empty blob has no data to embed, and needs none.
	if len(desc.Data) == 0 && desc.Size != 0 && !digestOfNothing(desc.Digest) {
		return local.Blob{}, transport.Errorf(transport.ErrNotFound, route.URI, "the descriptor of %s embeds no data", desc.Digest)
	}
	return local.Blob{URI: route.URI, ReaderAt: bytes.NewReader(desc.Data), Size: int64(len(desc.Data))}, nil
}

// digestOfNothing reports whether d is the digest of the empty blob.
func digestOfNothing(d digest.Digest) bool {
	if d == "" {
		return false
	}
	nothing, err := blobdigest.FromBytes(d.Algorithm(), nil)
	return err == nil && d == nothing
}
