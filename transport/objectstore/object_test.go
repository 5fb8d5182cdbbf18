package objectstore_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/objectstore"
)

func TestURL(t *testing.T) {
	tests := []struct{ path, name, want string }{
		{"", "oci-layout", "https://s/b/oci-layout"},
		{"/", "oci-layout", "https://s/b/oci-layout"},
		{"/images/app/", "blobs/sha256/ab", "https://s/b/images/app/blobs/sha256/ab"},
		{"/a b/ü?#%/+", "f", "https://s/b/a%20b/%C3%BC%3F%23%25/+/f"},
		{"/a//b", "f", "https://s/b/a//b/f"},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			prefix, err := objectstore.Prefix(tt.path)
			if got := objectstore.URL("https://s", "b", objectstore.Key(prefix, tt.name)); err != nil || got != tt.want {
				t.Errorf("got %s, %v; want %s", got, err, tt.want)
			}
		})
	}
}

func TestPrefixesThatCannotBeSent(t *testing.T) {
	for _, path := range []string{"/..", "/a/../b", "/./a", "/a/.", "/a\x00b", "/a\nb", "/\xff", "/" + strings.Repeat("a", 1025)} {
		if got, err := objectstore.Prefix(path); err == nil {
			t.Errorf("Prefix(%.20q) = %q", path, got)
		}
	}
}

func TestEndpoint(t *testing.T) {
	tests := []struct{ in, want string }{
		{"https://Storage.Example/", "https://storage.example"},
		{"http://127.0.0.1:10000/devstoreaccount1/", "http://127.0.0.1:10000/devstoreaccount1"},
		{"http://[::1]:4443", "http://[::1]:4443"},
		{"storage.example", ""},
		{"ftp://storage.example", ""},
		{"https://", ""},
		{"https://:443", ""},
		{"https://ann:pw@storage.example", ""},
		{"https://storage.example?sig=x", ""},
		{"https://storage.example?", ""},
		{"https://storage.example#x", ""},
		{"https://stor age", ""},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			got, err := objectstore.Endpoint(tt.in)
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func FuzzEndpoint(f *testing.F) {
	f.Add("https://Storage.Example/")
	f.Add("http://[::1]:4443/a")
	f.Fuzz(func(t *testing.T, s string) {
		e, err := objectstore.Endpoint(s)
		if err != nil {
			return
		}
		again, err := objectstore.Endpoint(e)
		if err != nil || again != e {
			t.Errorf("%q is %q, which is %q, %v", s, e, again, err)
		}
		if _, err := url.Parse(objectstore.URL(e, "b", "k")); err != nil {
			t.Errorf("%q: %v", e, err)
		}
	})
}

func TestShown(t *testing.T) {
	tests := []struct{ in, want string }{
		{"gs://bucket/p", "gs://bucket/p"},
		{"gs://bucket/p?sig=hunter2", "gs://bucket/p?…"},
		{"gs://ann:hunter2@bucket/p?x", "gs://ann:xxxxx@bucket/p?…"},
		{"gs://bucket/p#hunter2?", "gs://bucket/p"},
		{"gs://bucket/\x1b[31m\n", "gs://bucket/[31m"},
		{"gs://ann:hunter2%@bucket", "gs://xxxxx@bucket"},
	}
	for _, tt := range tests {
		if got := objectstore.Shown(tt.in); got != tt.want {
			t.Errorf("Shown(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestSize(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/coded":
			w.Header().Set("Content-Encoding", "gzip")
		case "/silent":
			w.Header().Set("Transfer-Encoding", "chunked")
			return
		case "/missing":
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Length", "123")
		w.Header().Set("X-Asked", r.Method+" "+r.Header.Get("Accept-Encoding")+" "+r.Header.Get("X-Mine"))
	}))
	defer server.Close()
	client := httpclient.New(httpclient.Options{CertDirs: []string{}})
	defer client.CloseIdleConnections()
	tests := []struct {
		path string
		size int64
		kind error
	}{
		{"/o", 123, nil},
		{"/coded", 0, transport.ErrPermanent},
		{"/silent", 0, transport.ErrPermanent},
		{"/missing", 0, transport.ErrNotFound},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			mine := http.Header{"X-Mine": {"mine"}}
			size, header, err := objectstore.Size(context.Background(), client, httpclient.Request{URL: server.URL + tt.path, Header: mine})
			if size != tt.size || !errors.Is(err, tt.kind) {
				t.Errorf("got %d, %v; want %d, %v", size, err, tt.size, tt.kind)
			}
			if want := "HEAD identity mine"; tt.kind == nil && header.Get("X-Asked") != want {
				t.Errorf("asked %q, want %q", header.Get("X-Asked"), want)
			}
			if len(mine) != 1 {
				t.Errorf("the header given was changed: %v", mine)
			}
		})
	}
}
