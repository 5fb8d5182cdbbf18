package webdoc_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/netclass"
	"github.com/waybill-project/waybill/transport/netclass/netclasstest"
	"github.com/waybill-project/waybill/webdoc"
)

func TestGet(t *testing.T) {
	mux := http.NewServeMux()
	reply := func(path string, f http.HandlerFunc) { mux.HandleFunc(path, f) }
	reply("/doc", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "Application/JSON; charset=utf-8")
		_, _ = w.Write([]byte(r.Header.Get("Accept") + "|" + r.Header.Get("Accept-Encoding")))
	})
	reply("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/doc", http.StatusFound) })
	reply("/large", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(make([]byte, 1001)) })
	reply("/endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = w.Write(make([]byte, 100))
			w.(http.Flusher).Flush()
		}
	})
	reply("/coded", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Encoding", "gzip") })
	reply("/partial", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusPartialContent) })
	reply("/short", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = w.Write([]byte("x"))
	})
	reply("/type", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Type", ";;") })
	server := httptest.NewServer(mux)
	defer server.Close()

	for _, tt := range []struct {
		path, content, mediaType string
		kind                     error
		says                     string
	}{
		{"/doc", "some/type|identity", "application/json", nil, ""},
		{"/moved", "some/type|identity", "application/json", nil, ""},
		{"/type", "", "", nil, ""},
		{"/none", "", "", transport.ErrNotFound, "404"},
		{"/large", "", "", transport.ErrPermanent, "limit of 1000 bytes"},
		{"/endless", "", "", transport.ErrPermanent, "limit of 1000 bytes"},
		{"/coded", "", "", transport.ErrPermanent, `Content-Encoding "gzip"`},
		{"/partial", "", "", transport.ErrPermanent, "206"},
		{"/short", "", "", transport.ErrTemporary, "reading the document"},
	} {
		t.Run(tt.path, func(t *testing.T) {
			c := webdoc.New(httpclient.New(httpclient.Options{}), 0)
			doc, err := c.Get(t.Context(), webdoc.Request{URL: server.URL + tt.path, Accept: "some/type", Max: 1000})
			if tt.kind != nil {
				if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), tt.path) {
					t.Fatalf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(doc.Content) != tt.content || doc.MediaType != tt.mediaType {
				t.Errorf("got %q of type %q", doc.Content, doc.MediaType)
			}
			if tt.path == "/moved" && doc.URL.Path != "/doc" {
				t.Errorf("it is said to come from %s", doc.URL)
			}
		})
	}
}

// A document that may only come from the internet isn't asked of this machine.
func TestGetFloor(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer server.Close()
	c := webdoc.New(httpclient.New(httpclient.Options{}), 0)
	_, err := c.Get(t.Context(), webdoc.Request{URL: server.URL, Max: 1, Floor: netclass.Public})
	if !errors.Is(err, transport.ErrRefused) || asked.Load() != 0 {
		t.Errorf("got %v after %d requests", err, asked.Load())
	}
}

// However many ask, a document is asked for once; so is one that isn't there.
func TestGetOnce(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path == "/none" {
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	c := webdoc.New(httpclient.New(httpclient.Options{}), 0)
	for _, path := range []string{"/", "/none"} {
		asked.Store(0)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				_, err := c.Get(t.Context(), webdoc.Request{URL: server.URL + path, Max: 10})
				if (err != nil) != (path == "/none") {
					t.Errorf("%s: %v", path, err)
				}
			})
		}
		wg.Wait()
		if n := asked.Load(); n != 1 {
			t.Errorf("%s was asked for %d times", path, n)
		}
	}
}

// Who gives up takes nobody along, and a server that says nothing holds nobody
// up for longer than a document may take.
func TestGetGivesUp(t *testing.T) {
	release := make(chan struct{})
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 || r.URL.Path == "/mute" {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
	}))
	defer server.Close()
	defer close(release)

	c := webdoc.New(httpclient.New(httpclient.Options{}), time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, err := c.Get(ctx, webdoc.Request{URL: server.URL, Max: 10})
		first <- err
	}()
	for asked.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	second := make(chan error)
	go func() {
		_, err := c.Get(t.Context(), webdoc.Request{URL: server.URL, Max: 10})
		second <- err
	}()
	time.Sleep(10 * time.Millisecond) // let it wait for the first
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first got %v", err)
	}
	if err := <-second; err != nil {
		t.Errorf("the second got %v", err)
	}

	hasty := webdoc.New(httpclient.New(httpclient.Options{}), 20*time.Millisecond)
	if _, err := hasty.Get(t.Context(), webdoc.Request{URL: server.URL + "/mute", Max: 10}); !errors.Is(err, transport.ErrTemporary) ||
		!strings.Contains(err.Error(), "no document within 20ms") {
		t.Errorf("got %v", err)
	}
}

// The header of a place is its own, also where it redirects, and of whatever size
// its content is.
func TestGetHeader(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path)
		w.Header().Set("Link", "<x>; rel=duplicate")
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/large", http.StatusFound)
		case "/none":
			http.NotFound(w, r)
		default:
			w.Header().Set("Content-Length", "1000000000")
		}
	}))
	defer server.Close()
	c := webdoc.New(httpclient.New(httpclient.Options{}), 0)
	for _, path := range []string{"/large", "/moved"} {
		doc, err := c.Get(t.Context(), webdoc.Request{URL: server.URL + path, Header: true})
		if err != nil {
			t.Fatal(err)
		}
		if doc.Header.Get("Link") == "" || doc.URL.Path != path || len(doc.Content) != 0 {
			t.Errorf("%s: got %+v", path, doc)
		}
	}
	if _, err := c.Get(t.Context(), webdoc.Request{URL: server.URL + "/none", Header: true}); !errors.Is(err, transport.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if got := strings.Join(asked, ", "); got != "HEAD /large, HEAD /moved, HEAD /none" {
		t.Errorf("asked %s", got)
	}
}

// What is kept is bounded in bytes; what was used last stays.
func TestKeptBytes(t *testing.T) {
	const size = 4 << 20
	var mu sync.Mutex
	asked := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.URL.Path]++
		mu.Unlock()
		_, _ = w.Write(make([]byte, size))
	}))
	defer server.Close()
	c := webdoc.New(httpclient.New(httpclient.Options{}), 0)
	get := func(path string) {
		t.Helper()
		if _, err := c.Get(t.Context(), webdoc.Request{URL: server.URL + path, Max: size}); err != nil {
			t.Fatal(err)
		}
	}
	before := heap()
	for i := range 2 * webdoc.MaxKeptBytes / size {
		get(fmt.Sprint("/", i))
		get("/0")
	}
	if grown := heap() - before; grown > webdoc.MaxKeptBytes+16<<20 {
		t.Errorf("%d bytes are kept, the limit is %d", grown, webdoc.MaxKeptBytes)
	}
	get("/1")
	if asked["/0"] != 1 || asked["/1"] != 2 {
		t.Errorf("asked %d times for what was wanted again and again, %d for what wasn't", asked["/0"], asked["/1"])
	}
	runtime.KeepAlive(c)
}

// heap returns how much of it is in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// So is the number of answers, those that there is nothing included.
func TestKeptAnswers(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.NotFound(w, r)
	}))
	defer server.Close()
	c := webdoc.New(httpclient.New(httpclient.Options{}), 0)
	get := func(path string) {
		if _, err := c.Get(t.Context(), webdoc.Request{URL: server.URL + path, Max: 1}); !errors.Is(err, transport.ErrNotFound) {
			t.Fatalf("%s: %v", path, err)
		}
	}
	for i := range webdoc.MaxKept + 1 {
		get(fmt.Sprint("/", i))
	}
	get(fmt.Sprint("/", webdoc.MaxKept))
	if n := asked.Load(); n != webdoc.MaxKept+1 {
		t.Errorf("asked %d times", n)
	}
	get("/0")
	if n := asked.Load(); n != webdoc.MaxKept+2 {
		t.Errorf("asked %d times: the oldest of more than %d answers is still kept", n, webdoc.MaxKept)
	}
}

// A document of the public network (its host has a name that a proxy knows)
// sends nobody inside (spec/security.md §4), wherever inside is.
func TestRedirectInside(t *testing.T) {
	trap := netclasstest.NewTrap(t)
	var to atomic.Value
	public := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, to.Load().(string), http.StatusFound)
	}))
	defer public.Close()
	proxy, err := realserver.StartProxy("", map[string]string{"public.example": public.Listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Stop()
	client := httpclient.New(httpclient.Options{CertDirs: []string{}, Proxy: func(r *http.Request) (*url.URL, error) {
		if r.URL.Hostname() != "public.example" {
			return nil, nil
		}
		return url.Parse(proxy.URL)
	}})
	defer client.CloseIdleConnections()
	for _, host := range netclasstest.Hosts(t, trap.Port) {
		t.Run(host.Name, func(t *testing.T) {
			to.Store("http://" + host.Host + "/doc")
			// Floor 0: the user named the document, and its host is trusted with
			// no more for that.
			_, err := webdoc.New(client, 0).Get(t.Context(), webdoc.Request{URL: "http://public.example/doc", Max: 10})
			if !errors.Is(err, transport.ErrRefused) || !strings.Contains(err.Error(), "may not send us there") {
				t.Errorf("got %v", err)
			}
		})
	}
	if n := trap.Came(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}
