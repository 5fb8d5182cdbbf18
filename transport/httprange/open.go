package httprange

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/netclass"
)

// Request is a range of a blob.
type Request struct {
	// URL, Header, Authorization, Sign and Floor are as in
	// [httpclient.Request].
	URL           string
	Header        http.Header
	Authorization string
	Sign          func(*http.Request) error
	Floor         netclass.Class

	// Size is that of the blob in bytes, or -1 where unknown.
	Size int64
	// Offset and Length are the range: Length bytes from Offset on. Length -1
	// means all, and needs Offset 0. [Size] ignores them.
	Offset, Length int64
}

// whole reports whether all of the blob is asked, which takes no Range header
// and so works at servers that know none.
func (r *Request) whole() bool {
	return r.Offset == 0 && (r.Length == -1 || r.Length == r.Size)
}

// check reports what is wrong with the range itself.
func (r *Request) check() error {
	switch {
	case r.Size < -1, r.Offset < 0, r.Length < -1:
		return errors.New("negative size, offset or length")
	case r.Length == -1 && r.Offset != 0, r.Length == 0 && r.Size != 0:
		return fmt.Errorf("length %d at offset %d is no range", r.Length, r.Offset)
	case r.Size >= 0 && r.Length > r.Size-r.Offset:
		return fmt.Errorf("%d bytes at offset %d are beyond the blob's %d", r.Length, r.Offset, r.Size)
	}
	return nil
}

// header returns what is asked beside the range: no content coding.
func (r *Request) header() http.Header {
	h := make(http.Header, len(r.Header)+2)
	for k, v := range r.Header {
		h[k] = v
	}
	h.Set("Accept-Encoding", "identity")
	return h
}

// do asks with the given method and Range header.
func (r *Request) do(ctx context.Context, c *httpclient.Client, method, bytes string) (*httpclient.Response, error) {
	h := r.header()
	if bytes != "" {
		h.Set("Range", bytes)
	}
	return c.Do(ctx, &httpclient.Request{
		Method: method, URL: r.URL, Header: h, Authorization: r.Authorization, Sign: r.Sign, Floor: r.Floor,
	})
}

// Open asks for the range and returns its body once the server has agreed to
// send exactly that. The package comment lists the errors.
func Open(ctx context.Context, c *httpclient.Client, r Request) (*Body, error) {
	if err := r.check(); err != nil {
		return nil, transport.Errorf(transport.ErrPermanent, r.URL, "%w", err)
	}
	var asked string
	if !r.whole() {
		asked = fmt.Sprintf("bytes=%d-%d", r.Offset, r.Offset+r.Length-1)
	}
	resp, err := r.do(ctx, c, http.MethodGet, asked)
	if err != nil {
		return nil, err
	}
	b := newBody(ctx, resp)
	if err := r.accept(b, resp); err != nil {
		_ = b.Close()
		return nil, err
	}
	return b, nil
}

// accept checks that resp is the answer to r, and sets what b is to yield.
func (r *Request) accept(b *Body, resp *httpclient.Response) error {
	fail := func(format string, args ...any) error {
		return transport.Errorf(transport.ErrPermanent, b.uri, format, args...)
	}
	if coding := contentCoding(resp); coding != "" {
		return fail("answered with Content-Encoding %q, asked for identity", httpclient.OneLine(coding))
	}
	partial := resp.StatusCode == http.StatusPartialContent
	switch {
	case resp.StatusCode == http.StatusOK && !r.whole():
		return transport.Errorf(transport.ErrRangeUnsupported, b.uri, "answered a range with the whole blob (200)")
	case resp.StatusCode == http.StatusOK:
	case !partial:
		return fail("answered %d to a GET", resp.StatusCode)
	case r.whole():
		return fail("answered a part (206) where no range was asked")
	}
	if partial {
		if err := r.acceptRange(resp); err != nil {
			return fail("%w", err)
		}
	}
	b.left = r.Length
	if r.whole() {
		b.left = r.Size
		if b.left < 0 {
			b.left = resp.ContentLength
		}
	}
	if resp.ContentLength >= 0 && resp.ContentLength != b.left {
		if r.whole() {
			return fail("has %d bytes, want %d", resp.ContentLength, b.left)
		}
		return fail("announces %d bytes for a range of %d", resp.ContentLength, b.left)
	}
	return nil
}

// acceptRange checks the Content-Range of a 206.
func (r *Request) acceptRange(resp *httpclient.Response) error {
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if strings.EqualFold(mediaType, "multipart/byteranges") {
		return errors.New("answered one range with multipart/byteranges")
	}
	values := resp.Header.Values("Content-Range")
	if len(values) != 1 {
		return fmt.Errorf("answered a part (206) with %d Content-Range headers", len(values))
	}
	got, err := ParseContentRange(values[0])
	if err != nil {
		return fmt.Errorf("%w %q", err, httpclient.OneLine(values[0]))
	}
	if want := r.Offset + r.Length - 1; got.First != r.Offset || got.Last != want {
		return fmt.Errorf("answered range %d-%d, asked for %d-%d", got.First, got.Last, r.Offset, want)
	}
	if r.Size >= 0 && got.Size >= 0 && got.Size != r.Size {
		return fmt.Errorf("has %d bytes, want %d", got.Size, r.Size)
	}
	return nil
}

// contentCoding returns what the body was coded with, or "" for nothing.
func contentCoding(resp *httpclient.Response) string {
	coding := strings.Join(resp.Header.Values("Content-Encoding"), ", ")
	if strings.EqualFold(strings.TrimSpace(coding), "identity") {
		return ""
	}
	return coding
}

// Size returns how large the blob is, by HEAD or, at places that refuse that
// (URLs presigned for GET do), by asking for the first byte. It is
// [transport.ErrPermanent] where the server doesn't say.
func Size(ctx context.Context, c *httpclient.Client, r Request) (int64, error) {
	resp, err := r.do(ctx, c, http.MethodHead, "")
	if err == nil {
		_ = resp.Body.Close()
		// A coded length is not the blob's.
		if resp.ContentLength >= 0 && contentCoding(resp) == "" {
			return resp.ContentLength, nil
		}
	} else if !headRefused(err) {
		return 0, err
	}
	return r.sizeByGet(ctx, c)
}

// headRefused reports whether err is a server's answer that may be about the
// method rather than the blob.
func headRefused(err error) bool {
	var status *httpclient.StatusError
	if !errors.As(err, &status) {
		return false
	}
	switch status.Code {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	}
	return false
}

// sizeByGet returns the size as stated with the first byte.
func (r *Request) sizeByGet(ctx context.Context, c *httpclient.Client) (int64, error) {
	resp, err := r.do(ctx, c, http.MethodGet, "bytes=0-0")
	if err != nil {
		// An empty blob has no first byte; its 416 states the size.
		var status *httpclient.StatusError
		if errors.As(err, &status) && status.Code == http.StatusRequestedRangeNotSatisfiable {
			if cr, perr := ParseContentRange(status.Header.Get("Content-Range")); perr == nil && cr.First < 0 {
				return cr.Size, nil
			}
		}
		return 0, err
	}
	_ = resp.Body.Close()
	size := int64(-1)
	switch {
	case contentCoding(resp) != "":
	case resp.StatusCode == http.StatusOK:
		size = resp.ContentLength
	case resp.StatusCode == http.StatusPartialContent:
		if cr, err := ParseContentRange(resp.Header.Get("Content-Range")); err == nil {
			size = cr.Size
		}
	}
	if size < 0 {
		return 0, transport.Errorf(transport.ErrPermanent, resp.ShownURL(), "does not say how large the blob is (answered %d)", resp.StatusCode)
	}
	return size, nil
}
