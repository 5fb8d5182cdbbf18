package registry_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/credentials"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/registry"
)

const artifactType = "application/x.wanted"

var (
	subject       = digest.FromString("image")
	referrersPath = "/v2/team/app/referrers/" + subject.String()
	referrersTag  = "/v2/team/app/manifests/" + strings.Replace(subject.String(), ":", "-", 1)
)

// referrer is an entry of a list.
func referrer(n int, of string) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(fmt.Sprint(n)), Size: 5, ArtifactType: of}
}

// serveIndex answers with a list of referrers.
func serveIndex(t *testing.T, w http.ResponseWriter, list ...ocispec.Descriptor) {
	t.Helper()
	w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
	if list == nil {
		list = []ocispec.Descriptor{}
	}
	b, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: list})
	if err != nil {
		t.Error(err)
	}
	_, _ = w.Write(b)
}

// referrers lists what a registry has, and the error that ended it.
func referrers(t *testing.T, c *registry.Client, f *fake) (all []digest.Digest, err error) {
	t.Helper()
	for d, e := range c.Referrers(t.Context(), "docker://"+f.host+"/team/app", subject, artifactType) {
		if err != nil {
			t.Errorf("%s after %v", d.Digest, err)
		}
		if err = e; e == nil {
			all = append(all, d.Digest)
		}
	}
	return all, err
}

// TestReferrers: lists of whatever a registry has come page by page, and of one
// type only.
func TestReferrers(t *testing.T) {
	f := newFake(t, func(_ *fake, w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("artifactType") != artifactType && r.URL.Query().Get("page") == "" {
			t.Errorf("asked %s", r.URL)
		}
		switch r.URL.Query().Get("page") {
		case "":
			w.Header().Add("Link", `</x>; rel="prev"`)
			w.Header().Add("Link", `<?page=2>; rel="next"`)
			serveIndex(t, w, referrer(1, artifactType), referrer(2, "application/x.other"))
		case "2":
			w.Header().Set("Link", "</x>; rel=prev, <"+referrersPath+"?page=3>; title=x; rel=next, </y>; rel=\"first\"")
			serveIndex(t, w)
		case "3":
			serveIndex(t, w, referrer(3, artifactType))
		}
	})
	all, err := referrers(t, fakeClient(t, registry.Options{}), f)
	if want := []digest.Digest{referrer(1, "").Digest, referrer(3, "").Digest}; err != nil || !slices.Equal(all, want) {
		t.Errorf("got %v, %v", all, err)
	}
	if asked := f.take(); len(asked) != 3 {
		t.Errorf("asked %q", asked)
	}
}

// TestReferrersTag: who has no API for it is asked for the tag, once.
func TestReferrersTag(t *testing.T) {
	for name, without := range map[string]http.HandlerFunc{
		"404":      http.NotFound,
		"405":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusMethodNotAllowed) },
		"501":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotImplemented) },
		"web page": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
	} {
		for _, tagged := range []bool{true, false} {
			t.Run(fmt.Sprint(name, " ", tagged), func(t *testing.T) {
				f := newFake(t, func(_ *fake, w http.ResponseWriter, r *http.Request) {
					switch {
					case r.URL.Path == referrersPath:
						without(w, r)
					case r.URL.Path == referrersTag && tagged:
						serveIndex(t, w, referrer(1, artifactType), referrer(2, "other"))
					default:
						http.NotFound(w, r)
					}
				})
				all, err := referrers(t, fakeClient(t, registry.Options{}), f)
				switch {
				case !tagged:
					checkKind(t, err, transport.ErrNotFound, "404")
				case err != nil || !slices.Equal(all, []digest.Digest{referrer(1, "").Digest}):
					t.Errorf("got %v, %v", all, err)
				}
				if asked := f.take(); len(asked) != 2 {
					t.Errorf("asked %q", asked)
				}
			})
		}
	}
}

// TestReferrersOfTheHostile: whatever a registry sends as a list ends, and what
// it sent before counts.
func TestReferrersOfTheHostile(t *testing.T) {
	elsewhere := newFake(t, func(_ *fake, w http.ResponseWriter, _ *http.Request) { serveIndex(t, w) })
	page := 0
	for name, tt := range map[string]struct {
		serve http.HandlerFunc
		kind  error
		says  string
		found int
		asked int
	}{
		"endless": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			for r.Context().Err() == nil {
				_, _ = w.Write(make([]byte, 1<<16))
			}
		}, transport.ErrPermanent, "larger than 8 MiB", 0, 1},
		"10 MB of JSON": {func(w http.ResponseWriter, _ *http.Request) {
			serveIndex(t, w, slices.Repeat([]ocispec.Descriptor{referrer(1, artifactType)}, 50_000)...)
		}, transport.ErrPermanent, "larger than 8 MiB", 0, 1},
		"a circle": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", fmt.Sprintf(`<?page=%d>; rel="next"`, len(r.URL.Query().Get("page"))%2))
			serveIndex(t, w, referrer(1, artifactType))
		}, transport.ErrPermanent, "in a circle", 3, 3},
		"pages without end": {func(w http.ResponseWriter, _ *http.Request) {
			page++
			w.Header().Set("Link", fmt.Sprintf(`<?page=%d>; rel="next"`, page))
			serveIndex(t, w, referrer(page, artifactType))
		}, transport.ErrPermanent, "more than 16 pages", 16, 16},
		"goes on elsewhere": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "<"+elsewhere.URL+`/next>; rel="next"`)
			serveIndex(t, w, referrer(1, artifactType))
		}, transport.ErrRefused, "goes on elsewhere", 0, 1},
		"not an index": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			_, _ = io.WriteString(w, `{"schemaVersion":2,"manifests":{}}`)
		}, transport.ErrPermanent, "list of referrers", 0, 1},
		"a digest that is a path": {func(w http.ResponseWriter, _ *http.Request) {
			d := referrer(1, artifactType)
			d.Digest = "sha256:../../x"
			serveIndex(t, w, d)
		}, transport.ErrPermanent, "list of referrers", 0, 1},
		"down": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
		}, transport.ErrTemporary, "502", 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, func(_ *fake, w http.ResponseWriter, r *http.Request) { tt.serve(w, r) })
			all, err := referrers(t, fakeClient(t, registry.Options{}), f)
			checkKind(t, err, tt.kind, tt.says)
			if asked := f.take(); len(all) != tt.found || len(asked) != tt.asked {
				t.Errorf("found %d, want %d, asking %q", len(all), tt.found, asked)
			}
			elsewhere.check(t, "another host")
		})
	}
}

// TestReferrersStop: who has seen enough has no further page asked for.
func TestReferrersStop(t *testing.T) {
	f := newFake(t, func(_ *fake, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", `<?page=2>; rel="next"`)
		serveIndex(t, w, referrer(1, artifactType), referrer(2, artifactType))
	})
	for range fakeClient(t, registry.Options{}).Referrers(t.Context(), "docker://"+f.host+"/team/app", subject, artifactType) {
		break
	}
	if asked := f.take(); len(asked) != 1 {
		t.Errorf("asked %q", asked)
	}
}

// TestReferrersOfAMirror: a place is asked as its URI says, with its login.
func TestReferrersOfAMirror(t *testing.T) {
	f := newFake(t, func(_ *fake, w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); !ok {
			challenge(w, `Basic realm="r"`)
			return
		}
		serveIndex(t, w, referrer(1, artifactType))
	})
	c := fakeClient(t, registry.Options{Credentials: one{host: f.host, Credential: credentials.Credential{Username: "ann", Password: "s3cret"}}})
	uri := registry.Place{Host: f.host, NS: "docker.io", Base: "/us/v2"}.URI("team/app")
	for d, err := range c.Referrers(t.Context(), uri, subject, artifactType) {
		if err != nil || d.Digest != referrer(1, "").Digest {
			t.Errorf("%+v, %v", d, err)
		}
	}
	path := "GET /us" + referrersPath + "?ns=docker.io&artifactType=application%2Fx.wanted"
	f.check(t, "the mirror", path, path+" Basic YW5uOnMzY3JldA==")
	for _, bad := range []digest.Digest{"", "sha256:../x"} {
		for _, err := range c.Referrers(t.Context(), uri, bad, artifactType) {
			checkKind(t, err, transport.ErrPermanent, "digest")
		}
	}
	f.check(t, "the mirror")
}

// TestRead: content is whole and right, or it isn't given out.
func TestRead(t *testing.T) {
	f := newFake(t, func(_ *fake, w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case helloPath, "/v2/team/app/manifests/" + hello.Digest.String():
			serveHello(w, r)
		case "/v2/team/app/blobs/" + subject.String():
			_, _ = io.WriteString(w, "other")
		default:
			http.NotFound(w, r)
		}
	})
	c := fakeClient(t, registry.Options{})
	manifest := hello
	manifest.MediaType = ocispec.MediaTypeImageManifest
	for _, d := range []ocispec.Descriptor{hello, manifest} {
		content, from, err := c.Read(t.Context(), "docker://"+f.host+"/team/app", d)
		if err != nil || string(content) != "hello" || from.Host != f.host || !strings.HasSuffix(from.Path, hello.Digest.String()) {
			t.Errorf("%q from %v, %v", content, from, err)
		}
	}
	for says, d := range map[string]ocispec.Descriptor{
		"sent bytes of digest": {Digest: subject, Size: 5},
		"7":                    {Digest: hello.Digest, Size: 7},
		"up to":                {Digest: hello.Digest, Size: registry.MaxManifest + 1},
		"up to ":               {Digest: hello.Digest, Size: -1},
	} {
		_, _, err := c.Read(t.Context(), "docker://"+f.host+"/team/app", d)
		checkKind(t, err, transport.ErrPermanent, says)
	}
}
