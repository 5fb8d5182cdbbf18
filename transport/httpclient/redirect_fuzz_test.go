package httpclient

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/transport/netclass"
)

// FuzzRedirectTarget: whatever a Location is, it is refused or leads to a URL that
// is absolute, of an allowed scheme, without credentials, and of a host that is
// judged as it will be looked up.
func FuzzRedirectTarget(f *testing.F) {
	for _, s := range []string{"/b?x", "//h/b", "http://h/", "https://u:p@h/", "file:///etc/shadow", "https://%EF%BC%91%EF%BC%92%EF%BC%97.0.0.1:1/", "https://[fe80::1%25lo]:443/", "?", "https://h..:0/", "https://localhost%E3%80%82"} {
		f.Add(s)
	}
	origin, err := url.Parse("https://registry.example/v2/a")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, location string) {
		resp := &http.Response{StatusCode: http.StatusFound, Header: http.Header{"Location": {location}}}
		u, err := redirectTarget(&Request{}, resp, origin, 0)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("%q: %q", location, err)
			}
			return
		}
		if u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
			t.Errorf("%q leads to %v", location, u)
		}
		if strings.ContainsFunc(u.Host, func(r rune) bool { return r > '~' }) {
			t.Errorf("%q leads to host %q", location, u.Host)
		}
		again, err := parse(u.String())
		if err != nil || again.Host != u.Host {
			t.Errorf("%q leads to %v, which is read as %v, %v", location, u, again, err)
		}
		a, knownA := netclass.OfHost(u.Hostname())
		if b, knownB := netclass.OfHost(u.Hostname() + "."); u.Hostname() != "" && (a != b || knownA != knownB) && !strings.ContainsAny(u.Hostname(), ":%") {
			t.Errorf("%q: a dot at the end makes %v of %v", location, b, a)
		}
	})
}
