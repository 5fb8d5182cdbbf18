package httpclient_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
)

func startProxy(t *testing.T, hosts map[string]string) *realserver.Proxy {
	t.Helper()
	p, err := realserver.StartProxy("", hosts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

// clearProxies empties the proxy variables, so that only a test's own count.
func clearProxies(t *testing.T) {
	t.Helper()
	for _, v := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"} {
		t.Setenv(v, "")
	}
}

func TestProxiesFromTheEnvironment(t *testing.T) {
	clearProxies(t)
	plain := httptest.NewServer(http.HandlerFunc(hello))
	defer plain.Close()
	secure := mutualTLS(t, newCA(t), false)
	proxy := startProxy(t, map[string]string{
		"blobs.example":     strings.TrimPrefix(plain.URL, "http://"),
		"blobs.example:443": strings.TrimPrefix(secure.URL, "https://"),
	})
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("HTTPS_PROXY", proxy.URL)
	// A label of 64 bytes, which resolvers know not to exist without asking.
	direct := strings.Repeat("x", 64) + ".invalid"
	t.Setenv("NO_PROXY", direct)
	c := newClient(t, httpclient.Options{Insecure: func(string) bool { return true }})

	for _, url := range []string{"http://blobs.example/a", "https://blobs.example/b", plain.URL} {
		if _, err := get(c, httpclient.Request{URL: url, Authorization: "Bearer x"}); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	_, err := get(c, httpclient.Request{URL: "http://" + direct})
	checkKind(t, err, transport.ErrTemporary, "no such host")

	var asked []string
	for _, r := range proxy.Requests() {
		asked = append(asked, fmt.Sprintf("%s %s %v", r.Method, r.Host, r.Authorized))
	}
	// The Authorization of an https request goes through the tunnel, unseen.
	if got, want := strings.Join(asked, ", "), "GET blobs.example true, CONNECT blobs.example:443 false"; got != want {
		t.Errorf("the proxy was asked %q, want %q", got, want)
	}
}

func TestMalformedProxyIsNotShown(t *testing.T) {
	c := newClient(t, httpclient.Options{Proxy: func(*http.Request) (*url.URL, error) {
		// Put together here: a linter refuses a malformed constant.
		return url.Parse(strings.Join([]string{"http://ann:hunter2@proxy", "port"}, ":"))
	}})
	_, err := get(c, httpclient.Request{URL: "http://blobs.example/"})
	checkKind(t, err, transport.ErrPermanent, "malformed proxy address")
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error shows the password: %v", err)
	}
}

func TestProxyThatRefuses(t *testing.T) {
	tests := []struct {
		code int
		kind error
	}{
		{407, transport.ErrUnauthorized},
		{403, transport.ErrPermanent},
		{502, transport.ErrTemporary},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.code), func(t *testing.T) {
			clearProxies(t)
			proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(tt.code)
			}))
			defer proxy.Close()
			t.Setenv("HTTPS_PROXY", proxy.URL)
			_, err := get(newClient(t, httpclient.Options{}), httpclient.Request{URL: "https://blobs.example/"})
			checkKind(t, err, tt.kind, fmt.Sprintf("answered %d", tt.code))
		})
	}
}
