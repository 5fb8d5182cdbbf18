package registry

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/waybill-project/waybill/transport/httpclient"
)

// Whatever a registry says the next page is, it is at the same registry.
func FuzzNextPage(f *testing.F) {
	f.Add(`</v2/a/referrers/sha256:00?n=1>; rel="next"`)
	f.Add(`<https://elsewhere.example/>; rel=next, <x>; rel=prev`)
	f.Add(`<//ann:pw@registry.example/x>;rel=next`)
	f.Fuzz(func(t *testing.T, link string) {
		const base = "https://registry.example"
		at, err := url.Parse(base + "/v2/a/referrers/sha256:00")
		if err != nil {
			t.Fatal(err)
		}
		resp := &httpclient.Response{Response: &http.Response{Header: http.Header{"Link": {link}}}, URL: at}
		path, err := nextPage(resp)
		if err != nil || path == "" {
			return
		}
		if next, err := url.Parse(base + path); err != nil || next.Host != at.Host || next.User != nil {
			t.Errorf("%q leads to %q: %v", link, path, err)
		}
	})
}
