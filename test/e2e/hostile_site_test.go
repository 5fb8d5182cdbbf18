package e2e

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/test/webhosts"
	"github.com/waybill-project/waybill/waybill"
)

// The hosts of the hostile documents' internet.
const (
	evilHost     = "evil.example"     // publishes the documents
	goodHost     = "good.example"     // has the image
	registryHost = "registry.example" // is a registry, where a test says so
	redirectHost = "redirect.example" // sends everybody elsewhere: /N/… to redirects[N]
)

// addressesOf are the names there are. Some answer with addresses within.
var addressesOf = map[string]string{
	evilHost: "11.0.0.1", "team." + evilHost: "11.0.0.1", "app." + evilHost: "11.0.0.1",
	goodHost:           "11.0.0.2",
	registryHost:       "11.0.0.4",
	redirectHost:       "11.0.0.3",
	"private.example":  "10.0.0.2",
	"metadata.example": "169.254.169.254",
	"loopback.example": "127.0.0.1",
	"nat64.example":    "64:ff9b::a00:2",
}

// redirects are where nobody on the internet may send anybody.
var redirects = []string{
	"https://10.0.0.1/", "https://169.254.169.254/latest/meta-data", "https://[::ffff:127.0.0.1]/", "https://private.example/",
	"http://" + goodHost + "/", "file:///etc/shadow", "https://user:hunter2@" + goodHost + "/",
}

// hostileSite is what evilHost serves besides the image.
type hostileSite struct {
	net *internet
	// small is the usual image, large one for documents that are only asked for
	// where a blob is large.
	small, large *image
	// pulled is what a pull brings in: the image, but for its manifest where
	// that is the document.
	pulled *image

	mu    sync.Mutex     // guards what is served
	image *image         // what goodHost has: small or large
	files webhosts.Files // by host and path
	// links are what evilHost says of files it hasn't got, by their path, when it is
	// asked for the header alone.
	links map[string][]string
}

// newHostileSite starts the internet, with more hosts; see [onInternet].
func newHostileSite(t *testing.T, more ...func(hosts map[string]http.Handler)) *hostileSite {
	t.Helper()
	s := &hostileSite{}
	files := func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		dir := s.image.Dir
		s.mu.Unlock()
		http.FileServer(http.Dir(dir)).ServeHTTP(w, r)
	}
	evil := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		content, there := s.files[r.Host+r.URL.RequestURI()]
		links := s.links[r.URL.Path]
		s.mu.Unlock()
		switch {
		case there:
			_, _ = io.WriteString(w, content)
		case r.Method == http.MethodHead && links != nil:
			w.Header()["Link"] = links
		default:
			files(w, r)
		}
	})
	hosts := map[string]http.Handler{
		evilHost: evil, "team." + evilHost: evil, "app." + evilHost: evil,
		goodHost: http.HandlerFunc(files),
		redirectHost: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", redirects[r.URL.Path[1]-'0'])
			w.WriteHeader(http.StatusFound)
		}),
	}
	for _, add := range more {
		add(hosts)
	}
	if s.net = onInternet(t, addressesOf, hosts); s.net == nil {
		return nil
	}
	s.small, s.large = randomImage(t, 50_000, 2<<20), randomImage(t, 17<<20)
	s.reset()
	s.net.works()
	return s
}

// reset takes back what was published.
func (s *hostileSite) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files, s.links = webhosts.Files{}, map[string][]string{}
	s.image, s.pulled = s.small, s.small
}

// billFor is a waybill that has those URIs for each of some blobs.
func (s *hostileSite) billFor(t *testing.T, digests []digest.Digest, uris []string) string {
	return string(billOf(t, s.image, "https://"+goodHost, func(d *waybill.Document) {
		d.Consignments = nil
		for _, blob := range digests {
			info, err := os.Stat(s.image.Path(blob))
			if err != nil {
				t.Fatal(err)
			}
			c := waybill.Consignment{Digest: blob, Size: info.Size()}
			for _, uri := range uris {
				c.Routes = append(c.Routes, waybill.Route{URI: strings.ReplaceAll(uri, "{layer}", blob.Encoded()), Priority: 1})
			}
			d.Consignments = append(d.Consignments, c)
		}
	}))
}

// layers are the digests of the image's layers.
func (s *hostileSite) layers() []digest.Digest {
	var all []digest.Digest
	for _, l := range s.image.layers {
		all = append(all, l.Digest)
	}
	return all
}

// trustRedirects has the user trust the host that redirects, so that only where
// it leads to is at fault.
func trustRedirects(u *user) { u.configure("[host.'" + redirectHost + "']\ntrusted = true\n") }

// wantPulled fails the test unless all of the image is in the store.
func (s *hostileSite) wantPulled(t *testing.T, u *user) {
	t.Helper()
	wantStored(t, u, s.pulled, s.pulled.desc.Digest)
	for _, l := range s.image.layers {
		wantStored(t, u, s.image, l.Digest)
	}
}

// put serves a document, at evilHost where the path begins with a slash.
func (s *hostileSite) put(path string, content any) {
	if path[0] == '/' {
		path = evilHost + path
	}
	text, ok := content.(string)
	if !ok {
		b, err := json.Marshal(content)
		if err != nil {
			panic(err)
		}
		text = string(b)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[path] = text
}

// engines are entries of oci-discovery.
func engines(protocol string, uris []string) []document {
	all := []document{}
	for _, uri := range uris {
		all = append(all, document{"protocol": protocol, "uri": uri})
	}
	return all
}

// index is the layout's, with more in it.
func (s *hostileSite) index(t *testing.T, more document) document {
	t.Helper()
	var index document
	readJSON(t, readFile(t, filepath.Join(s.image.Dir, "index.json")), &index)
	maps.Copy(index, more)
	return index
}

// goodIndex is where the image is, as an index.
const goodIndex = "https://" + goodHost + "/index.json"

// goodCAS is where its blobs are.
const goodCAS = "https://" + goodHost + "/blobs/{algorithm}/{encoded}"

func refEngines(refs []document, cas ...document) document {
	return document{"refEngines": refs, "casEngines": append([]document{}, cas...)}
}

// descriptor of parcel.
func templates(mediaType string, uris ...string) document {
	return document{"mediaType": mediaType, "templates": uris}
}

const (
	parcelDescriptor   = "application/vnd.parcel.template-descriptor.v0+json"
	parcelDistribution = "application/vnd.parcel.plain-distribution.v0+json"
	parcelOpaque       = "application/vnd.parcel.opaque.v0"
	parcelCAS          = "https://" + goodHost + "/blobs/{parcel.fetch.blob.algorithm}/{parcel.fetch.blob.digest}"
)

// parcel publishes team/app, with the templates of each stage.
func (s *hostileSite) parcel(start, index, blobs []string) {
	s.put("/.well-known/x-parcel", "v0.0.0\n")
	s.put("/.well-known/x-parcel.v0.0.0", templates(parcelDistribution, start...))
	s.put("/dist", document{
		"indexURIs": []any{templates(ocispec.MediaTypeImageIndex, index...)},
		"blobURIs":  []any{templates(parcelOpaque, blobs...)},
	})
}

// linked is an image whose layers are at evilHost as far as links go, and says how
// to pull it.
func (s *hostileSite) linked(t *testing.T, u *user, links func(digest.Digest) []string) []string {
	t.Helper()
	s.pulled = s.large
	said := map[string][]string{}
	for _, l := range s.large.layers {
		said["/linked/"+l.Digest.Encoded()] = links(l.Digest)
	}
	s.mu.Lock()
	s.image, s.links = s.large, said
	s.mu.Unlock()
	u.configure("[locate]\nmetalink = true\n")
	return []string{s.image.withoutLayers(t).name(), "--from", "https://" + evilHost + "/linked/{encoded}"}
}
