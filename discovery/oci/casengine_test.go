package oci_test

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery/oci"
)

// casVector is one of spec/vectors/oci-discovery/casengine.json.
type casVector struct {
	Template, Base, What, Error string
	// Published is the URL that the publication has there, URL ours where that
	// is written otherwise.
	Published, URL string
	// Digest, where set, is asked for in place of the empty blob's.
	Digest digest.Digest
}

// TestCASEngineVectors: the templates that wking/casengine is tested with lead to
// the same places here, and blobs that lie there on a web server, as files, are
// read over https; or to none, and the error says why.
func TestCASEngineVectors(t *testing.T) {
	content, err := os.ReadFile("../../spec/vectors/oci-discovery/casengine.json")
	must(t, err)
	var vectors []casVector
	must(t, json.Unmarshal(content, &vectors))

	hosts := []string{"example.com", "a.example.com"}
	root := t.TempDir()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.FileServer(http.Dir(filepath.Join(root, r.Host))).ServeHTTP(w, r)
	}))
	cert, authority := certificate(t, hosts)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	server.StartTLS()
	t.Cleanup(server.Close)
	w := &world{certs: t.TempDir()}
	w.at(t, server.Listener.Addr().String(), authority, hosts...)

	for _, v := range vectors {
		t.Run(v.Template+" of "+v.Base, func(t *testing.T) {
			if v.Digest == "" {
				v.Digest = digest.FromString("")
			}
			got, err := v.place(t, v.Digest)
			if v.Error != "" {
				if err == nil || !strings.Contains(err.Error(), v.Error) {
					t.Fatalf("got %s, %v; want an error with %q", got, err, v.Error)
				}
				return
			}
			must(t, err)
			want := v.URL
			if want == "" {
				want = v.Published
			}
			if got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			const hello = "Hello, World!"
			desc := ocispec.Descriptor{Digest: digest.FromString(hello), Size: int64(len(hello))}
			// Where the publication would look for it.
			published, err := url.Parse(strings.NewReplacer(v.Digest.Encoded(), desc.Digest.Encoded(), "/"+v.Digest.Encoded()[:2]+"/", "/"+desc.Digest.Encoded()[:2]+"/").Replace(v.Published))
			must(t, err)
			write(t, filepath.Join(root, published.Host, filepath.FromSlash(published.Path)), hello)
			body, err := w.blob(t.Context(), []oci.Engine{v.engine(t)}, desc)
			if err != nil || string(body) != hello {
				t.Errorf("read %q, %v", body, err)
			}
		})
	}
}

func (v casVector) engine(t *testing.T) oci.Engine {
	e := oci.Engine{Protocol: oci.ProtocolCASTemplate, Template: v.Template, From: "casengine", Remote: true}
	if v.Base != "" {
		e.Base = mustURL(t, v.Base)
	}
	return e
}

// place is where the blob with a digest is by the vector's template.
func (v casVector) place(t *testing.T, d digest.Digest) (string, error) {
	l, err := v.engine(t).Locator("test")
	if err != nil {
		return "", err
	}
	for route, err := range l.Locate(t.Context(), ocispec.Descriptor{Digest: d}) {
		return route.URI, err
	}
	return "", nil
}
