package mirrors

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/locate"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/transport"
)

// Registries asks registries at the places that URIs of [Endpoint.URI] name;
// registry.Client is one.
type Registries interface {
	GetAt(ctx context.Context, uri, reference string) (ocispec.Descriptor, []byte, error)
	HeadAt(ctx context.Context, uri, reference string) (ocispec.Descriptor, error)
}

// Names is a [resolve.Resolver] of registries' names that asks the mirrors there
// are before the registry itself.
type Names struct {
	Config *Config
	Client Registries
	// Attempt is how long each mirror is given; the zero value means five
	// seconds. The last place in the order may take as long as ctx allows.
	Attempt resolve.Patience
	// Note is told of each mirror that had no answer, and why. May be nil.
	Note func(where, text string)
}

var _ resolve.Resolver = Names{}

// defaultAttempt is how long a mirror is given.
const defaultAttempt = 5 * time.Second

// Resolve implements [resolve.Resolver]. A tag is only asked of those that may
// answer for tags. A name that a file blocks is [transport.ErrRefused].
func (r Names) Resolve(ctx context.Context, n name.Name, known ocispec.Descriptor) (resolve.Resolution, error) {
	endpoints, err := r.Config.endpoints(n)
	if err != nil {
		return resolve.Resolution{}, err
	}
	var asked []Endpoint
	for _, e := range endpoints {
		if e.Answers(n.Digest != "") {
			asked = append(asked, e)
		}
	}
	if len(asked) == 0 {
		return resolve.Resolution{}, &transport.Error{Kind: transport.ErrRefused, URI: "docker://" + n.Host + "/" + n.Repository, Err: errNobodyFor(n.Digest != "")}
	}
	for _, e := range asked[:len(asked)-1] {
		got, err := r.mirror(ctx, e, n, known)
		if err == nil {
			return got, nil
		}
		if ctx.Err() != nil {
			return resolve.Resolution{}, context.Cause(ctx)
		}
		if r.Note != nil {
			r.Note(e.URI(), fmt.Sprintf("the mirror (%s) doesn't answer for %s: %v", e.From, n.Familiar(), err))
		}
	}
	return r.ask(ctx, asked[len(asked)-1], n, known)
}

// mirror asks one that there is another after.
func (r Names) mirror(ctx context.Context, e Endpoint, n name.Name, known ocispec.Descriptor) (resolve.Resolution, error) {
	attempt := r.Attempt
	if attempt == (resolve.Patience{}) {
		attempt.Whole = defaultAttempt
	}
	ctx, cancel := attempt.Limit(ctx, e.URI())
	defer cancel()
	got, err := r.ask(ctx, e, n, known)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return got, err
}

func (r Names) ask(ctx context.Context, e Endpoint, n name.Name, known ocispec.Descriptor) (resolve.Resolution, error) {
	got, err := resolve.Registry{Client: at{r.Client, e.URI()}}.Resolve(ctx, n, known)
	if err == nil && got.By.Resolver == "registry" {
		got.By.URI = e.URI()
	}
	return got, err
}

// at is a registry's client for one place.
type at struct {
	client Registries
	uri    string
}

// Get implements [resolve.Manifests].
func (a at) Get(ctx context.Context, _, _, reference string) (ocispec.Descriptor, []byte, error) {
	return a.client.GetAt(ctx, a.uri, reference)
}

// Head implements [resolve.Manifests].
func (a at) Head(ctx context.Context, _, _, reference string) (ocispec.Descriptor, error) {
	return a.client.HeadAt(ctx, a.uri, reference)
}

// Locator returns the locator of the places that n, a [name.Registry], may be
// read from: the mirrors in their order, then the registry itself.
func (c *Config) Locator(n name.Name) (locate.Locator, error) {
	endpoints, err := c.endpoints(n)
	if err != nil {
		return nil, err
	}
	var routes []transport.Route
	for i, e := range endpoints {
		if !e.ServesContent(n.Digest != "") {
			continue
		}
		r := transport.Route{URI: e.URI(), Source: e.URI(), Priority: i, Origin: "name"}
		if e.From != "" {
			r.Origin = e.From
		}
		routes = append(routes, r)
	}
	return locate.Func(func(context.Context, ocispec.Descriptor) iter.Seq2[transport.Route, error] {
		return func(yield func(transport.Route, error) bool) {
			for _, r := range routes {
				if !yield(r, nil) {
					return
				}
			}
		}
	}), nil
}

// errNobody: the files leave nobody to ask.
var errNobody = errors.New("the configuration of mirrors leaves no registry to pull it from")

// errNobodyFor is the error where those there are may not be asked about a digest,
// or else a tag.
func errNobodyFor(digest bool) error {
	if digest {
		return errNobody
	}
	return errors.New("the configuration of mirrors leaves nobody to ask what a tag means; name the image by its digest")
}

// BlockedError is why a repository is refused: a file blocks it.
type BlockedError struct {
	// From is the FILE:LINE that says so.
	From string
}

// Error returns which line of which file it is.
func (e *BlockedError) Error() string { return e.From + " blocks it" }

// endpoints returns the places for n.
func (c *Config) endpoints(n name.Name) ([]Endpoint, error) {
	plan, err := c.For(n.Host, n.Repository)
	uri := "docker://" + n.Host + "/" + n.Repository
	switch {
	case err != nil:
		return nil, err
	case plan.Blocked:
		return nil, &transport.Error{Kind: transport.ErrRefused, URI: uri, Err: &BlockedError{plan.From}}
	case len(plan.Endpoints) == 0:
		return nil, &transport.Error{Kind: transport.ErrRefused, URI: uri, Err: errNobody}
	}
	return plan.Endpoints, nil
}
