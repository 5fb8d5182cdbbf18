package registry

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"

	"github.com/waybill-project/waybill/credentials"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/netclass"
)

// Credentials finds what to log in to a registry with. *credentials.Store is
// one.
type Credentials interface {
	// Get returns the credential for a repository at a registry ("docker.io"
	// for Docker Hub), or the zero Credential for none. It is called when a
	// registry asks for one, never before.
	Get(ctx context.Context, host, repository string) (credentials.Credential, error)
}

// Options configures a [Client]. The zero value asks anonymously.
type Options struct {
	// HTTP makes the requests. Nil means httpclient.New with no options.
	HTTP *httpclient.Client
	// Credentials finds credentials; nil means there are none.
	Credentials Credentials
	// PlainHTTP reports whether a registry (HOST or HOST:PORT) may be asked
	// over plain http when it does not speak TLS. Nil means [IsLoopback].
	PlainHTTP func(host string) bool
	// HTTPFor returns what makes the requests of a place, where that isn't HTTP:
	// other authorities, a certificate of the client's, none verified. Nil, and
	// a nil client, mean HTTP. A client is asked for once for each place, and
	// closed by [Client.Close]. Tokens that the place wants are fetched by it too.
	// Places that somebody else named are asked with HTTP: what else is
	// configured may hold secrets.
	HTTPFor func(Place) *httpclient.Client
	// Warn is told what a registry wants its users to know (Warning header,
	// code 299, distribution-spec "Warnings"), once for each answer that says
	// so, in one line. Nil drops it. It may be called by several goroutines at
	// once.
	Warn func(host, text string)
}

// Client reads from registries. It is safe for concurrent use.
type Client struct {
	options Options
	http    *httpclient.Client
	auth    *authorizer
	targets targets

	mu      sync.Mutex
	plain   map[Place]bool // found to be asked over plain http
	clients map[Place]*httpclient.Client
}

// New returns a client. It does nothing before it is asked to.
func New(options Options) *Client {
	c := &Client{
		options: options, http: options.HTTP,
		plain: make(map[Place]bool), clients: make(map[Place]*httpclient.Client),
	}
	if c.http == nil {
		c.http = httpclient.New(httpclient.Options{})
	}
	if c.options.PlainHTTP == nil {
		c.options.PlainHTTP = IsLoopback
	}
	c.auth = newAuthorizer(options.Credentials)
	return c
}

// IsLoopback reports whether host (HOST or HOST:PORT) is this machine by its
// name alone: localhost, 127.0.0.0/8, ::1.
func IsLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	class, known := netclass.OfHost(host)
	return known && class == netclass.Loopback
}

// endpoint is what one attempt to ask a registry is made with.
type endpoint struct {
	http          *httpclient.Client
	base          string // URL up to and without the path
	authorization string
}

// ask makes a request of a repository's registry by calling try, again over
// plain http where that is called for, and again with credentials where the
// registry asks for them. try must return the errors of package httpclient.
func (c *Client) ask(ctx context.Context, repo repository, try func(endpoint) error) error {
	at, plain, err := c.askScheme(ctx, repo, try)
	if plain {
		at, err = c.askPlain(ctx, repo, try)
	}
	var status *httpclient.StatusError
	if !errors.As(err, &status) {
		return err
	}
	if status.Redirects > 0 {
		// Not the registry's answer: whoever gave it gets no credentials.
		return err
	}
	c.warn(repo, status.Header)
	if status.Code != http.StatusUnauthorized {
		return err
	}
	at.authorization, err = c.auth.answer(ctx, repo, at, status, err)
	if err != nil {
		return err
	}
	return try(at)
}

// askScheme makes the first attempt, and reports whether the next should be
// over plain http.
func (c *Client) askScheme(ctx context.Context, repo repository, try func(endpoint) error) (endpoint, bool, error) {
	c.mu.Lock()
	plain := c.plain[repo.Place] || repo.PlainHTTP == Only
	c.mu.Unlock()
	at := endpoint{http: c.httpFor(repo), base: "https://" + repo.Server()}
	if plain {
		at.base = "http://" + repo.Server()
	}
	var err error
	if at.authorization, err = c.auth.remembered(ctx, repo, at); err != nil {
		return at, false, err
	}
	err = try(at)
	again := !plain && noTLS(repo, err) && (repo.PlainHTTP == Allowed || c.options.PlainHTTP(repo.Host))
	return at, again, err
}

// askPlain makes an attempt over plain http, and remembers it when the registry
// answers, whatever the answer.
func (c *Client) askPlain(ctx context.Context, repo repository, try func(endpoint) error) (endpoint, error) {
	at := endpoint{http: c.httpFor(repo), base: "http://" + repo.Server()}
	var err error
	if at.authorization, err = c.auth.remembered(ctx, repo, at); err != nil {
		return at, err
	}
	err = try(at)
	var status *httpclient.StatusError
	if err == nil || errors.As(err, &status) {
		c.mu.Lock()
		c.plain[repo.Place] = true
		c.mu.Unlock()
	}
	return at, err
}

// httpFor returns what makes the requests of a place.
func (c *Client) httpFor(repo repository) *httpclient.Client {
	if c.options.HTTPFor == nil || repo.remote != 0 {
		return c.http
	}
	p := repo.Place
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.clients[p]; h != nil {
		return h
	}
	if h := c.options.HTTPFor(p); h != nil {
		c.clients[p] = h
		return h
	}
	return c.http
}

// noTLS reports whether err says that the registry is not there over https.
// Without a port in its name, https and http are different ports and nobody
// listening on the first says so too.
func noTLS(repo repository, err error) bool {
	if httpclient.NoTLS(err) {
		return true
	}
	u, perr := url.Parse("https://" + repo.Host)
	return perr == nil && u.Port() == "" && errors.Is(err, syscall.ECONNREFUSED)
}

// warn passes on what an answer of the registry warns of.
func (c *Client) warn(repo repository, h http.Header) {
	if c.options.Warn == nil {
		return
	}
	for _, text := range warnings(h.Values("Warning")) {
		c.options.Warn(repo.Host, text)
	}
}

// warnings returns the texts of Warning headers of the form the
// distribution-spec gives them: 299 - "TEXT".
func warnings(values []string) []string {
	var texts []string
	for _, v := range values {
		quoted, ok := strings.CutPrefix(v, "299 - ")
		if !ok {
			continue
		}
		p := challengeParser{rest: quoted}
		text, err := p.quotedString()
		if text = httpclient.OneLine(text); err == nil && p.rest == "" && text != "" {
			texts = append(texts, text)
		}
	}
	return texts
}

// malformed returns the error for a route or name that cannot be asked for.
func malformed(uri, format string, args ...any) error {
	return transport.Errorf(transport.ErrPermanent, uri, format, args...)
}
