package httpclient

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/netclass"
)

const (
	dialTimeout         = 15 * time.Second
	tlsHandshakeTimeout = 15 * time.Second
	keepAlive           = 30 * time.Second
	idleConnTimeout     = 60 * time.Second
	idleConnsPerHost    = 16
	// maxResponseHeader bounds the header of an answer, all lines together.
	maxResponseHeader = 256 << 10
	tlsSessions       = 64
)

// poolKey says what the connections of one pool have in common.
type poolKey struct {
	// floor is the narrowest network they may lead to.
	floor netclass.Class
	// proxied connections lead to a proxy of the user's choice, which is
	// dialled wherever it is.
	proxied bool
	tls     tlsKey
	// host is the one whose settings they are made with, or empty.
	host string
}

// tlsKey says how the server is verified and what is shown to it.
type tlsKey struct {
	dir      string // of certificates, or empty
	insecure bool
}

// proxyContextKey is under which a request's context holds its proxy.
type proxyContextKey struct{}

// hop is one of the requests that following redirects takes.
type hop struct {
	url           *url.URL
	authorization string
	floor         netclass.Class
	// own says that no redirect has left the origin of the request.
	own bool
}

// roundTrip makes one request, no redirects, and returns with the answer the
// class of the network it came from.
func (c *Client) roundTrip(ctx context.Context, r *Request, h hop) (*http.Response, netclass.Class, error) {
	u, floor := h.url, h.floor
	if c.options.Trusted != nil && c.options.Trusted(u.Host) {
		floor = netclass.Loopback
	}
	class, direct := netclass.Public, true
	var noSession atomic.Bool
	trace := &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			// The address of a proxy says nothing of the server behind it.
			if direct {
				class = netclass.OfAddr(info.Conn.RemoteAddr())
			}
		},
		// Called by the goroutine that dials, which may outlive the request.
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) { noSession.Store(err != nil) },
	}
	host := c.host(u)
	req, err := c.newRequest(httptrace.WithClientTrace(ctx, trace), r, h, host)
	if err != nil {
		return nil, 0, err
	}
	proxy, err := c.proxy(req)
	if err != nil {
		// The error may quote the proxy's URL, with the password in it.
		return nil, 0, &configError{errors.New("malformed proxy address; see HTTP_PROXY and HTTPS_PROXY")}
	}
	key := poolKey{floor: floor, proxied: proxy != nil}
	if host.hasConnections() {
		key.host = strings.ToLower(u.Host)
	}
	if proxy != nil {
		hostClass, known := netclass.OfHost(u.Hostname())
		if known && hostClass < floor && !c.trusts(u.Hostname()) {
			return nil, 0, &netclass.RefusedError{Address: u.Host, Class: hostClass, Floor: floor}
		}
		direct = false
		if known {
			class = hostClass
		}
		req = req.WithContext(context.WithValue(req.Context(), proxyContextKey{}, proxy))
	}
	if u.Scheme == "https" {
		key.tls.insecure = c.options.Insecure != nil && c.options.Insecure(u.Host)
		key.tls.dir = c.certs.find(u)
	}
	pool, err := c.pool(key, host)
	if err != nil {
		return nil, 0, err
	}
	resp, err := pool.RoundTrip(req)
	if err != nil && noSession.Load() {
		err = &HandshakeError{err}
	}
	return resp, class, err
}

// newRequest returns the request of one hop.
func (c *Client) newRequest(ctx context.Context, r *Request, h hop, host Host) (*http.Request, error) {
	var body io.Reader
	if r.Body != "" {
		body = strings.NewReader(r.Body)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, h.url.String(), body)
	if err != nil {
		return nil, err
	}
	if h.own {
		for k, v := range host.Header {
			req.Header[http.CanonicalHeaderKey(k)] = v
		}
	}
	for k, v := range r.Header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", c.options.UserAgent)
	if h.authorization != "" {
		req.Header.Set("Authorization", h.authorization)
	}
	if r.Sign != nil {
		if err := r.Sign(req); err != nil {
			return nil, &configError{err}
		}
	}
	return req, nil
}

// pool returns the connections for key, made with the settings of its host.
func (c *Client) pool(key poolKey, host Host) (*http.Transport, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.pools[key]; p != nil {
		return p, nil
	}
	config, err := tlsConfig(key.tls)
	if err != nil {
		return nil, err
	}
	if err := host.addTo(config); err != nil {
		return nil, &configError{err}
	}
	p := c.newPool(key, config, host.DialTimeout)
	c.pools[key] = p
	return p, nil
}

// trusts reports whether host is an address in a network that is trusted.
func (c *Client) trusts(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && c.options.TrustedNetworks.Contain(addr)
}

// newPool returns an empty pool. A timeout of 0 is the usual one.
func (c *Client) newPool(key poolKey, config *tls.Config, timeout time.Duration) *http.Transport {
	dialer := netclass.Dialer{
		Dialer: net.Dialer{Timeout: cmp.Or(timeout, dialTimeout), KeepAlive: keepAlive},
		Floor:  key.floor, Trusted: c.options.TrustedNetworks,
	}
	p := &http.Transport{
		TLSClientConfig:     config,
		TLSHandshakeTimeout: tlsHandshakeTimeout,
		// Bytes are passed on as they are; see package httprange.
		DisableCompression:     true,
		MaxIdleConnsPerHost:    idleConnsPerHost,
		IdleConnTimeout:        idleConnTimeout,
		MaxResponseHeaderBytes: maxResponseHeader,
		Protocols:              new(http.Protocols),
	}
	p.Protocols.SetHTTP1(true)
	if key.proxied {
		dialer.Floor = netclass.Loopback
		p.Proxy = func(r *http.Request) (*url.URL, error) {
			proxy, _ := r.Context().Value(proxyContextKey{}).(*url.URL)
			return proxy, nil
		}
		p.OnProxyConnectResponse = func(_ context.Context, proxy *url.URL, _ *http.Request, resp *http.Response) error {
			if resp.StatusCode != http.StatusOK {
				return &proxyError{proxy: proxy.Host, code: resp.StatusCode}
			}
			return nil
		}
	}
	p.DialContext = dialer.DialContext
	return p
}

// proxyError says that a proxy would not connect us.
type proxyError struct {
	proxy string
	code  int
}

func (e *proxyError) Error() string {
	return fmt.Sprintf("proxy %s answered %s", e.proxy, strings.TrimSpace(fmt.Sprint(e.code, " ", http.StatusText(e.code))))
}

// kind returns what the refusal means.
func (e *proxyError) kind() error {
	switch {
	case e.code == http.StatusProxyAuthRequired:
		return transport.ErrUnauthorized
	case e.code >= 500:
		return transport.ErrTemporary
	}
	return transport.ErrPermanent
}
