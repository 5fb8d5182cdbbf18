package httpclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/netclass"
)

func newClient(t *testing.T, options httpclient.Options) *httpclient.Client {
	t.Helper()
	if options.CertDirs == nil {
		options.CertDirs = []string{}
	}
	c := httpclient.New(options)
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// get makes a GET and returns the body.
func get(c *httpclient.Client, r httpclient.Request) (string, error) {
	resp, err := c.Do(context.Background(), &r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func checkKind(t *testing.T, err, kind error, text string) {
	t.Helper()
	var te *transport.Error
	if !errors.As(err, &te) || te.Kind != kind {
		t.Fatalf("error %v, want kind %q", err, kind)
	}
	if !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %q does not say %q in one line", err, text)
	}
}

// recorder is a server that keeps the Authorization of every request.
type recorder struct {
	*httptest.Server
	authorizations []string
}

func record(t *testing.T, handler http.HandlerFunc) *recorder {
	t.Helper()
	r := &recorder{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.authorizations = append(r.authorizations, q.Header.Get("Authorization"))
		handler(w, q)
	}))
	t.Cleanup(r.Close)
	return r
}

func redirectTo(location string, code int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "session=secret; Path=/")
		w.Header().Set("Location", location)
		w.WriteHeader(code)
	}
}

func hello(w http.ResponseWriter, r *http.Request) {
	_, _ = fmt.Fprintf(w, "hello cookie=%q referer=%q range=%q", r.Header.Get("Cookie"), r.Referer(), r.Header.Get("Range"))
}

func TestAuthorizationStaysWithItsOrigin(t *testing.T) {
	for _, code := range []int{301, 302, 303, 307, 308} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			storage := record(t, hello)
			origin := record(t, nil)
			origin.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				origin.authorizations = append(origin.authorizations, r.Header.Get("Authorization"))
				if r.URL.Path == "/v2" {
					redirectTo("/moved", code)(w, r)
					return
				}
				redirectTo(storage.URL+"/blob?signature=x", code)(w, r)
			})
			body, err := get(newClient(t, httpclient.Options{}), httpclient.Request{
				URL: origin.URL + "/v2", Authorization: "Bearer secret", Header: http.Header{"Range": {"bytes=0-1"}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if want := `hello cookie="" referer="" range="bytes=0-1"`; body != want {
				t.Errorf("storage answered %q, want %q", body, want)
			}
			if got := fmt.Sprint(origin.authorizations); got != "[Bearer secret Bearer secret]" {
				t.Errorf("origin was sent %v", got)
			}
			if got := fmt.Sprintf("%q", storage.authorizations); got != `[""]` {
				t.Errorf("storage was sent Authorization %v", got)
			}
		})
	}
}

func TestAuthorizationDoesNotComeBack(t *testing.T) {
	var origin *recorder
	elsewhere := record(t, func(w http.ResponseWriter, r *http.Request) {
		redirectTo(origin.URL+"/back", 307)(w, r)
	})
	origin = record(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/back" {
			hello(w, r)
			return
		}
		redirectTo(elsewhere.URL, 307)(w, r)
	})
	if _, err := get(newClient(t, httpclient.Options{}), httpclient.Request{URL: origin.URL, Authorization: "Basic c2VjcmV0"}); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%q", origin.authorizations); got != `["Basic c2VjcmV0" ""]` {
		t.Errorf("origin was sent %v", got)
	}
}

func TestRedirectsRefused(t *testing.T) {
	tests := []struct {
		name     string
		location string
		code     int
		method   string
		kind     error
		text     string
	}{
		{"no Location", "", 302, "GET", transport.ErrPermanent, "without saying where"},
		{"malformed", "http://[::1", 302, "GET", transport.ErrPermanent, "malformed URL"},
		{"other scheme", "file:///etc/passwd", 302, "GET", transport.ErrPermanent, `scheme "file"`},
		{"credentials", "http://user:hunter2@127.0.0.1/", 302, "GET", transport.ErrRefused, "credentials in the URL"},
		{"too long", "/" + strings.Repeat("x", 17<<10), 302, "GET", transport.ErrPermanent, "more than 16384 bytes"},
		{"multiple choices", "/x", 300, "GET", transport.ErrPermanent, "answered 300"},
		{"use proxy", "http://127.0.0.1:1/", 305, "GET", transport.ErrPermanent, "answered 305"},
		{"POST", "/x", 307, "POST", transport.ErrPermanent, "redirects a POST"},
	}
	c := newClient(t, httpclient.Options{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := record(t, redirectTo(tt.location, tt.code))
			_, err := get(c, httpclient.Request{Method: tt.method, URL: srv.URL, Body: "secret=1"})
			checkKind(t, err, tt.kind, tt.text)
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error shows the password: %v", err)
			}
			if len(srv.authorizations) != 1 {
				t.Errorf("%d requests, want 1", len(srv.authorizations))
			}
		})
	}
}

func TestHTTPSIsNeverLeftForHTTP(t *testing.T) {
	plain := record(t, hello)
	secure := httptest.NewTLSServer(redirectTo(plain.URL, 307))
	defer secure.Close()
	c := newClient(t, httpclient.Options{Insecure: func(string) bool { return true }})
	_, err := get(c, httpclient.Request{URL: secure.URL})
	checkKind(t, err, transport.ErrRefused, "redirects from https to http://")
	if len(plain.authorizations) != 0 {
		t.Error("the http server was asked")
	}
}

// TestRedirectsIntoNarrowerNetworks has a server with a public name (known to
// a proxy only, which is what makes it possible here) redirect to this machine.
func TestRedirectsIntoNarrowerNetworks(t *testing.T) {
	inside := record(t, hello)
	port := inside.URL[strings.LastIndexByte(inside.URL, ':')+1:]
	tests := []struct {
		name    string
		target  string
		refused bool
		trusted bool
	}{
		{"loopback address", "http://127.0.0.1:" + port, true, false},
		{"name of a loopback address", "http://localhost:" + port, true, false},
		{"mapped address", "http://[::ffff:127.0.0.1]:" + port, true, false},
		{"unspecified address", "http://0.0.0.0:" + port, true, false},
		{"configured as trusted", "http://127.0.0.1:" + port, false, true},
		{"address behind the proxy", "http://169.254.169.254/latest/meta-data", true, false},
		{"the same in digits that aren't ASCII", "http://%EF%BC%91%EF%BC%96%EF%BC%99.254.169.254/latest/meta-data", true, false},
		{"localhost with a stop that isn't ASCII", "http://localhost%E3%80%82:1/", true, false},
		{"address with more dots", "http://127.0.0.1..:1/", true, false},
		{"name of a network that isn't the internet", "http://metadata.google.internal/", true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inside.authorizations = nil
			var proxied []string
			proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				proxied = append(proxied, r.URL.Host)
				redirectTo(tt.target, 307)(w, r)
			}))
			defer proxy.Close()
			proxyURL, err := url.Parse(proxy.URL)
			if err != nil {
				t.Fatal(err)
			}
			c := newClient(t, httpclient.Options{
				Proxy: func(r *http.Request) (*url.URL, error) {
					if strings.HasSuffix(r.URL.Host, ":"+port) {
						return nil, nil
					}
					return proxyURL, nil
				},
				Trusted: func(host string) bool { return tt.trusted && host == "127.0.0.1:"+port },
			})
			_, err = get(c, httpclient.Request{URL: "http://registry.example/v2/"})
			if got := fmt.Sprint(proxied); got != "[registry.example]" {
				t.Errorf("the proxy was asked for %v", got)
			}
			if !tt.refused {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			checkKind(t, err, transport.ErrRefused, "a public network may not send us there")
			if len(inside.authorizations) != 0 {
				t.Error("the inner server was asked")
			}
		})
	}
}

// A network that is trusted may be named by anybody, and no other.
func TestTrustedNetworks(t *testing.T) {
	srv := record(t, hello)
	c := newClient(t, httpclient.Options{TrustedNetworks: netclass.Networks{netip.MustParsePrefix("127.0.0.0/30")}})
	if _, err := get(c, httpclient.Request{URL: srv.URL, Floor: netclass.Public}); err != nil {
		t.Error(err)
	}
	_, err := get(c, httpclient.Request{URL: strings.Replace(srv.URL, "127.0.0.1", "127.0.0.4", 1), Floor: netclass.Public})
	checkKind(t, err, transport.ErrRefused, "127.0.0.4")

	proxy := startProxy(t, map[string]string{"10.0.0.1": strings.TrimPrefix(srv.URL, "http://")})
	proxyURL, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	c = newClient(t, httpclient.Options{
		Proxy:           func(*http.Request) (*url.URL, error) { return proxyURL, nil },
		TrustedNetworks: netclass.Networks{netip.MustParsePrefix("10.0.0.0/31")},
	})
	if _, err := get(c, httpclient.Request{URL: "http://10.0.0.1/", Floor: netclass.Public}); err != nil {
		t.Error(err)
	}
	_, err = get(c, httpclient.Request{URL: "http://10.0.0.2/", Floor: netclass.Public})
	checkKind(t, err, transport.ErrRefused, "10.0.0.2")
}

// A host is what it is looked up as: credentials stay with it however it is spelt,
// and one that can't be looked up isn't asked for.
func TestHostsThatAreNotASCII(t *testing.T) {
	srv := record(t, hello)
	origin := record(t, redirectTo(strings.Replace(srv.URL, "127.0.0.1", "%EF%BC%91%EF%BC%92%EF%BC%97.0.0.1", 1), 307))
	resp, err := newClient(t, httpclient.Options{}).Do(context.Background(), &httpclient.Request{URL: origin.URL})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.URL.String() != srv.URL {
		t.Errorf("came from %v, want %s", resp.URL, srv.URL)
	}
	_, err = get(newClient(t, httpclient.Options{}), httpclient.Request{URL: "http://\u202eexample/"})
	checkKind(t, err, transport.ErrPermanent, "no name that can be looked up")
}

func TestPooledConnectionsKeepTheirFloor(t *testing.T) {
	srv := record(t, hello)
	c := newClient(t, httpclient.Options{})
	if _, err := get(c, httpclient.Request{URL: srv.URL}); err != nil {
		t.Fatal(err)
	}
	// A connection to the server is idle now, and must not serve this.
	_, err := get(c, httpclient.Request{URL: srv.URL, Floor: netclass.Private})
	checkKind(t, err, transport.ErrRefused, "loopback")
	if n := len(srv.authorizations); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

func TestResponseSaysWhereItCameFrom(t *testing.T) {
	storage := record(t, hello)
	origin := record(t, redirectTo(storage.URL+"/b?X-Signature=secret", 307))
	c := newClient(t, httpclient.Options{})
	resp, err := c.Do(context.Background(), &httpclient.Request{URL: origin.URL})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.Redirects != 1 || resp.URL.String() != storage.URL+"/b?X-Signature=secret" || resp.Floor != netclass.Loopback || resp.Class != netclass.Loopback {
		t.Errorf("Response has %d redirects, URL %v, floor %v, class %v", resp.Redirects, resp.URL, resp.Floor, resp.Class)
	}
	if want := storage.URL + "/b?…"; resp.ShownURL() != want {
		t.Errorf("ShownURL = %q, want %q", resp.ShownURL(), want)
	}
}
