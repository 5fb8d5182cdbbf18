// Package webdoc gets the small documents that say where things are: bounded in
// size and time, over the program's own HTTP client with its rules about
// networks and redirects, and each only once in a run.
package webdoc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/netclass"
)

const (
	// DefaultTimeout is how long one document may take, redirects included.
	DefaultTimeout = 10 * time.Second
	// maxKept is how many answers a Client remembers.
	maxKept = 1000
)

// Document is a document that was got.
type Document struct {
	// URL is where it came from in the end, after redirects: what relative
	// references in it are resolved against (RFC 3986 §5.1.3).
	URL *url.URL
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
}

// Client gets documents. It is safe for concurrent use.
type Client struct {
	http    *httpclient.Client
	timeout time.Duration

	mu   sync.Mutex
	kept map[Request]*answer
}

// answer is one request's, under way until done is closed.
type answer struct {
	done chan struct{}
	doc  *Document
	err  error
}

// New returns a client that asks by way of http and gives each document that
// long; 0 means [DefaultTimeout].
func New(http *httpclient.Client, timeout time.Duration) *Client {
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	return &Client{http: http, timeout: timeout, kept: map[Request]*answer{}}
}

// Get returns the document, got now or earlier by the same Client: an answer,
// also that there is none, holds for a run. Who asks while another is asking
// waits for that answer. Errors are [*transport.Error], or ctx's.
func (c *Client) Get(ctx context.Context, r Request) (*Document, error) {
	for {
		a, mine := c.enter(r)
		if mine {
			a.doc, a.err = c.get(ctx, r)
			if ctx.Err() != nil {
				c.forget(r, a) // that was about us, not about the document
			}
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

func (c *Client) enter(r Request) (a *answer, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a := c.kept[r]; a != nil {
		return a, false
	}
	a = &answer{done: make(chan struct{})}
	if len(c.kept) < maxKept {
		c.kept[r] = a
	}
	return a, true
}

func (c *Client) forget(r Request, a *answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept[r] == a {
		delete(c.kept, r)
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
	mediaType, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		mediaType = ""
	}
	return &Document{URL: resp.URL, MediaType: mediaType, Header: resp.Header, Content: content}, nil
}
