package realserver

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
)

// Request is one request a [Proxy] passed on.
type Request struct {
	Method, Host, Path, Range string
	// Authorized says that it carried an Authorization header.
	Authorized bool
}

// Proxy passes requests on and remembers them: the witness of what was asked
// of a server that keeps no such record itself. It is a reverse proxy for
// requests in origin form and a forward proxy (HTTP_PROXY, and CONNECT for
// HTTPS_PROXY) for the rest.
type Proxy struct {
	// Host is its HOST:PORT.
	Host string
	// URL is its base, without a slash at the end.
	URL string

	hosts  map[string]string
	server *http.Server
	mu     sync.Mutex
	seen   []Request
}

// StartProxy starts a proxy. target (HOST:PORT) gets the requests in origin
// form; hosts says which HOST:PORT is meant by a host a client names to the
// forward proxy, so that names that don't exist can be used. All others are
// refused.
func StartProxy(target string, hosts map[string]string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	p := &Proxy{Host: l.Addr().String(), URL: "http://" + l.Addr().String(), hosts: hosts}
	reverse := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			to := target
			if r.In.URL.IsAbs() {
				to = hosts[r.In.URL.Host]
			}
			r.SetURL(&url.URL{Scheme: "http", Host: to})
			r.Out.Host = r.In.Host
		},
		FlushInterval: -1,
	}
	p.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.note(r)
		switch {
		case r.Method == http.MethodConnect:
			p.tunnel(w, r)
		case r.URL.IsAbs() && hosts[r.URL.Host] == "":
			http.Error(w, "no such host", http.StatusBadGateway)
		default:
			reverse.ServeHTTP(w, r)
		}
	})}
	go p.server.Serve(l) //nolint:errcheck // it ends with Stop
	return p, nil
}

// Requests returns what was asked so far.
func (p *Proxy) Requests() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.seen)
}

// Reset forgets what was asked so far.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = nil
}

// Stop ends the proxy and its connections.
func (p *Proxy) Stop() { p.server.Close() }

func (p *Proxy) note(r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(p.seen, Request{
		Method: r.Method, Host: r.Host, Path: r.URL.Path,
		Range: r.Header.Get("Range"), Authorized: r.Header.Get("Authorization") != "",
	})
}

// tunnel connects the client with the host it named (RFC 9110 §9.3.6).
func (p *Proxy) tunnel(w http.ResponseWriter, r *http.Request) {
	to := p.hosts[r.Host]
	if to == "" {
		http.Error(w, "no such host", http.StatusBadGateway)
		return
	}
	var dialer net.Dialer
	server, err := dialer.DialContext(context.WithoutCancel(r.Context()), "tcp", to)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer server.Close()
	w.WriteHeader(http.StatusOK)
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer client.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(server, buffered) // ends with either side
		_ = server.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(client, server)
	client.Close()
	<-done
}
