package waybills_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery"
	"github.com/waybill-project/waybill/discovery/waybills"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/netclass"
	"github.com/waybill-project/waybill/transport/registry"
	"github.com/waybill-project/waybill/waybill"
	"github.com/waybill-project/waybill/webdoc"
)

// world is a host over TLS that is a registry and a web server, and who asks it.
type world struct {
	*httptest.Server
	host     string
	web      *httpclient.Client
	registry *registry.Client
	client   *waybills.Client
	told     *notes // what was there and isn't used
	looked   *notes // all else
	memory   *memory

	mu        sync.Mutex
	files     map[string]served
	referrers []ocispec.Descriptor
	asked     map[string]int
}

type served struct {
	mediaType string
	content   []byte
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{told: &notes{}, looked: &notes{}, memory: &memory{}, files: map[string]served{}, asked: map[string]int{}}
	w.Server = httptest.NewTLSServer(w)
	t.Cleanup(w.Close)
	w.host = strings.TrimPrefix(w.URL, "https://")
	w.web = httpclient.New(httpclient.Options{Insecure: func(string) bool { return true }})
	t.Cleanup(w.web.CloseIdleConnections)
	w.registry = registry.New(registry.Options{HTTP: w.web})
	w.newClient()
	return w
}

// newClient makes a client that has asked for nothing.
func (w *world) newClient() {
	w.client = waybills.New(waybills.Options{
		Docs: webdoc.New(w.web, 0), Now: func() time.Time { return now }, Memory: w.memory,
		Note: func(n discovery.Note) {
			if n.Ignored {
				w.told.add(n)
			} else {
				w.looked.add(n)
			}
		},
	})
}

func (w *world) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.asked[r.URL.Path]++
	f, ok := w.files[r.URL.Path]
	referrers := w.referrers
	w.mu.Unlock()
	switch {
	case strings.HasPrefix(r.URL.Path, "/v2/team/app/referrers/") && referrers != nil:
		out.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		_ = json.NewEncoder(out).Encode(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: referrers})
	case f.mediaType == "redirect":
		http.Redirect(out, r, string(f.content), http.StatusFound)
	case f.mediaType == "silence":
		<-r.Context().Done()
	case ok:
		out.Header().Set("Content-Type", f.mediaType)
		_, _ = out.Write(f.content)
	default:
		http.NotFound(out, r)
	}
}

func (w *world) put(path, mediaType string, content []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.files[path] = served{mediaType, content}
}

// attach makes content, called a waybill's manifest, a referrer of the subject.
func (w *world) attach(content []byte) digest.Digest {
	d := digest.FromBytes(content)
	w.put("/v2/team/app/manifests/"+string(d), ocispec.MediaTypeImageManifest, content)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.referrers = append(w.referrers, ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageManifest, Digest: d, Size: int64(len(content)), ArtifactType: waybill.MediaType,
	})
	return d
}

func (w *world) repository() waybills.Source {
	return w.client.Referrers(w.registry, "docker://"+w.host+"/team/app")
}

// wellKnown is the place on the host for the subject.
func wellKnown() string { return "/.well-known/waybill/sha256/" + subject.Digest.Encoded() }

// located are the places of the blob by a search.
func located(t *testing.T, s *waybills.Search) []transport.Route {
	t.Helper()
	var all []transport.Route
	for r, err := range s.Locate(t.Context(), blob) {
		if err != nil {
			t.Error(err)
		}
		all = append(all, r)
	}
	return all
}

// bill is a document that says the blob is at a path of its own origin.
func bill(t *testing.T, path string, change ...func(*waybill.Document)) []byte {
	t.Helper()
	return document(t, append([]func(*waybill.Document){func(d *waybill.Document) {
		d.Carriers = nil
		c := &d.Consignments[0]
		c.Aliases, c.Routes = nil, []waybill.Route{{URI: path, Priority: 5}}
	}}, change...)...)
}

func sequence(n int64) func(*waybill.Document) {
	return func(d *waybill.Document) { d.Sequence = n }
}

func manifest(t *testing.T, document []byte) []byte {
	t.Helper()
	m, err := waybill.Manifest(document, subject)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// changed is a manifest with one more change.
func changed(t *testing.T, m []byte, change func(*ocispec.Manifest)) []byte {
	t.Helper()
	var v ocispec.Manifest
	if err := json.Unmarshal(m, &v); err != nil {
		t.Fatal(err)
	}
	change(&v)
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestReferrers: a waybill among the referrers leads to its own origin, and to
// the hashes of pieces; it is asked for once, and not before somebody asks.
func TestReferrers(t *testing.T) {
	w := newWorld(t)
	d := w.attach(manifest(t, bill(t, "/blob")))
	s := w.client.Search(t.Context(), subject.Digest, w.repository())
	if len(w.asked) > 0 {
		t.Errorf("asked %v before anybody wants to know", w.asked)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { located(t, s) })
	}
	all.Wait()
	routes := located(t, s)
	if len(routes) != 1 {
		t.Fatalf("found %+v", routes)
	}
	where := "docker://" + w.host + "/team/app@" + string(d)
	if r := routes[0]; r.URI != w.URL+"/blob" || r.Origin != "waybill "+where || r.Priority != 1005 || r.Remote == 0 || r.Remote.Floor() != netclass.Loopback {
		t.Errorf("route %+v", r)
	}
	table, by, err := s.Pieces(t.Context(), blob)
	if err != nil || table == nil || by != where {
		t.Errorf("pieces %v of %s, %v", table, by, err)
	}
	if len(w.asked) != 2 || w.asked["/v2/team/app/referrers/"+string(subject.Digest)] != 1 {
		t.Errorf("asked %v", w.asked)
	}
	w.told.want(t)
	w.looked.want(t, where+": a waybill in force, number 1")
}

// TestDocumentInABlob: the manifest need not hold the document.
func TestDocumentInABlob(t *testing.T) {
	w := newWorld(t)
	content := bill(t, "../near")
	w.attach(changed(t, manifest(t, content), func(m *ocispec.Manifest) { m.Layers[0].Data = nil }))
	w.put("/v2/team/app/blobs/"+string(digest.FromBytes(content)), "application/octet-stream", content)
	if got, want := uris(located(t, w.client.Search(t.Context(), subject.Digest, w.repository()))), w.URL+"/v2/team/app/near"; got != want {
		t.Errorf("found %s, want %s", got, want)
	}
	w.told.want(t)
}

// TestReferrersIgnored: what is no good is named and ignored, and the rest is
// used.
func TestReferrersIgnored(t *testing.T) {
	good := bill(t, "/good", sequence(7))
	for what, test := range map[string]struct {
		attach func(t *testing.T, w *world)
		says   []string
		gone   bool // the good one too
	}{
		"expired": {func(t *testing.T, w *world) {
			w.attach(manifest(t, bill(t, "/old", sequence(9), func(d *waybill.Document) { d.Expires = now })))
		}, []string{"expired"}, false},
		"rolled back":    {func(t *testing.T, w *world) { w.attach(manifest(t, bill(t, "/old", sequence(6)))) }, []string{"number 7"}, false},
		"in conflict":    {func(t *testing.T, w *world) { w.attach(manifest(t, bill(t, "/two", sequence(7)))) }, []string{"another one", "another one"}, true},
		"the same again": {func(t *testing.T, w *world) { w.attach(append([]byte(" "), manifest(t, good)...)) }, nil, false},
		"another image": {func(t *testing.T, w *world) {
			w.attach(changed(t, manifest(t, good), func(m *ocispec.Manifest) { m.Subject.Digest = digest.FromString("x") }))
		}, []string{"subject"}, false},
		"no subject": {func(t *testing.T, w *world) {
			w.attach(changed(t, manifest(t, good), func(m *ocispec.Manifest) { m.Subject = nil }))
		}, []string{"no subject"}, false},
		"garbage":        {func(t *testing.T, w *world) { w.attach([]byte("{ garbage")) }, []string{"JSON"}, false},
		"garbage inside": {func(t *testing.T, w *world) { w.attach(garbageInside(t, manifest(t, good))) }, []string{"JSON"}, false},
		"an image": {func(t *testing.T, w *world) {
			w.attach(changed(t, manifest(t, good), func(m *ocispec.Manifest) { m.ArtifactType = "" }))
		}, []string{"not a waybill"}, false},
		"the blob is gone": {func(t *testing.T, w *world) {
			w.attach(changed(t, manifest(t, good), func(m *ocispec.Manifest) { m.Layers[0].Data = nil }))
		}, []string{"404"}, false},
		"other bytes": {func(t *testing.T, w *world) {
			d := w.attach([]byte("{}"))
			w.put("/v2/team/app/manifests/"+string(d), ocispec.MediaTypeImageManifest, []byte("[]"))
		}, []string{"sent bytes of digest"}, false},
		"too large": {func(t *testing.T, w *world) {
			w.attach([]byte("{}"))
			w.referrers[0].Size = 5 << 20
		}, []string{"of 5242880 bytes"}, false},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			test.attach(t, w)
			w.attach(manifest(t, good))
			want := w.URL + "/good"
			if test.gone {
				want = ""
			}
			if got := uris(located(t, w.client.Search(t.Context(), subject.Digest, w.repository()))); got != want {
				t.Errorf("found %q, want %q", got, want)
			}
			w.told.want(t, test.says...)
			for _, text := range w.told.text {
				if !strings.HasPrefix(text, "docker://"+w.host+"/team/app@sha256:") || strings.Contains(text, "\n") {
					t.Errorf("told %q", text)
				}
			}
		})
	}
}

// garbageInside has the manifest hold something that is no document.
func garbageInside(t *testing.T, m []byte) []byte {
	return changed(t, m, func(m *ocispec.Manifest) {
		l := &m.Layers[0]
		l.Data = []byte("garbage")
		l.Digest, l.Size = digest.FromBytes(l.Data), int64(len(l.Data))
	})
}

// TestManyReferrers: of a thousand waybills, and of very large ones, so many are
// read and no more: those attached last.
func TestManyReferrers(t *testing.T) {
	w := newWorld(t)
	for i := range 1000 {
		w.attach(manifest(t, bill(t, fmt.Sprintf("/%d", i), sequence(int64(i)))))
	}
	if got, want := uris(located(t, w.client.Search(t.Context(), subject.Digest, w.repository()))), w.URL+"/999"; got != want {
		t.Errorf("found %s, want %s", got, want)
	}
	w.told.want(t, append([]string{"more than 8 waybills"}, "number 999", "number 999", "number 999", "number 999", "number 999", "number 999", "number 999")...)
	if len(w.asked) > 2+waybills.MaxFound {
		t.Errorf("asked %d places", len(w.asked))
	}

	// Of those that say when they were made, the newest, wherever they are listed.
	w = newWorld(t)
	for i := range 100 {
		w.attach(manifest(t, bill(t, fmt.Sprintf("/%d", i), sequence(int64(i)))))
		w.referrers[i].Annotations = map[string]string{ocispec.AnnotationCreated: now.Add(-time.Duration(i) * time.Minute).Format(time.RFC3339)}
	}
	if got, want := uris(located(t, w.client.Search(t.Context(), subject.Digest, w.repository()))), w.URL+"/7"; got != want {
		t.Errorf("found %s, want %s", got, want)
	}

	w = newWorld(t)
	padding := bytes.Repeat([]byte(" "), waybill.MaxDocument-100_000)
	for i := range 4 {
		content := append(bill(t, fmt.Sprintf("/%d", i), sequence(int64(i))), padding...)
		w.put("/v2/team/app/blobs/"+string(digest.FromBytes(content)), "application/octet-stream", content)
		m := changed(t, manifest(t, bill(t, "/x")), func(m *ocispec.Manifest) {
			m.Layers[0] = ocispec.Descriptor{MediaType: waybill.MediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
		})
		w.attach(m)
	}
	if got, want := uris(located(t, w.client.Search(t.Context(), subject.Digest, w.repository()))), w.URL+"/3"; got != want {
		t.Errorf("found %s, want %s", got, want)
	}
	w.told.want(t, "bytes of waybills", "number 3")
}

// TestWellKnown: what a web server has at the agreed place.
func TestWellKnown(t *testing.T) {
	for what, test := range map[string]struct {
		mediaType string
		content   []byte
		found     string
		told      []string
		looked    []string
	}{
		"a document":                  {waybill.MediaType, bill(t, "blob"), wellKnown()[:strings.LastIndex(wellKnown(), "/")] + "/blob", nil, []string{"in force"}},
		"a manifest":                  {ocispec.MediaTypeImageManifest, manifest(t, bill(t, "/blob")), "/blob", nil, []string{"in force"}},
		"as JSON":                     {"application/json", manifest(t, bill(t, "/blob")), "/blob", nil, []string{"in force"}},
		"as a file":                   {"application/octet-stream", bill(t, "/blob"), "/blob", nil, []string{"in force"}},
		"other's manifest":            {"application/json", changed(t, manifest(t, bill(t, "/blob")), func(m *ocispec.Manifest) { m.Subject.Digest = digest.FromString("x") }), "", []string{"another image"}, nil},
		"not in it":                   {ocispec.MediaTypeImageManifest, changed(t, manifest(t, bill(t, "/blob")), func(m *ocispec.Manifest) { m.Layers[0].Data = nil }), "", []string{"doesn't embed"}, nil},
		"expired":                     {waybill.MediaType, bill(t, "/blob", func(d *waybill.Document) { d.Expires = now }), "", []string{"expired"}, nil},
		"garbage":                     {waybill.MediaType, []byte("{ garbage"), "", []string{"ignored"}, nil},
		"a manifest by its type only": {waybill.MediaType, manifest(t, bill(t, "/blob")), "", []string{"ignored"}, nil},
		"garbage as a file":           {"application/octet-stream", []byte{0}, "", []string{"ignored"}, nil},
		"some page":                   {"text/html", []byte("<html>"), "", nil, []string{`"text/html"`}},
		"too large":                   {"application/json", make([]byte, 10<<20), "", nil, []string{"larger than"}},
		"elsewhere":                   {waybill.MediaType, bill(t, "https://far.example/blob"), "", []string{"far.example isn't asked"}, []string{"in force"}},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			w.put(wellKnown(), test.mediaType, test.content)
			want := ""
			if test.found != "" {
				want = w.URL + test.found
			}
			if got := uris(located(t, w.client.Search(t.Context(), subject.Digest, w.client.WellKnown(w.host)))); got != want {
				t.Errorf("found %q, want %q", got, want)
			}
			w.told.want(t, test.told...)
			w.looked.want(t, test.looked...)
		})
	}
	w := newWorld(t)
	located(t, w.client.Search(t.Context(), subject.Digest, w.client.WellKnown(w.host)))
	w.told.want(t)
	w.looked.want(t, "404")
}

// TestWellKnownElsewhere: where a host sends to another one, what is there may
// lead to that origin on the public network only, since nobody here named it.
func TestWellKnownElsewhere(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	w.put(wellKnown(), "redirect", []byte(other.URL+"/dir/bill"))
	other.put("/dir/bill", waybill.MediaType, bill(t, "blob"))
	routes := located(t, w.client.Search(t.Context(), subject.Digest, w.client.WellKnown(w.host)))
	if uris(routes) != other.URL+"/dir/blob" || routes[0].Remote.Floor() != netclass.Public {
		t.Errorf("found %+v", routes)
	}
}

// TestOneOrigin: what a host serves in two places has one author.
func TestOneOrigin(t *testing.T) {
	w := newWorld(t)
	w.put(wellKnown(), waybill.MediaType, bill(t, "/new", sequence(2)))
	w.attach(manifest(t, bill(t, "/old", sequence(1))))
	s := w.client.Search(t.Context(), subject.Digest, w.client.WellKnown(w.host), w.repository())
	if got, want := uris(located(t, s)), w.URL+"/new"; got != want {
		t.Errorf("found %s, want %s", got, want)
	}
	w.told.want(t, "number 2")

	w, other := newWorld(t), newWorld(t)
	w.put(wellKnown(), waybill.MediaType, bill(t, "/new", sequence(2)))
	other.put(wellKnown(), waybill.MediaType, bill(t, "/old", sequence(1)))
	s = w.client.Search(t.Context(), subject.Digest, w.client.WellKnown(w.host), w.client.WellKnown(other.host))
	if routes := located(t, s); len(routes) != 2 {
		t.Errorf("one host's document supersedes another's: %s", uris(routes))
	}
	w.told.want(t)
}

// TestSilence: a place that doesn't answer keeps what another has from nobody,
// and who no longer wants to know isn't kept either.
func TestSilence(t *testing.T) {
	w := newWorld(t)
	w.put(wellKnown(), "silence", nil)
	w.attach(manifest(t, bill(t, "/blob")))
	s := w.client.Search(t.Context(), subject.Digest, w.client.WellKnown(w.host), w.repository())
	if got := uris(located(t, s)); got != w.URL+"/blob" {
		t.Errorf("found %s", got)
	}
	w.told.want(t)
	w.looked.want(t, "no answer in time", "in force")

	w = newWorld(t)
	w.put(wellKnown(), "silence", nil)
	pull, end := context.WithCancel(t.Context())
	s = w.client.Search(pull, subject.Digest, w.client.WellKnown(w.host))
	gone, leave := context.WithCancel(t.Context())
	leave()
	for r := range s.Locate(gone, blob) {
		t.Errorf("found %+v", r)
	}
	end()
	if got := located(t, s); len(got) > 0 {
		t.Errorf("found %s", uris(got))
	}
	w.told.want(t)
	w.looked.want(t)
}

// TestLayout: waybills in a layout are those of the image, and as unsigned as
// any: the layout may have come from anywhere.
func TestLayout(t *testing.T) {
	for what, test := range map[string]struct{ tagged, unsaid bool }{
		"listed": {}, "by the tag": {tagged: true}, "of no stated type": {unsaid: true},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			dir := t.TempDir()
			ours := putBlob(t, dir, manifest(t, bill(t, w.URL+"/blob", func(d *waybill.Document) {
				c := &d.Consignments[0]
				c.Routes = append(c.Routes, waybill.Route{URI: "../secret", Priority: 1}, waybill.Route{URI: "file:///etc/shadow", Priority: 1}, waybill.Route{URI: "https://allowed.example/b", Priority: 2})
			})))
			others := putBlob(t, dir, changed(t, manifest(t, bill(t, "/x", sequence(9))), func(m *ocispec.Manifest) { m.Subject.Digest = digest.FromString("other") }))
			for _, d := range []*ocispec.Descriptor{&ours, &others} {
				d.MediaType, d.ArtifactType = ocispec.MediaTypeImageManifest, waybill.MediaType
				if test.unsaid { // as skopeo lists what it copies
					d.ArtifactType = ""
				}
			}
			entries := []ocispec.Descriptor{ours, others}
			if test.tagged {
				index := putBlob(t, dir, asIndex(t, entries))
				index.MediaType = ocispec.MediaTypeImageIndex
				index.Annotations = map[string]string{ocispec.AnnotationRefName: "sha256-" + subject.Digest.Encoded()}
				entries = []ocispec.Descriptor{index}
			}
			write(t, filepath.Join(dir, ocispec.ImageIndexFile), asIndex(t, entries))
			write(t, filepath.Join(dir, ocispec.ImageLayoutFile), []byte(`{"imageLayoutVersion":"1.0.0"}`))
			c := waybills.New(waybills.Options{
				Now: func() time.Time { return now }, Note: w.told.add,
				Allowed: func(host string) (transport.Remote, bool) { return transport.RemotePublic, host == "allowed.example" },
			})
			n := name.Name{Kind: name.Layout, Path: dir, Ref: "app"}
			routes := located(t, c.Search(t.Context(), subject.Digest, c.Layout(n)))
			if uris(routes) != "https://allowed.example/b" || !strings.HasPrefix(routes[0].Origin, "waybill oci:"+dir+"@sha256:") {
				t.Errorf("found %+v", routes)
			}
			w.told.want(t, "in force", w.host+" isn't asked", "secret", "file:")
		})
	}
	w := newWorld(t)
	located(t, w.client.Search(t.Context(), subject.Digest, w.client.Layout(name.Name{Kind: name.Layout, Path: t.TempDir()})))
	w.told.want(t)
	w.looked.want(t, "isn't an OCI layout")
}

func asIndex(t *testing.T, entries []ocispec.Descriptor) []byte {
	t.Helper()
	b, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: entries})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func putBlob(t *testing.T, dir string, content []byte) ocispec.Descriptor {
	t.Helper()
	d := digest.FromBytes(content)
	write(t, filepath.Join(dir, "blobs", "sha256", d.Encoded()), content)
	return ocispec.Descriptor{Digest: d, Size: int64(len(content))}
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o666); err != nil {
		t.Fatal(err)
	}
}
