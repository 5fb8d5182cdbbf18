package abd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery/follow"
	"github.com/waybill-project/waybill/discovery/target"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/transport"
)

// Names is a [resolve.Resolver] of abd's names ([name.ABD]).
type Names struct {
	Client *Client
	Follow *follow.Client
}

var _ resolve.Resolver = Names{}

// Resolve implements [resolve.Resolver]. Strategies and mirrors are tried in
// their order until one gives the image, with a digest in the name that very
// one; the other mirrors of the same artefact are hints. [ErrBlocked] is
// [transport.ErrRefused] too.
func (r Names) Resolve(ctx context.Context, n name.Name, _ ocispec.Descriptor) (resolve.Resolution, error) {
	parsed, err := Parse(n.Path)
	if err != nil {
		return resolve.Resolution{}, err
	}
	var failure error
	for candidate, err := range r.Client.Discover(ctx, parsed) {
		if err == nil {
			var found resolve.Resolution
			if found, err = r.try(ctx, parsed, n, candidate); err == nil {
				return found, nil
			}
		}
		switch {
		case ctx.Err() != nil:
			return resolve.Resolution{}, context.Cause(ctx)
		case errors.Is(err, ErrBlocked):
			return resolve.Resolution{}, transport.Errorf(transport.ErrRefused, n.String(), "%w", err)
		case failure == nil || errors.Is(failure, resolve.ErrNotFound) && !errors.Is(err, resolve.ErrNotFound):
			failure = err
		}
	}
	return resolve.Resolution{}, failure
}

// try asks the mirrors of a candidate.
func (r Names) try(ctx context.Context, parsed Name, n name.Name, c Candidate) (resolve.Resolution, error) {
	hosts := Hosts(parsed.Identifier)
	want := follow.Request{
		Digest: n.Digest, Ref: parsed.Labels["version"], Origin: "abd " + c.By.URI,
		Free: func(host string) bool {
			return slices.Contains(hosts, strings.ToLower(strings.TrimSuffix(host, ":443")))
		},
	}
	found, which, err := r.Follow.First(ctx, c.Targets, c.By, want, func(i int, err error) {
		r.Client.ignore(c.By.URI, "mirror %q gives no image: %v", target.Shown(c.Targets[i].URI), err)
	})
	if err != nil {
		return resolve.Resolution{}, fmt.Errorf("abd %s: %w", parsed.Identifier, err)
	}
	for i, other := range c.Targets {
		if i == which {
			continue
		}
		if l, err := r.Follow.Locator(other, want); err == nil && l != nil {
			found.Hints = append(found.Hints, l)
		}
	}
	return found, nil
}
