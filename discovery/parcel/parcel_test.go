package parcel_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery"
	"github.com/waybill-project/waybill/discovery/parcel"
	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/test/webhosts"
	"github.com/waybill-project/waybill/transport/netclass"
)

// vectors reads a file of spec/vectors/parcel.
func vectors[T any](t *testing.T, file string) []T {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("../../spec/vectors/parcel", file))
	if err != nil {
		t.Fatal(err)
	}
	var all []T
	if err := json.Unmarshal(content, &all); err != nil || len(all) == 0 {
		t.Fatalf("%s: %d vectors, %v", file, len(all), err)
	}
	return all
}

func TestNames(t *testing.T) {
	for _, v := range vectors[struct{ Name, Authority, Path, Error string }](t, "names.json") {
		got, err := parcel.Parse(v.Name)
		if v.Error != "" {
			if err == nil || !strings.Contains(err.Error(), v.Error) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%q: got %+v, %v; want an error with %q", v.Name, got, err, v.Error)
			}
			continue
		}
		if err != nil || got != (parcel.Name{Authority: v.Authority, Path: v.Path}) || got.String() != v.Name {
			t.Errorf("%q: got %+v, %v", v.Name, got, err)
		}
	}
	if _, err := parcel.Parse("h/" + strings.Repeat("x", parcel.MaxName)); err == nil || !strings.Contains(err.Error(), "limit is 1024") {
		t.Errorf("a long name: %v", err)
	}
}

func TestVersions(t *testing.T) {
	for _, v := range vectors[struct{ List, Version, Error string }](t, "versions.json") {
		got, err := parcel.ParseVersions([]byte(v.List))
		if got != v.Version || (err != nil) != (v.Error != "") || err != nil && !strings.Contains(err.Error(), v.Error) {
			t.Errorf("%q: got %q, %v", v.List, got, err)
		}
	}
	for list, says := range map[string]string{
		strings.Repeat("v1.0.0\n", 1001): "more than 1000 versions",
		strings.Repeat("\n", 64<<10+1):   "limit is 65536",
	} {
		if _, err := parcel.ParseVersions([]byte(list)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %s", err, says)
		}
	}
}

// notes collects what a client tells.
type notes struct {
	mu  sync.Mutex
	all []string
}

func (n *notes) add(note discovery.Note) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, note.Where+": "+note.Text)
}

func (n *notes) has(text string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.all, func(s string) bool { return strings.Contains(s, text) })
}

type blobVector struct {
	MediaType string
	Digest    digest.Digest
	Routes    []string
	Error     string
}

type walkVector struct {
	Name, Parcel, Index, Error string
	Notes                      []string
	Blobs                      []blobVector
	Files                      map[string]string
}

// hosts spreads files over their hosts. Those that only stand in documents
// don't exist.
func (v walkVector) hosts(t *testing.T) map[string]http.Handler {
	t.Helper()
	byHost := map[string]http.Handler{"opensuse.org": webhosts.Files{}, "mirror.cyphar.com": webhosts.Files{}}
	for uri, content := range v.Files {
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		if byHost[u.Host] == nil {
			byHost[u.Host] = webhosts.Files{}
		}
		byHost[u.Host].(webhosts.Files)[u.RequestURI()] = content
	}
	return byHost
}

func TestWalks(t *testing.T) {
	for _, v := range vectors[walkVector](t, "walks.json") {
		t.Run(v.Name, func(t *testing.T) {
			site := webhosts.Start(t, v.hosts(t))
			var told notes
			c := parcel.New(parcel.Options{Docs: site.Docs, Note: told.add})
			n, err := parcel.Parse(v.Parcel)
			if err != nil {
				t.Fatal(err)
			}
			img, err := c.Resolve(t.Context(), n)
			v.checkImage(t, img, err)
			for _, blob := range v.Blobs {
				blob.check(t, img.Distribution)
			}
			for _, want := range v.Notes {
				if !told.has(want) {
					t.Errorf("nothing noted about %q:\n%s", want, strings.Join(told.all, "\n"))
				}
			}
		})
	}
}

func (v walkVector) checkImage(t *testing.T, img *parcel.Image, err error) {
	t.Helper()
	if v.Error != "" {
		if err == nil || !strings.Contains(err.Error(), v.Error) || strings.Contains(err.Error(), "\n") {
			t.Fatalf("got %v; want an error with %q", err, v.Error)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	content := v.Files[v.Index]
	want := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromString(content), Size: int64(len(content))}
	if img.Descriptor.Digest != want.Digest || img.Descriptor.Size != want.Size || img.Descriptor.MediaType != want.MediaType {
		t.Errorf("got %+v, want %+v", img.Descriptor, want)
	}
	if img.By.URI != v.Index || img.By.Resolver != "parcel" || img.By.Time.IsZero() {
		t.Errorf("said by %+v, want %s", img.By, v.Index)
	}
	if len(img.Index.Manifests) != 1 || string(img.Content) != content {
		t.Errorf("the index has %d entries", len(img.Index.Manifests))
	}
}

func (b blobVector) check(t *testing.T, d *parcel.Distribution) {
	t.Helper()
	got := []string{}
	said := ""
	for r, err := range d.Locator().Locate(t.Context(), ocispec.Descriptor{MediaType: b.MediaType, Digest: b.Digest}) {
		if err != nil {
			said = err.Error()
			continue
		}
		got = append(got, r.URI)
		if !strings.HasPrefix(r.Origin, "parcel https://") || r.Source == "" || strings.Contains(r.Source, b.Digest.Encoded()) {
			t.Errorf("route %+v", r)
		}
	}
	if !slices.Equal(got, b.Routes) {
		t.Errorf("%q: got %q\nwant %q", b.MediaType, got, b.Routes)
	}
	if (said == "") != (b.Error == "") || !strings.Contains(said, b.Error) {
		t.Errorf("%q: said %q, want %q", b.MediaType, said, b.Error)
	}
}

// serve starts a site whose distribution is the given one, and resolves it.
func serve(t *testing.T, distribution string, told *notes) *parcel.Image {
	t.Helper()
	site := webhosts.Start(t, map[string]http.Handler{"example.com": webhosts.Files{
		"/.well-known/x-parcel.v0.0.0": `{"mediaType":"` + parcel.MediaTypeDistribution + `","templates":["dist"]}`,
		"/dist":                        distribution,
		"/index":                       `{"schemaVersion":2,"manifests":[]}`,
	}})
	img, err := parcel.New(parcel.Options{Docs: site.Docs, Note: told.add}).Resolve(t.Context(), parcel.Name{Authority: "example.com", Path: "x"})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

const indexEntry = `{"indexURIs":[{"mediaType":"application/vnd.oci.image.index.v1+json","templates":["index"]}],`

// A digest that is a path never becomes part of a URI.
func TestLocateInvalidDigest(t *testing.T) {
	img := serve(t, indexEntry+`"blobURIs":[{"mediaType":"application/vnd.parcel.opaque.v0","templates":["{+parcel.fetch.blob.digest}"]}]}`, &notes{})
	n := 0
	for r, err := range img.Distribution.Locator().Locate(t.Context(), ocispec.Descriptor{Digest: "sha256:../../../etc"}) {
		n++
		if err == nil {
			t.Errorf("got route %+v", r)
		}
	}
	if n != 1 {
		t.Errorf("yielded %d times", n)
	}
}

// What stands in lists is bounded, and so is what comes of one blob. What is
// wrong with a template is told once, not once for each blob.
func TestLocateBounded(t *testing.T) {
	var entries []string
	for i := range 200 {
		entries = append(entries, `{"mediaType":"application/vnd.parcel.opaque.v0","templates":["file:///x",`+
			strings.Join(slices.Collect(func(yield func(string) bool) {
				for j := range 10 {
					if !yield(`"/` + string(rune('a'+j)) + strings.Repeat("x", i) + `"`) {
						return
					}
				}
			}), ",")+`]}`)
	}
	var told notes
	img := serve(t, indexEntry+`"blobURIs":[`+strings.Join(entries, ",")+`]}`, &told)
	for range 3 {
		n := 0
		for _, err := range img.Distribution.Locator().Locate(t.Context(), ocispec.Descriptor{Digest: digest.FromString("")}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n < parcel.MaxRoutes*9/10 || n > parcel.MaxRoutes {
			t.Errorf("%d routes", n)
		}
	}
	if !told.has("more than 1000 templates") {
		t.Error("the limit isn't told")
	}
	refused := 0
	for _, text := range told.all {
		if strings.Contains(text, `scheme "file"`) {
			refused++
		}
	}
	if refused != 1 {
		t.Errorf("told %d times about one template", refused)
	}
	for range img.Distribution.Locator().Locate(t.Context(), ocispec.Descriptor{Digest: digest.FromString("")}) {
		break // whoever stops listening isn't called again
	}
}

func TestParseLimits(t *testing.T) {
	quiet := func(string) {}
	told := 0
	_, err := parcel.ParseDistribution([]byte(`{"indexURIs":[`+strings.Repeat("0,", parcel.MaxEntries-1)+`0],"blobURIs":[]}`), func(string) { told++ })
	if err == nil || told != parcel.MaxNotes {
		t.Errorf("told %d times, %v", told, err)
	}
	many := func(n int, s string) string { return strings.TrimSuffix(strings.Repeat(s+",", n), ",") }
	for says, content := range map[string]string{
		"limit is 1000":    `{"blobURIs":[],"indexURIs":[` + many(parcel.MaxEntries+1, "0") + `]}`,
		"limit is 4194304": strings.Repeat(" ", parcel.MaxDocument+1),
		"not JSON":         strings.Repeat(`{"a":`, 100_000),
		"no indexURIs":     `{}`,
		"no blobURIs":      `{"indexURIs":[],"blobURIs":null}`,
		"wrong type":       `{"indexURIs":{}}`,
		"something follow": `{"indexURIs":[],"blobURIs":[]} x`,
		"no usable entry":  `{"indexURIs":[],"blobURIs":[]}`,
	} {
		if _, err := parcel.ParseDistribution([]byte(content), quiet); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
	for says, content := range map[string]string{
		"limit is 100":    `{"mediaType":"a/b","templates":[` + many(parcel.MaxTemplates+1, `"x"`) + `]}`,
		"longer than 255": `{"mediaType":"a/` + strings.Repeat("b", 255) + `","templates":["x"]}`,
		"is none":         `{"mediaType":"a b","templates":["x"]}`,
		"no mediaType":    `{"templates":["x"]}`,
		"not a JSON":      `[]`,
		"no usable":       `{"mediaType":"a/b","templates":["` + strings.Repeat("x", 1<<20) + `"]}`,
	} {
		if _, err := parcel.ParseDescriptor([]byte(content), quiet); err == nil || !strings.Contains(err.Error(), says) || len(err.Error()) > 300 {
			t.Errorf("got %v, want %q", err, says)
		}
	}
}

// References are relative to where the distribution finally came from.
func TestResolveRedirected(t *testing.T) {
	site := webhosts.Start(t, map[string]http.Handler{
		"example.com": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/.well-known/x-parcel.v0.0.0":
				_, _ = w.Write([]byte(`{"mediaType":"` + parcel.MediaTypeDistribution + `","templates":["dist"]}`))
			case "/dist":
				http.Redirect(w, r, "https://cdn.example/deep/dist?signature=secret", http.StatusFound)
			default:
				http.NotFound(w, r)
			}
		}),
		"cdn.example": webhosts.Files{
			"/deep/dist?signature=secret": indexEntry + `"blobURIs":[{"mediaType":"application/vnd.parcel.opaque.v0","templates":["b/{parcel.fetch.blob.digest}"]}]}`,
			"/deep/index":                 `{"schemaVersion":2,"manifests":[]}`,
		},
	})
	img, err := parcel.New(parcel.Options{Docs: site.Docs}).Resolve(t.Context(), parcel.Name{Authority: "example.com", Path: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if img.By.URI != "https://cdn.example/deep/index" {
		t.Errorf("the index came from %s", img.By.URI)
	}
	d := digest.FromString("")
	for r, err := range img.Distribution.Locator().Locate(t.Context(), ocispec.Descriptor{Digest: d}) {
		if err != nil || r.URI != "https://cdn.example/deep/b/"+d.Encoded() || strings.Contains(r.Origin+r.Source, "secret") {
			t.Errorf("got %+v, %v", r, err)
		}
	}
}

func TestFloor(t *testing.T) {
	d := &parcel.Distribution{Name: parcel.Name{Authority: "Images.corp", Path: "x"}}
	for uri, want := range map[string]netclass.Class{
		"https://images.corp/blobs/x":      netclass.Loopback,
		"https://images.corp:443/blobs/x":  netclass.Loopback,
		"https://images.corp:8443/blobs/x": netclass.Public,
		"http://images.corp/blobs/x":       netclass.Public,
		"https://images.corp.evil/x":       netclass.Public,
		"https://other.corp/x":             netclass.Public,
		"magnet:?xt=urn:btih:0":            netclass.Public,
		"https://images.corp/%zz":          netclass.Public,
	} {
		if got := d.Floor(uri); got != want {
			t.Errorf("%s: %v, want %v", uri, got, want)
		}
	}
}

// Who gives up gets that, and a document of another kind than described is
// refused (CVE-2021-41190).
func TestResolveEnds(t *testing.T) {
	n := parcel.Name{Authority: "example.com", Path: "x"}
	site := webhosts.Start(t, map[string]http.Handler{"example.com": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/.well-known/x-parcel" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
		_, _ = w.Write([]byte(`{"mediaType":"` + parcel.MediaTypeDistribution + `","templates":["dist"]}`))
	})})
	if _, err := parcel.New(parcel.Options{Docs: site.Docs}).Resolve(t.Context(), n); err == nil || !strings.Contains(err.Error(), "served as") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := parcel.New(parcel.Options{Docs: site.Docs}).Resolve(ctx, n); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A host that knows nothing of parcel is one that doesn't know the name.
func TestNotFound(t *testing.T) {
	site := webhosts.Start(t, map[string]http.Handler{"example.com": webhosts.Files{}})
	_, err := parcel.New(parcel.Options{Docs: site.Docs}).Resolve(t.Context(), parcel.Name{Authority: "example.com", Path: "x"})
	if !errors.Is(err, resolve.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	want := []string{"https://example.com/.well-known/x-parcel", "https://example.com/.well-known/x-parcel.v0.0.0", "https://example.com/.well-known/x-parcel.0.0.0"}
	if got := site.Asked(); !slices.Equal(got, want) {
		t.Errorf("asked %q", got)
	}
}

// Static files on nginx are all it takes.
func TestNginx(t *testing.T) {
	ca, err := realserver.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	index := `{"schemaVersion":2,"manifests":[]}`
	for name, content := range map[string]string{
		".well-known/x-parcel":        "v0.0.0\n",
		".well-known/x-parcel.v0.0.0": `{"mediaType":"` + parcel.MediaTypeDistribution + `","templates":["/{+parcel.discovery.name}/parcel.json"]}`,
		"team/app/parcel.json":        indexEntry + `"blobURIs":[{"mediaType":"application/vnd.parcel.opaque.v0","templates":["blobs/{parcel.fetch.blob.algorithm}/{parcel.fetch.blob.digest}"]}]}`,
		"team/app/index":              index,
	} {
		file := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	nginx, err := realserver.StartNginx(context.Background(), t.TempDir(), root, realserver.NginxOptions{CA: ca})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nginx.Stop)
	certificate, err := os.ReadFile(ca.File)
	if err != nil {
		t.Fatal(err)
	}
	docs := webhosts.Docs(t, map[string]string{"waybill.test:443": nginx.Host}, certificate)
	img, err := parcel.New(parcel.Options{Docs: docs}).Resolve(t.Context(), parcel.Name{Authority: "waybill.test", Path: "team/app"})
	if err != nil {
		t.Fatal(err)
	}
	if img.Descriptor.Digest != digest.FromString(index) {
		t.Errorf("got %v", img.Descriptor)
	}
	blobVector{MediaType: "x/y", Digest: digest.FromString(""), Routes: []string{"https://waybill.test/team/app/blobs/sha256/" + digest.FromString("").Encoded()}}.check(t, img.Distribution)
}

func FuzzParseDistribution(f *testing.F) {
	f.Add([]byte(indexEntry + `"blobURIs":[{"mediaType":"application/vnd.parcel.opaque.v0","templates":["{+parcel.fetch.blob.digest}", 1]},7]}`))
	f.Add([]byte(`{"indexuris":null}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		notes := 0
		p, err := parcel.ParseDistribution(content, func(string) { notes++ })
		if err != nil {
			return
		}
		for _, d := range slices.Concat(p.Indexes, p.Blobs) {
			if d.MediaType == "" || len(d.Templates) == 0 || len(d.Templates) > parcel.MaxTemplates {
				t.Errorf("%q gives %+v", content, d)
			}
		}
	})
}

func FuzzParseDescriptor(f *testing.F) {
	f.Add([]byte(`{"mediaType":"a/b","templates":["{+parcel.discovery.name}/x",7,"{nope}"]}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		notes := 0
		d, err := parcel.ParseDescriptor(content, func(string) { notes++ })
		if err == nil && (d.MediaType == "" || len(d.Templates) == 0 || len(d.Templates) > parcel.MaxTemplates) {
			t.Errorf("%q gives %+v", content, d)
		}
		if notes > parcel.MaxTemplates {
			t.Errorf("%d notes", notes)
		}
	})
}

func FuzzParseVersions(f *testing.F) {
	f.Add([]byte("v0.0.0\r\nv0.0.1-rc.1+b\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		v, err := parcel.ParseVersions(content)
		if err == nil && (strings.ContainsAny(v, "/\\?# \n") || !strings.Contains(string(content), v)) {
			t.Errorf("%q gives %q", content, v)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("example.com:8443/a//b")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := parcel.Parse(s)
		if err == nil && n.String() != s {
			t.Errorf("%q is %+v", s, n)
		}
	})
}
