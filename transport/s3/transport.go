package s3

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/filetree"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/httprange"
	"github.com/waybill-project/waybill/transport/layout"
)

// Transport is the [transport.Transport] and [transport.Sizer] of buckets, and
// reads the names that a layout in one holds. It is safe for concurrent use.
type Transport struct {
	tree     *filetree.Tree
	client   *httpclient.Client
	accounts accounts

	mu    sync.Mutex
	known map[site]learnt
}

var (
	_ transport.Transport = (*Transport)(nil)
	_ transport.Sizer     = (*Transport)(nil)
	_ filetree.Files      = (*Transport)(nil)
	_ io.Closer           = (*Transport)(nil)
)

// New returns a transport that makes its requests with client. The environment
// and the shared AWS files are read before the first request under each
// profile, and anew when credentials have expired.
func New(client *httpclient.Client) *Transport {
	t := &Transport{client: client, known: map[site]learnt{}}
	t.tree = filetree.New(t)
	return t
}

// Check reports what is wrong with the URI of a place, without asking anyone.
func (*Transport) Check(uri string) error {
	if _, err := parsePlace(uri); err != nil {
		return transport.Errorf(transport.ErrPermanent, schemeOnly, "%w", err)
	}
	return nil
}

// Close closes the client's idle connections.
func (t *Transport) Close() error {
	t.client.CloseIdleConnections()
	return nil
}

// Open implements [transport.Transport]; see [filetree.Tree.Open].
//
// What S3 refuses is [transport.ErrUnauthorized], though it refuses objects
// that aren't there in the same words where listing isn't allowed.
func (t *Transport) Open(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	body, err := t.tree.Open(ctx, route, desc, offset, length)
	return body, plain(err)
}

// Size implements [transport.Sizer].
func (t *Transport) Size(ctx context.Context, route transport.Route, desc ocispec.Descriptor) (int64, error) {
	size, err := t.tree.Size(ctx, route, desc)
	return size, plain(err)
}

// Resolve returns the image that n means in the OCI layout there; see
// [filetree.Tree.Resolve].
func (t *Transport) Resolve(ctx context.Context, n name.Name) (layout.Found, error) {
	found, err := t.tree.Resolve(ctx, n)
	return found, plain(err)
}

// Entries returns the descriptors in the index.json of the layout at n, in its
// order.
func (t *Transport) Entries(ctx context.Context, n name.Name) ([]ocispec.Descriptor, error) {
	entries, err := t.tree.Entries(ctx, n)
	return entries, plain(err)
}

// OpenFile implements [filetree.Files]. A refusal that may also mean that there
// is no such object is [transport.ErrUnauthorized] and
// [transport.ErrNotFound].
func (t *Transport) OpenFile(ctx context.Context, place, name string, part filetree.Part) (io.ReadCloser, error) {
	r, err := t.newRequest(ctx, place, name, part.Size)
	if err != nil {
		return nil, err
	}
	var body *httprange.Body
	err = r.do(ctx, func(hr httprange.Request) (err error) {
		hr.Size, hr.Offset, hr.Length = part.Size, part.Offset, part.Length
		body, err = httprange.Open(ctx, t.client, hr)
		return err
	})
	if err != nil {
		return nil, err
	}
	return body, nil
}

// FileSize implements [filetree.Files] with a HEAD request, and a GET of the
// first byte where that is refused: only that answer says why.
func (t *Transport) FileSize(ctx context.Context, place, name string) (int64, error) {
	r, err := t.newRequest(ctx, place, name, -1)
	if err != nil {
		return 0, err
	}
	var size int64
	err = r.do(ctx, func(hr httprange.Request) (err error) {
		size, err = httprange.Size(ctx, t.client, hr)
		var status *httpclient.StatusError
		if errors.As(err, &status) && status.Code == http.StatusNotFound && status.Body == "" {
			return t.whyMissing(ctx, hr, err)
		}
		return err
	})
	return size, err
}

// whyMissing asks for the first byte of what HEAD, in err, said isn't there.
func (t *Transport) whyMissing(ctx context.Context, hr httprange.Request, err error) error {
	hr.Offset, hr.Length = 0, 1
	body, why := httprange.Open(ctx, t.client, hr)
	if why != nil {
		return why
	}
	_ = body.Close()
	return err
}

// objectSize returns the size in a refusal of a range (RFC 9110 §15.5.17), or
// -1.
func objectSize(refusal *answer) int64 {
	if cr, err := httprange.ParseContentRange(refusal.status.Header.Get("Content-Range")); err == nil {
		return cr.Size
	}
	return refusal.size
}
