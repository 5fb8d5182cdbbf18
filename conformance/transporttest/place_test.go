package transporttest_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/transport"
)

// place is a web server in this process that holds blobs at /HEX, and can be
// stopped, paused and told to fail.
type place struct {
	addr string

	mu     sync.Mutex
	server *httptest.Server
	blobs  map[string]transporttest.Blob
	fail   map[string]http.HandlerFunc
	paused chan struct{} // closed when the server isn't paused
}

func startPlace(t testing.TB) *place {
	p := &place{
		addr:   "127.0.0.1:0",
		blobs:  map[string]transporttest.Blob{},
		fail:   map[string]http.HandlerFunc{},
		paused: make(chan struct{}),
	}
	close(p.paused)
	p.Start(t)
	t.Cleanup(func() { p.Stop(t) })
	return p
}

func (p *place) Start(t testing.TB) {
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	p.addr = l.Addr().String()
	p.server = httptest.NewUnstartedServer(p)
	p.server.Listener.Close()
	p.server.Listener = l
	p.server.Start()
}

func (p *place) Stop(testing.TB) {
	p.server.CloseClientConnections()
	p.server.Close()
}

func (p *place) Pause(testing.TB) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = make(chan struct{})
}

func (p *place) Resume(testing.TB) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.paused)
}

// goOn waits until the server isn't paused or r is over.
func (p *place) goOn(r *http.Request) {
	p.mu.Lock()
	paused := p.paused
	p.mu.Unlock()
	select {
	case <-paused:
	case <-r.Context().Done():
	}
}

func (p *place) Put(_ testing.TB, b transporttest.Blob) transport.Route {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blobs[b.Digest.Encoded()] = b
	// A route that is a secret: it must not be in errors.
	return transport.Route{URI: "http://ann:s3cret@" + p.addr}
}

// Failing returns the Fault of a server that answers with h.
func (p *place) Failing(h http.HandlerFunc) func(testing.TB, transporttest.Blob) transport.Route {
	return func(t testing.TB, b transporttest.Blob) transport.Route {
		route := p.Put(t, b)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.fail[b.Digest.Encoded()] = h
		return route
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		http.Error(w, "failing\nas told", code)
	}
}

// short sends half of what it announces.
func (p *place) short(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	b := p.blobs[strings.TrimPrefix(r.URL.Path, "/")]
	p.mu.Unlock()
	w.Header().Set("Content-Length", strconv.FormatInt(b.Size, 10))
	_, _ = io.CopyN(w, b.Reader(), b.Size/2)
}

// pausedContent is content that isn't read while the server is paused.
type pausedContent struct {
	io.ReadSeeker
	read func()
}

func (c pausedContent) Read(p []byte) (int, error) {
	c.read()
	return c.ReadSeeker.Read(p)
}

func (p *place) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.goOn(r)
	hex := strings.TrimPrefix(r.URL.Path, "/")
	p.mu.Lock()
	b, found := p.blobs[hex]
	fail := p.fail[hex]
	p.mu.Unlock()
	switch {
	case fail != nil:
		fail(w, r)
	case !found:
		http.NotFound(w, r)
	default:
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", time.Time{}, pausedContent{b.Reader(), func() { p.goOn(r) }})
	}
}

// harness returns that of a transport to such a place.
func (p *place) harness(t transport.Transport) transporttest.Harness {
	return transporttest.Harness{
		Transport: t,
		Put:       p.Put,
		Faults: map[transporttest.Fault]func(testing.TB, transporttest.Blob) transport.Route{
			transporttest.Denied:    p.Failing(status(http.StatusForbidden)),
			transporttest.Throttled: p.Failing(status(http.StatusTooManyRequests)),
			transporttest.Temporary: p.Failing(status(http.StatusBadGateway)),
			transporttest.Permanent: p.Failing(status(http.StatusTeapot)),
			transporttest.ShortBody: p.Failing(p.short),
		},
		RetryAfter: 7 * time.Second,
		Start:      p.Start, Stop: p.Stop,
		Pause: p.Pause, Resume: p.Resume,
	}
}
