package webhosts

import (
	"context"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/transport"
)

// Tags is a registry that package follow may ask: the manifest at each HOST/REPO:TAG.
type Tags map[string]string

// GetRoute returns the manifest and its descriptor, without a media type, or
// [transport.ErrNotFound].
func (ts Tags) GetRoute(_ context.Context, r transport.Route, reference string) (ocispec.Descriptor, []byte, error) {
	content, ok := ts[strings.TrimPrefix(r.URI, "docker://")+":"+reference]
	if !ok {
		return ocispec.Descriptor{}, nil, transport.Errorf(transport.ErrNotFound, r.URI, "no such tag")
	}
	return ocispec.Descriptor{Digest: digest.FromString(content), Size: int64(len(content))}, []byte(content), nil
}
