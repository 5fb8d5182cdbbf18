package https

import (
	"context"
	"encoding/base64"
	"io"
	"net/url"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/httprange"
)

// Transport is the [transport.Transport], [transport.Sizer] and
// [transport.Checker] of the schemes https and http. It is safe for concurrent
// use.
type Transport struct {
	client *httpclient.Client
}

var (
	_ transport.Transport = (*Transport)(nil)
	_ transport.Sizer     = (*Transport)(nil)
	_ transport.Checker   = (*Transport)(nil)
	_ io.Closer           = (*Transport)(nil)
)

// New returns a transport that makes its requests with client.
func New(client *httpclient.Client) *Transport {
	return &Transport{client: client}
}

// Open implements [transport.Transport].
func (t *Transport) Open(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	r, err := request(route, desc)
	if err != nil {
		return nil, err
	}
	r.Offset, r.Length = offset, length
	body, err := httprange.Open(ctx, t.client, r)
	if err != nil {
		return nil, err
	}
	return body, nil
}

// Size implements [transport.Sizer] with a HEAD request, or a GET of the first
// byte where that is refused.
func (t *Transport) Size(ctx context.Context, route transport.Route, desc ocispec.Descriptor) (int64, error) {
	r, err := request(route, desc)
	if err != nil {
		return 0, err
	}
	return httprange.Size(ctx, t.client, r)
}

// Check implements [transport.Checker].
func (t *Transport) Check(uri string) error {
	u, err := parse(uri)
	if err != nil {
		return err
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return transport.Errorf(transport.ErrPermanent, uri, "not https://HOST/… or http://HOST/…")
	case u.Hostname() == "":
		return transport.Errorf(transport.ErrPermanent, uri, "the URL names no host; write %s://HOST/…", u.Scheme)
	case u.Fragment != "":
		return transport.Errorf(transport.ErrPermanent, uri, "a fragment (#…) means nothing to a server; write '#' as %%23")
	}
	return nil
}

// Close closes the connections kept for the next request. The transport can be
// used further on.
func (t *Transport) Close() error {
	t.client.CloseIdleConnections()
	return nil
}

// parse parses a URL.
func parse(uri string) (*url.URL, error) {
	u, err := url.Parse(uri)
	if err != nil {
		// Neither the URI nor the parser's error, which quotes it, is fit to
		// be shown: there may be a password in it.
		return nil, transport.Errorf(transport.ErrPermanent, "https:…", "malformed URL")
	}
	return u, nil
}

// request returns the request for a route, with its user information where it
// belongs.
func request(route transport.Route, desc ocispec.Descriptor) (httprange.Request, error) {
	u, err := parse(route.URI)
	if err != nil {
		return httprange.Request{}, err
	}
	// The URL says what is asked for. Where a digest is known, it is one.
	if desc.Digest != "" {
		if err := blobdigest.Validate(desc.Digest); err != nil {
			return httprange.Request{}, transport.Errorf(transport.ErrPermanent, route.URI, "%w", err)
		}
	}
	r := httprange.Request{Size: desc.Size}
	if route.Remote != 0 {
		if u.User != nil {
			return r, transport.Errorf(transport.ErrRefused, route.URI, "%s named it with credentials", route.Origin)
		}
		r.Floor = route.Remote.Floor()
	}
	if u.User != nil {
		password, _ := u.User.Password()
		r.Authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
		u.User = nil
	}
	r.URL = u.String()
	return r, nil
}
