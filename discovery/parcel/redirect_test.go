package parcel_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery/parcel"
	"github.com/waybill-project/waybill/test/webhosts"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/netclass"
	"github.com/waybill-project/waybill/webdoc"
)

// A distribution that was had from this network by a redirect within it leads to
// what is at its own origin, and nowhere else in this network.
func TestRedirectedWithinANetwork(t *testing.T) {
	second := httptest.NewTLSServer(webhosts.Files{
		"/dist":  indexEntry + `"blobURIs":[{"mediaType":"application/vnd.parcel.opaque.v0","templates":["b/{parcel.fetch.blob.digest}","https://127.0.0.1:1/{parcel.fetch.blob.digest}"]}]}`,
		"/index": `{"schemaVersion":2,"manifests":[]}`,
	})
	t.Cleanup(second.Close)
	first := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/.well-known/x-parcel.v0.0.0":
			_, _ = w.Write([]byte(`{"mediaType":"` + parcel.MediaTypeDistribution + `","templates":["dist"]}`))
		case "/dist":
			http.Redirect(w, r, second.URL+"/dist", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(first.Close)
	client := httpclient.New(httpclient.Options{CertDirs: []string{}, Insecure: func(string) bool { return true }})
	t.Cleanup(client.CloseIdleConnections)
	img, err := parcel.New(parcel.Options{Docs: webdoc.New(client, 0)}).
		Resolve(t.Context(), parcel.Name{Authority: first.Listener.Addr().String(), Path: "x"})
	if err != nil {
		t.Fatal(err)
	}
	var floors []netclass.Class
	for r, err := range img.Distribution.Locator().Locate(t.Context(), ocispec.Descriptor{Digest: digest.FromString("")}) {
		if err != nil {
			t.Fatal(err)
		}
		floors = append(floors, r.Remote.Floor())
	}
	if !slices.Equal(floors, []netclass.Class{netclass.Loopback, netclass.Public}) {
		t.Errorf("the places may be in networks of %v", floors)
	}
}
