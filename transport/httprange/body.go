package httprange

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
)

// Body is a range as it arrives. It keeps the reader's part of the contract of
// [transport.Transport].
type Body struct {
	// Response is the answer the body belongs to. Its own Body must not be
	// used.
	Response *httpclient.Response

	ctx  context.Context
	src  io.ReadCloser
	uri  string
	left int64 // bytes still to come, or -1 where nobody knows
	err  error // what Read returns from now on
}

// newBody returns a body that yields nothing until left is set.
func newBody(ctx context.Context, resp *httpclient.Response) *Body {
	return &Body{Response: resp, ctx: ctx, src: resp.Body, uri: resp.ShownURL()}
}

// Read reads from the connection straight into p.
func (b *Body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if b.left == 0 {
		b.err = b.expectEnd()
		return 0, b.err
	}
	if b.left > 0 && int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.src.Read(p)
	if b.left > 0 {
		b.left -= int64(n)
	}
	if err != nil {
		b.err = b.end(err)
	}
	return n, b.err
}

// end returns what it means that the connection said err before, or with, the
// last byte.
func (b *Body) end(err error) error {
	if err == io.EOF && b.left <= 0 {
		return io.EOF
	}
	if b.ctx.Err() != nil {
		return httpclient.ContextError(b.ctx)
	}
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.ErrUnexpectedEOF
		if b.left > 0 {
			err = fmt.Errorf("body ended %d bytes early: %w", b.left, err)
		}
	}
	return &transport.Error{Kind: transport.ErrTemporary, URI: b.uri, Err: err}
}

// expectEnd makes sure that nothing follows the last byte. A body of stated
// length was over with that byte; one in chunks may go on.
func (b *Body) expectEnd() error {
	var one [1]byte
	for range 16 {
		n, err := b.src.Read(one[:])
		switch {
		case n > 0:
			return transport.Errorf(transport.ErrPermanent, b.uri, "sent more than asked")
		case err != nil:
			return b.end(err)
		}
	}
	return &transport.Error{Kind: transport.ErrTemporary, URI: b.uri, Err: io.ErrNoProgress}
}

// Close ends the request. Where the range was not read to its end, the
// connection is closed without waiting for the rest.
func (b *Body) Close() error {
	return b.src.Close()
}
