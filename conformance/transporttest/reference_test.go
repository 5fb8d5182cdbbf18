package transporttest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
	"github.com/waybill-project/waybill/transport"
)

// reference is a transport to a place that does everything right, and nothing
// well: the least that passes.
type reference struct {
	pool *http.Transport
}

func newReference() *reference {
	return &reference{pool: &http.Transport{DisableCompression: true}}
}

func (r *reference) Close() error {
	r.pool.CloseIdleConnections()
	return nil
}

func (r *reference) Open(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	if desc.Size >= 0 && length > desc.Size-offset || length == 0 && desc.Size > 0 {
		return nil, transport.Errorf(transport.ErrPermanent, route.URI, "no %d bytes at %d", length, offset)
	}
	var asked string
	if length > 0 && length != desc.Size {
		asked = fmt.Sprintf("bytes=%d-%d", offset, offset+length-1)
	}
	resp, err := r.ask(ctx, route, desc, asked)
	if err != nil {
		return nil, err
	}
	if asked == "" && desc.Size >= 0 && resp.ContentLength != desc.Size {
		resp.Body.Close()
		return nil, transport.Errorf(transport.ErrPermanent, route.URI, "%d bytes, want %d", resp.ContentLength, desc.Size)
	}
	return &body{ctx, resp.Body, route}, nil
}

func (r *reference) Size(ctx context.Context, route transport.Route, desc ocispec.Descriptor) (int64, error) {
	resp, err := r.ask(ctx, route, desc, "")
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.ContentLength, nil
}

func (r *reference) ask(ctx context.Context, route transport.Route, desc ocispec.Descriptor, asked string) (*http.Response, error) {
	if err := blobdigest.Validate(desc.Digest); err != nil {
		return nil, transport.Errorf(transport.ErrPermanent, route.URI, "%w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, route.URI+"/"+desc.Digest.Encoded(), nil)
	if err != nil {
		return nil, transport.Errorf(transport.ErrPermanent, route.URI, "malformed URL")
	}
	if asked != "" {
		req.Header.Set("Range", asked)
	}
	resp, err := r.pool.RoundTrip(req)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, &transport.Error{Kind: transport.ErrTemporary, URI: route.URI, Err: err}
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	resp.Body.Close()
	failure := &transport.Error{Kind: transport.ErrPermanent, URI: route.URI, Err: errors.New(resp.Status)}
	switch {
	case resp.StatusCode == http.StatusNotFound:
		failure.Kind = transport.ErrNotFound
	case resp.StatusCode == http.StatusForbidden:
		failure.Kind = transport.ErrUnauthorized
	case resp.StatusCode == http.StatusTooManyRequests:
		failure.Kind = transport.ErrThrottled
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		failure.RetryAfter = time.Duration(seconds) * time.Second
	case resp.StatusCode >= 500:
		failure.Kind = transport.ErrTemporary
	}
	return nil, failure
}

// body is an answer's. Its errors are the contract's.
type body struct {
	ctx context.Context
	io.ReadCloser
	route transport.Route
}

func (b *body) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == nil || err == io.EOF:
		return n, err
	case b.ctx.Err() != nil:
		return n, b.ctx.Err()
	}
	return n, &transport.Error{Kind: transport.ErrTemporary, URI: b.route.URI, Err: err}
}
