package appc

import (
	"context"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery/follow"
	"github.com/waybill-project/waybill/discovery/target"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/resolve"
)

// Names is a [resolve.Resolver] of appc's names ([name.AppC]).
type Names struct {
	Client *Client
	Follow *follow.Client
}

var _ resolve.Resolver = Names{}

// Resolve implements [resolve.Resolver]: the best match that gives an image is
// taken, with a digest in the name that very one.
func (r Names) Resolve(ctx context.Context, n name.Name, _ ocispec.Descriptor) (resolve.Resolution, error) {
	parsed, err := Parse(n.Path)
	if err != nil {
		return resolve.Resolution{}, err
	}
	all, err := r.Client.Discover(ctx, parsed)
	if err != nil {
		return resolve.Resolution{}, err
	}
	own, _, _ := strings.Cut(parsed.Name, "/")
	by := all[0].By // they stand in one page
	var targets []target.Target
	for _, c := range all {
		targets = append(targets, c.Target)
	}
	want := follow.Request{
		Digest: n.Digest, Ref: parsed.Labels["version"], Origin: "appc " + by.URI,
		Free: func(host string) bool { return strings.EqualFold(strings.TrimSuffix(host, ":443"), own) },
	}
	found, _, err := r.Follow.First(ctx, targets, by, want, func(i int, err error) {
		r.Client.ignore(by.URI, "template %q gives no image: %v", target.Shown(all[i].Template), err)
	})
	if err != nil {
		return resolve.Resolution{}, fmt.Errorf("appc %s: %w", parsed.Name, err)
	}
	return found, nil
}
