package follow

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery/target"
	"github.com/waybill-project/waybill/locate"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/layout"
	"github.com/waybill-project/waybill/transport/netclass"
	"github.com/waybill-project/waybill/webdoc"
)

// Registry reads manifests of the repository at a route; *registry.Client is
// one.
type Registry interface {
	GetRoute(ctx context.Context, route transport.Route, reference string) (ocispec.Descriptor, []byte, error)
}

// Options configures a [Client].
type Options struct {
	// Docs gets indexes. Required.
	Docs *webdoc.Client
	// Registry asks registries. Required.
	Registry Registry
	// Local resolves names of layouts and archives on this machine.
	Local resolve.Resolver
	// Remote finds images at places that somebody else named, by the scheme of
	// their URI: it holds those that are fit for that, and nothing else is
	// asked.
	Remote map[string]resolve.Finder
	// Archives returns what finds images in archives on web servers, by the scheme
	// [ArchiveScheme], on the word of whoever named them. May be nil.
	Archives func(transport.Remote) resolve.Finder
	// Blocked says why local policy forbids a repository; nil where it doesn't.
	// May be nil.
	Blocked func(host, repository string) error
}

// Client follows targets. It is safe for concurrent use.
type Client struct{ options Options }

// New returns a client.
func New(o Options) *Client { return &Client{o} }

// ArchiveScheme is what stands before the URL of an archive on a web server to
// have it read in place.
const ArchiveScheme = "oci-archive+https"

// Request says what is wanted at a target.
type Request struct {
	// Digest, where set, is the image's.
	Digest digest.Digest
	// Ref chooses the image where there are several in one layout. May be empty.
	Ref string
	// Free reports whether the user named a host, HOST or HOST:PORT, so that it
	// may be in any network. May be nil.
	Free func(host string) bool
	// Origin says who named the target; it goes into the routes.
	Origin string
}

// remote returns what marks routes to t: whose word it is asked on, and in which
// networks it may be.
func (r Request) remote(t target.Target) transport.Remote {
	if !t.Remote {
		return 0
	}
	if u, err := target.ParseURI(t.URI, "https", "docker"); err == nil && r.Free != nil && r.Free(u.Host) {
		return transport.RemoteIn(netclass.Loopback)
	}
	return transport.RemotePublic
}

// Resolve returns the image that t leads to, with t among its hints. What isn't
// there is [resolve.ErrNotFound], what mustn't be asked
// [transport.ErrRefused]; other errors are [*transport.Error] or ctx's.
func (c *Client) Resolve(ctx context.Context, t target.Target, want Request) (resolve.Resolution, error) {
	var r resolve.Resolution
	var err error
	switch t.Kind {
	case target.Registry:
		r, err = c.registry(ctx, t, want)
	case target.Index:
		r, err = c.index(ctx, t, want)
	default:
		r, err = c.layout(ctx, t, want)
	}
	if errors.Is(err, transport.ErrNotFound) && !errors.Is(err, resolve.ErrNotFound) {
		err = fmt.Errorf("%w: %w", resolve.ErrNotFound, err)
	}
	if err != nil {
		return resolve.Resolution{}, err
	}
	r.By.Time = time.Now()
	if l, err := c.Locator(t, want); err == nil && l != nil {
		r.Hints = append(r.Hints, l)
	}
	return r, nil
}

// registry asks what a registry's tag means.
func (c *Client) registry(ctx context.Context, t target.Target, want Request) (resolve.Resolution, error) {
	n, err := name.Parse(t.URI)
	if err != nil {
		return resolve.Resolution{}, transport.Errorf(transport.ErrPermanent, t.URI, "%w", err)
	}
	route, err := c.registryRoute(n, t, want)
	if err != nil {
		return resolve.Resolution{}, err
	}
	reference := n.Reference()
	if want.Digest != "" {
		reference = want.Digest.String()
	}
	desc, content, err := c.options.Registry.GetRoute(ctx, route, reference)
	if err != nil {
		return resolve.Resolution{}, err
	}
	return resolve.Resolution{Descriptor: desc, Content: content, By: resolve.Testimony{Resolver: "registry", URI: t.URI}}, nil
}

// registryRoute returns the route to the repository, or why there is to be none.
func (c *Client) registryRoute(n name.Name, t target.Target, want Request) (transport.Route, error) {
	if c.options.Blocked != nil {
		if err := c.options.Blocked(n.Host, n.Repository); err != nil {
			return transport.Route{}, err
		}
	}
	uri := "docker://" + n.Host + "/" + n.Repository
	return transport.Route{URI: uri, Source: uri, Origin: want.Origin, Remote: want.remote(t)}, nil
}

// layout asks which image is in a layout, whatever holds it.
func (c *Client) layout(ctx context.Context, t target.Target, want Request) (resolve.Resolution, error) {
	n, find, err := c.finder(t, want)
	if err != nil {
		return resolve.Resolution{}, err
	}
	n.Digest = want.Digest
	found, err := find(ctx, n)
	if want.Ref != "" && want.Digest == "" && errors.Is(err, transport.ErrPermanent) {
		n.Ref = want.Ref // several images
		found, err = find(ctx, n)
	}
	if err != nil {
		return resolve.Resolution{}, err
	}
	by := resolve.Testimony{Resolver: t.Kind.String(), URI: t.URI}
	return resolve.Resolution{Descriptor: found.Descriptor, Index: found.Index, By: by}, nil
}

// finder returns the name of what t holds, and who looks into it.
func (c *Client) finder(t target.Target, want Request) (name.Name, func(context.Context, name.Name) (layout.Found, error), error) {
	if !t.Remote {
		n, err := name.Parse(t.URI)
		if err != nil {
			return name.Name{}, nil, transport.Errorf(transport.ErrPermanent, t.URI, "%w", err)
		}
		return n, func(ctx context.Context, n name.Name) (layout.Found, error) {
			r, err := c.options.Local.Resolve(ctx, n, ocispec.Descriptor{})
			return layout.Found{Descriptor: r.Descriptor, Index: r.Index}, err
		}, nil
	}
	uri := placeURI(t)
	f, _ := c.remote(t, uri, want)
	if f == nil {
		return name.Name{}, nil, transport.Errorf(transport.ErrRefused, t.URI, "%s: is not for others to name", schemeOf(uri))
	}
	return name.Name{Kind: name.Place, Path: uri}, f.Resolve, nil
}

// Locator returns the locator of the blobs at t, nil where it says nothing about
// them. An error says why they mustn't be had there.
func (c *Client) Locator(t target.Target, want Request) (locate.Locator, error) {
	switch t.Kind {
	case target.Registry:
		n, err := name.Parse(t.URI)
		if err != nil {
			return nil, err
		}
		route, err := c.registryRoute(n, t, want)
		if err != nil {
			return nil, err
		}
		return fixed(route), nil
	case target.Index:
		return blobsBeside(t, want), nil
	}
	if !t.Remote {
		n, err := name.Parse(t.URI)
		if err != nil {
			return nil, err
		}
		return locate.FromName(n, want.Origin)
	}
	uri := placeURI(t)
	f, remote := c.remote(t, uri, want)
	if f == nil {
		return nil, nil
	}
	return fixed(transport.Route{URI: uri, Source: uri, Origin: want.Origin, Remote: remote}), nil
}

// remote returns who looks into the place of a target that somebody else named, nil
// where nobody may, and in which networks it may be: archives in those of the hosts
// that the user named, anything else in the public one only.
func (c *Client) remote(t target.Target, uri string, want Request) (resolve.Finder, transport.Remote) {
	if schemeOf(uri) == ArchiveScheme && c.options.Archives != nil {
		remote := want.remote(t)
		return c.options.Archives(remote), remote
	}
	return c.options.Remote[schemeOf(uri)], transport.RemotePublic
}
