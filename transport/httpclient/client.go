package httpclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpproxy"
	"golang.org/x/net/idna"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/netclass"
)

// MaxRedirects is how many redirects one request follows.
const MaxRedirects = 10

// Options configures a [Client]. The zero value is what most programs want.
type Options struct {
	// Proxy returns the proxy for a request, or nil for none. Nil means what
	// HTTP_PROXY, HTTPS_PROXY and NO_PROXY (or their lower-case forms) say
	// when New is called; loopback is then never proxied.
	Proxy func(*http.Request) (*url.URL, error)

	// CertDirs are the directories searched, in order, for certificates of a
	// host, as [DefaultCertDirs] describes. Nil means DefaultCertDirs();
	// empty means none.
	CertDirs []string

	// Insecure reports whether the certificate of host need not be verified.
	// host is as in URLs: with the port where the URL states one. Nil means
	// every certificate is verified.
	Insecure func(host string) bool

	// Trusted reports whether local configuration names host as a place that
	// may be reached whoever names it, whatever network it is in. Nil means
	// none is.
	Trusted func(host string) bool

	// TrustedNetworks are those that local configuration names likewise: what is
	// in them may be reached whoever names it.
	TrustedNetworks netclass.Networks

	// Host returns what a host (as in Insecure) is asked with besides what all
	// are. It must return the same for a host each time. Nil means nothing.
	Host func(host string) Host

	// UserAgent is sent with every request; empty means "waybill".
	UserAgent string
}

// Client makes HTTP requests. It is safe for concurrent use.
type Client struct {
	options Options
	proxy   func(*http.Request) (*url.URL, error)
	certs   *certDirs

	mu    sync.Mutex
	pools map[poolKey]*http.Transport
}

// New returns a client. Nothing is read or dialled before the first request.
func New(options Options) *Client {
	c := &Client{
		options: options,
		proxy:   options.Proxy,
		pools:   make(map[poolKey]*http.Transport),
	}
	if c.proxy == nil {
		fromEnvironment := httpproxy.FromEnvironment().ProxyFunc()
		c.proxy = func(r *http.Request) (*url.URL, error) { return fromEnvironment(r.URL) }
	}
	if c.options.UserAgent == "" {
		c.options.UserAgent = "waybill"
	}
	if options.CertDirs == nil {
		options.CertDirs = DefaultCertDirs()
	}
	c.certs = &certDirs{roots: options.CertDirs}
	return c
}

// CloseIdleConnections closes the connections no request is using.
func (c *Client) CloseIdleConnections() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pools {
		p.CloseIdleConnections()
	}
}

// Request is what is asked.
type Request struct {
	// Method is GET, HEAD or POST; empty means GET. A POST is never
	// redirected.
	Method string
	// URL is where: http or https, absolute, without user information.
	URL string
	// Header is sent to URL and wherever it redirects to, so it must hold no
	// secrets. May be nil.
	Header http.Header
	// Authorization is the value of that header, for URL's origin only; empty
	// means none.
	Authorization string
	// Sign, where set, adds what authenticates the request as it is about to be
	// sent, in headers. A signature is for one URL: it is called for URL alone,
	// and an answer that redirects is a [*StatusError] as any other failure is.
	Sign func(*http.Request) error
	// Body is sent with a POST. Secret is what in it must not be shown, should
	// the server repeat it in an error.
	Body, Secret string
	// Floor is the narrowest network that may be dialled for URL itself. The
	// zero value allows any, which is right for what the user typed or
	// configured and wrong for what came from elsewhere.
	Floor netclass.Class
}

// Response is a successful (2xx) answer. The caller closes its Body, whose
// errors are as net/http makes them.
type Response struct {
	*http.Response
	// URL is where the answer came from, after redirects.
	URL *url.URL
	// Redirects is how many were followed.
	Redirects int
	// Floor is what was allowed for URL: whoever asks URL again on the word of
	// the same redirects sets it in the [Request].
	Floor netclass.Class
	// Class is the network the answer came from.
	Class netclass.Class
}

// ShownURL returns URL fit to be shown in an error: without the query, where
// presigned URLs carry their signature.
func (r *Response) ShownURL() string { return shown(r.URL.String()) }

// Do makes the request and follows redirects. An answer other than 2xx is a
// [*transport.Error] around a [*StatusError]; so is everything else that may
// go wrong, except ctx's own errors.
func (c *Client) Do(ctx context.Context, r *Request) (*Response, error) {
	u, err := parse(r.URL)
	if err != nil {
		return nil, &transport.Error{Kind: transport.ErrPermanent, URI: shown(r.URL), Err: err}
	}
	authorization, floor, own := r.Authorization, r.Floor, true
	for redirects := 0; ; redirects++ {
		resp, class, err := c.roundTrip(ctx, r, hop{u, authorization, floor, own})
		if err != nil {
			return nil, failure(ctx, u, err)
		}
		if resp.StatusCode >= 200 && resp.StatusCode < 300 {
			return &Response{Response: resp, URL: u, Redirects: redirects, Floor: floor, Class: class}, nil
		}
		if !isRedirect(resp.StatusCode) || r.Sign != nil {
			secrets := append(secretsOf(authorization), r.Secret)
			secrets = append(secrets, c.host(u).secrets()...)
			return nil, statusFailure(resp, u, class, redirects, append(secrets, signatureOf(r, resp.Request)...))
		}
		discard(resp)
		next, err := redirectTarget(r, resp, u, redirects)
		if err != nil {
			return nil, err
		}
		if !sameOrigin(u, next) {
			authorization, own = "", false
		}
		u, floor = next, class
	}
}

// parse returns the URL of a request or of a redirect.
func parse(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		// The parser's error quotes the URL, which may hold secrets.
		return nil, errors.New("malformed URL")
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("scheme %q is not http or https", u.Scheme)
	case u.Hostname() == "":
		return nil, errors.New("URL names no host")
	case u.User != nil:
		return nil, errors.New("URL holds user information")
	}
	u.Fragment, u.RawFragment = "", ""
	if strings.ContainsFunc(u.Host, func(r rune) bool { return r > '~' }) {
		// What it is looked up as is what is judged, compared and sent.
		host, err := idna.Lookup.ToASCII(u.Hostname())
		if err != nil {
			return nil, errors.New("the URL's host is no name that can be looked up")
		}
		u.Host = host + strings.TrimPrefix(u.Host, u.Hostname())
	}
	return u, nil
}

// sameOrigin reports whether two URLs have the same scheme, host and port (RFC
// 6454 §4).
func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && portOf(a) == portOf(b)
}

// portOf returns the port of u, or its scheme's.
func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "http" {
		return "80"
	}
	return "443"
}

// shown returns uri fit to be shown: without user information, and without the
// query, where presigned URLs carry their signature.
func shown(uri string) string {
	before, _, query := strings.Cut(uri, "?")
	if u, err := url.Parse(before); err == nil {
		u.User = nil
		before = u.String()
	} else {
		before, _, _ = strings.Cut(before, ":")
		before += ":…"
	}
	if query {
		before += "?…"
	}
	return before
}

// discard closes a body nobody wants, reading a small one first so that its
// connection can be used again.
func discard(resp *http.Response) {
	if resp.ContentLength >= 0 && resp.ContentLength <= maxErrorBody {
		stop := time.AfterFunc(errorBodyTimeout, func() { _ = resp.Body.Close() })
		defer stop.Stop()
		_, _ = io.CopyN(io.Discard, resp.Body, maxErrorBody)
	}
	_ = resp.Body.Close()
}
