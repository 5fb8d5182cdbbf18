package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/httprange"
)

var (
	_ transport.Transport = (*Client)(nil)
	_ transport.Sizer     = (*Client)(nil)
	_ transport.Checker   = (*Client)(nil)
	_ io.Closer           = (*Client)(nil)
)

// Open implements [transport.Transport]. The route's URI is
// docker://HOST[:PORT]/REPO, with the query of a [Place] where it isn't asked as
// its name says; a tag or digest behind it is ignored, desc says what is read. Descriptors of manifests and indexes are read from the
// registry's manifests, all others from its blobs (distribution-spec, end-2 and
// end-3). A route that somebody else named (Route.Remote) is asked without
// credentials, in the networks that Route.Remote allows, and has no query.
func (c *Client) Open(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	body, err := c.open(ctx, route, desc, offset, length)
	if err != nil {
		return nil, err
	}
	return body, nil
}

func (c *Client) open(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (*httprange.Body, error) {
	repo, r, err := request(route, desc)
	if err != nil {
		return nil, err
	}
	r.Offset, r.Length = offset, length
	key := targetKey{repo: repo, path: r.URL}
	if t, ok := c.targets.get(key); ok {
		body, err := httprange.Open(ctx, c.httpFor(repo), t.request(r))
		if err == nil {
			return body, nil
		}
		if ctx.Err() == nil {
			c.targets.drop(key, t)
		}
		if !stale(err) {
			return nil, err
		}
	}
	var body *httprange.Body
	err = c.ask(ctx, repo, func(at endpoint) (err error) {
		body, err = httprange.Open(ctx, at.http, at.request(r))
		return err
	})
	if err != nil {
		return nil, err
	}
	if body.Response.Redirects == 0 {
		c.warn(repo, body.Response.Header)
	} else {
		c.targets.put(key, repo, body.Response)
	}
	return body, nil
}

// Size implements [transport.Sizer].
func (c *Client) Size(ctx context.Context, route transport.Route, desc ocispec.Descriptor) (int64, error) {
	repo, r, err := request(route, desc)
	if err != nil {
		return 0, err
	}
	var size int64
	err = c.ask(ctx, repo, func(at endpoint) (err error) {
		size, err = httprange.Size(ctx, at.http, at.request(r))
		return err
	})
	return size, err
}

// Check implements [transport.Checker].
func (c *Client) Check(uri string) error {
	_, err := parseURI(uri)
	return err
}

// Close closes the connections kept for the next request. The client can be
// used further on.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.clients {
		h.CloseIdleConnections()
	}
	return nil
}

// routeRepository returns the repository at a route.
func routeRepository(route transport.Route) (repository, error) {
	repo, err := parseURI(route.URI)
	if err != nil || route.Remote == 0 {
		return repo, err
	}
	if !Plain(route.URI) {
		return repository{}, transport.Errorf(transport.ErrRefused, repo.uri(),
			"%s named it, and how a registry is asked isn't for others to say", route.Origin)
	}
	repo.remote = route.Remote
	return repo, nil
}

// request returns what to ask for desc at a route. Its URL is a path still.
func request(route transport.Route, desc ocispec.Descriptor) (repository, httprange.Request, error) {
	repo, err := routeRepository(route)
	if err != nil {
		return repository{}, httprange.Request{}, err
	}
	if !isDigest(desc.Digest.String()) {
		return repository{}, httprange.Request{}, malformed(repo.uri(), "malformed digest %q", desc.Digest)
	}
	r := httprange.Request{Size: desc.Size, Floor: route.Remote.Floor()}
	if isManifest(desc.MediaType) {
		r.URL = repo.path("manifests", desc.Digest.String())
		r.Header = http.Header{"Accept": manifestTypes}
	} else {
		r.URL = repo.path("blobs", desc.Digest.String())
	}
	return repo, r, nil
}

// request returns r, whose URL is a path, at an endpoint.
func (e endpoint) request(r httprange.Request) httprange.Request {
	r.URL = e.base + r.URL
	r.Authorization = e.authorization
	return r
}

// stale reports whether err may mean that a remembered redirect target is no
// longer good, rather than that the blob is gone.
func stale(err error) bool {
	var status *httpclient.StatusError
	if !errors.As(err, &status) {
		return false
	}
	switch status.Code {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone:
		return true
	}
	return false
}

// elsewhere reports whether u is at another host than the registry, so that
// asking u takes no credentials of the registry's.
func elsewhere(repo repository, u *url.URL) bool {
	return u.Host != repo.Server()
}
