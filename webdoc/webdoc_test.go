package webdoc_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/netclass"
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
