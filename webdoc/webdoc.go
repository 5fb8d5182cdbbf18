// Package webdoc gets the small documents that say where things are: bounded in
// size and time, over the program's own HTTP client with its rules about
// networks and redirects (spec/security.md §3 and §4), and each only once in a
// run, as far as the memory for answers goes.
package webdoc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/netclass"
)

// DefaultTimeout is how long one document may take, redirects included.
const DefaultTimeout = 10 * time.Second

// Document is a document that was got.
type Document struct {
	// URL is where it came from in the end, after redirects: what relative
	// references in it are resolved against (RFC 3986 §5.1.3).
	URL *url.URL
	// Floor is the narrowest network that was allowed for URL, on the word of
	// the redirects that led there: what else at that origin the document names
	// may be had under the same.
	Floor netclass.Class
	// MediaType is that of the Content-Type, without parameters, in lower
	// case; empty where there is none that can be read.
	MediaType string
	// Header is the answer's.
	Header http.Header
	// Content is the document.
	Content []byte
}

// Request says what to get.
type Request struct {
	// URL is absolute, https or http.
	URL string
	// Accept is the header of that name; empty means anything.
	Accept string
	// Max is the most bytes the document may have.
	Max int64
	// Floor is the narrowest network that may be asked; see
	// [httpclient.Request].
	Floor netclass.Class
	// Header asks for the header of the answer alone (HEAD), that of a redirect
	// included: none is followed, and nothing is larger than Max.
	Header bool
}

// Client gets documents. It is safe for concurrent use.
type Client struct {
	http    *httpclient.Client
	timeout time.Duration
	kept    memory
}

// New returns a client that asks by way of http and gives each document that
// long; 0 means [DefaultTimeout].
func New(http *httpclient.Client, timeout time.Duration) *Client {
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	return &Client{http: http, timeout: timeout}
}

// Get returns the document, got now or earlier by the same Client: an answer,
// also that there is none, holds for a run, unless so many others came after it
// that it was forgotten. Who asks while another is asking waits for that answer.
// Errors are [*transport.Error], or ctx's.
func (c *Client) Get(ctx context.Context, r Request) (*Document, error) {
	for {
		a, mine := c.kept.enter(r)
		if mine {
			a.doc, a.err = c.get(ctx, r)
			// What ended with ctx was about us, not about the document.
			c.kept.settle(a, ctx.Err() == nil)
			close(a.done)
			return a.doc, a.err
		}
		select {
		case <-a.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if a.err == nil || errors.As(a.err, new(*transport.Error)) {
			return a.doc, a.err
		}
		// Who asked gave up; ask oneself.
	}
}

func (c *Client) get(ctx context.Context, r Request) (*Document, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout,
		transport.Errorf(transport.ErrTemporary, r.URL, "no document within %v", c.timeout))
	defer cancel()
	doc, err := c.read(ctx, r)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return doc, err
}

func (c *Client) read(ctx context.Context, r Request) (*Document, error) {
	header := http.Header{"Accept-Encoding": {"identity"}}
	if r.Accept != "" {
		header.Set("Accept", r.Accept)
	}
	if r.Header {
		return c.header(ctx, r, header)
	}
	resp, err := c.http.Do(ctx, &httpclient.Request{URL: r.URL, Header: header, Floor: r.Floor})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	fail := func(kind error, format string, args ...any) (*Document, error) {
		return nil, transport.Errorf(kind, resp.ShownURL(), format, args...)
	}
	tooLarge := fmt.Sprintf("the document is larger than the limit of %d bytes", r.Max)
	switch {
	case resp.StatusCode != http.StatusOK:
		return fail(transport.ErrPermanent, "answered %d to a plain GET", resp.StatusCode)
	case resp.Header.Get("Content-Encoding") != "" && resp.Header.Get("Content-Encoding") != "identity":
		return fail(transport.ErrPermanent, "answered with Content-Encoding %q, asked for identity", httpclient.OneLine(resp.Header.Get("Content-Encoding")))
	case resp.ContentLength > r.Max:
		return fail(transport.ErrPermanent, "%s", tooLarge)
	}
	content, err := io.ReadAll(io.LimitReader(resp.Body, r.Max+1))
	if err != nil {
		return fail(transport.ErrTemporary, "reading the document: %w", err)
	}
	if int64(len(content)) > r.Max {
		return fail(transport.ErrPermanent, "%s", tooLarge)
	}
	return &Document{URL: resp.URL, Floor: resp.Floor, MediaType: mediaType(resp.Header), Header: resp.Header, Content: content}, nil
}

// header asks for the header of an answer. It is that of the place that was
// asked: a redirect says what stands where it was, and may say where the same
// is besides (RFC 6249 §6).
func (c *Client) header(ctx context.Context, r Request, header http.Header) (*Document, error) {
	resp, err := c.http.Do(ctx, &httpclient.Request{
		Method: http.MethodHead, URL: r.URL, Header: header, Floor: r.Floor,
		// What is signed isn't redirected; there is nothing to sign.
		Sign: func(*http.Request) error { return nil },
	})
	var status *httpclient.StatusError
	switch {
	case err == nil:
		_ = resp.Body.Close() // there is none
		return &Document{URL: resp.URL, Floor: resp.Floor, MediaType: mediaType(resp.Header), Header: resp.Header}, nil
	case !errors.As(err, &status) || status.Code/100 != 3:
		return nil, err
	}
	u, err := url.Parse(r.URL)
	if err != nil {
		return nil, transport.Errorf(transport.ErrPermanent, r.URL, "malformed URL")
	}
	return &Document{URL: u, Floor: r.Floor, MediaType: mediaType(status.Header), Header: status.Header}, nil
}

// mediaType returns that of the Content-Type.
func mediaType(h http.Header) string {
	mediaType, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return mediaType
}
