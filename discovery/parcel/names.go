package parcel

import (
	"context"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/locate"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/resolve"
)

// Names is a [resolve.Resolver] of parcel's names ([name.Parcel]).
type Names struct {
	Client *Client
}

var _ resolve.Resolver = Names{}

// Resolve implements [resolve.Resolver]: the name means the index that the
// distribution publishes, and a digest in the name has to be that one's. What
// its blobURIs say are the hints.
func (r Names) Resolve(ctx context.Context, n name.Name, _ ocispec.Descriptor) (resolve.Resolution, error) {
	parsed, err := Parse(n.Path)
	if err != nil {
		return resolve.Resolution{}, err
	}
	found, err := r.Client.Resolve(ctx, parsed)
	if err != nil {
		return resolve.Resolution{}, err
	}
	if n.Digest != "" && n.Digest != found.Descriptor.Digest {
		return resolve.Resolution{}, fmt.Errorf("%w: parcel %s: the index published is %s", resolve.ErrNotFound, n.Path, found.Descriptor.Digest)
	}
	resolution := found.Resolution
	resolution.Hints = append(resolution.Hints, locate.Locator(found.Distribution.Locator()))
	return resolution, nil
}
