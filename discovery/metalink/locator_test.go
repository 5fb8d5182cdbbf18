package metalink_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery"
	"github.com/waybill-project/waybill/discovery/metalink"
	"github.com/waybill-project/waybill/locate"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/netclass/netclasstest"
	"github.com/waybill-project/waybill/webdoc"
)

var blob = ocispec.Descriptor{Digest: digest.FromString("a blob"), Size: 6}

// knows is a locator of routes.
func knows(routes ...transport.Route) locate.Locator {
	return locate.Func(func(context.Context, ocispec.Descriptor) iter.Seq2[transport.Route, error] {
		return func(yield func(transport.Route, error) bool) {
			for _, r := range routes {
				if !yield(r, nil) {
					return
				}
			}
		}
	})
}

// world is what a test has a client tell.
type world struct {
	mu     sync.Mutex
	notes  []string // of what isn't used
	read   []string
	pieces []metalink.Pieces
}

// hear keeps what isn't used, and what was read by itself.
func (w *world) hear(n discovery.Note) {
	to := &w.read
	if n.Ignored {
		to = &w.notes
	}
	*to = append(*to, n.Where+": "+n.Text)
}

func (w *world) client(t testing.TB) *metalink.Client {
	t.Helper()
	h := httpclient.New(httpclient.Options{CertDirs: []string{}})
	t.Cleanup(h.CloseIdleConnections)
	return metalink.New(metalink.Options{
		Docs: webdoc.New(h, 0), MinSize: -1,
		Note: func(n discovery.Note) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.hear(n)
		},
		Pieces: func(_ ocispec.Descriptor, p metalink.Pieces, _ string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.pieces = append(w.pieces, p)
		},
	})
}

// noted checks that just these notes were made, in whatever order.
func (w *world) noted(t testing.TB, says ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.notes) != len(says) {
		t.Errorf("noted\n%s\nwant %q", strings.Join(w.notes, "\n"), says)
		return
	}
	for _, s := range says {
		if !slices.ContainsFunc(w.notes, func(n string) bool { return strings.Contains(n, s) }) {
			t.Errorf("noted\n%s\nwant %q", strings.Join(w.notes, "\n"), s)
		}
	}
}

// all is what a locator says, routes and errors, in the order of Priority.
func all(t testing.TB, l locate.Locator, desc ocispec.Descriptor) (routes []transport.Route, errs []string) {
	t.Helper()
	for r, err := range l.Locate(t.Context(), desc) {
		if err != nil {
			errs = append(errs, err.Error())
			continue
		}
		routes = append(routes, r)
	}
	slices.SortStableFunc(routes, func(a, b transport.Route) int { return a.Priority - b.Priority })
	return routes, errs
}

func uris(routes []transport.Route) (uris []string) {
	for _, r := range routes {
		uris = append(uris, r.URI)
	}
	return uris
}

// document is a metalink about blob with the given urls.
func document(urls string) string {
	return in(fmt.Sprintf(`<size>%d</size><hash type="sha-256">%s</hash><pieces type="sha-256" length="4">%s</pieces>%s`,
		blob.Size, blob.Digest.Encoded(), strings.Repeat("<hash>"+strings.Repeat("ab", 32)+"</hash>", 2), urls))
}

// A real server, configured as its operator would.
func TestNginx(t *testing.T) {
	root := t.TempDir()
	for name, content := range map[string]string{
		"blob": "a blob",
		"blob.meta4": document(`<url priority="2">http://two.example/blob</url><url priority="1">ftp://one.example/d/blob</url>` +
			`<metaurl mediatype="torrent" priority="5">magnet:?xt=urn:btih:1</metaurl>`),
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	nginx, err := realserver.StartNginx(t.Context(), t.TempDir(), root, realserver.NginxOptions{Config: `
		location = /blob {
			add_header Link '<blob.meta4>; rel=describedby; type="application/metalink4+xml"';
			add_header Link '<https://mirror.example/pub/images/blob>; rel=duplicate; pri=3; geo=de; depth=2';
			add_header Link '</copy>; rel=duplicate';
		}`})
	if err != nil {
		t.Fatal(err)
	}
	defer nginx.Stop()
	var w world
	first := transport.Route{URI: nginx.URL + "/blob", Origin: "--from"}
	routes, errs := all(t, w.client(t).Locator(knows(first)), blob)
	if errs != nil {
		t.Error(errs)
	}
	at, doc := "Link of "+nginx.URL+"/blob", "metalink "+nginx.URL+"/blob.meta4"
	want := []transport.Route{
		first,
		{URI: "https://mirror.example/pub/images/blob", Source: "mirror https://mirror.example/pub/", Priority: 1000, Origin: at, Remote: transport.RemotePublic},
		{URI: "ftp://one.example/d/blob;type=i", Priority: 1000, Origin: doc, Remote: transport.RemotePublic},
		{URI: nginx.URL + "/copy", Priority: 1001, Origin: at, Remote: transport.RemoteIn(0)},
		{URI: "http://two.example/blob", Priority: 1001, Origin: doc, Remote: transport.RemotePublic},
		{URI: "magnet:?xt=urn:btih:1", Priority: 1002, Origin: doc, Remote: transport.RemotePublic},
	}
	if !slices.Equal(routes, want) {
		t.Errorf("got\n%+v, want\n%+v", routes, want)
	}
	if len(w.pieces) != 1 || w.pieces[0].Length != 4 || len(w.pieces[0].Hashes) != 2 {
		t.Errorf("pieces %+v", w.pieces)
	}
	w.noted(t)
}

// server answers with links, and counts what it is asked.
type server struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
}

func serve(t testing.TB, handler http.HandlerFunc) *server {
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.Method+" "+r.URL.Path)
		s.mu.Unlock()
		handler(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func linking(t testing.TB, links ...string) *server {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/blob" {
			w.Header()["Link"] = links
		}
	})
}

func TestLinksThatAreRefused(t *testing.T) {
	s := linking(t,
		"<http://good.example/a>; rel=duplicate",
		"<https://ann:s3cret@h.example/a>; rel=duplicate",
		"<file:///etc/shadow>; rel=duplicate",
		"<ssh://h.example/a>; rel=duplicate",
		"<https://h.example/a>; rel=duplicate; pri=0",
		"<%zz>; rel=duplicate",
		"<https://h.example/other>; rel=duplicate; anchor=\"#x\"",
		"<https://h.example/next>; rel=next",
		"<https://h.example/d>; rel=describedby; type=\"text/html\"",
		"<https://h.example/t>; rel=describedby; type=\"application/x-bittorrent\"",
		"<https://h.example/broken; rel=duplicate",
	)
	var w world
	routes, errs := all(t, w.client(t).Locator(knows(transport.Route{URI: s.URL + "/blob"})), blob)
	if errs != nil || !slices.Equal(uris(routes), []string{s.URL + "/blob", "http://good.example/a"}) {
		t.Errorf("got %q, %q", uris(routes), errs)
	}
	w.noted(t, "credentials in the URI", `scheme "file"`, `scheme "ssh"`, `priority "0"`, "RFC 3986", "no transport takes torrents", "want <URI>")
	for _, n := range w.notes {
		if strings.Contains(n, "s3cret") {
			t.Error(n)
		}
	}
}

// A metalink whose file isn't the blob is refused, and the file named.
func TestMetalinksThatAreRefused(t *testing.T) {
	other := strings.Repeat("ab", 32)
	for name, tt := range map[string]struct{ content, err, note string }{
		"another digest":    {in(`<hash type="sha-256">` + other + `</hash><url>http://x.example/a</url>`), "no file in it is the blob", `file "f" refused: the blob's digest is ` + string(blob.Digest) + `, and the file states sha256:` + other},
		"no digest":         {in(`<hash type="md5">x</hash><url>http://x.example/a</url>`), "no file", "the file states none"},
		"another algorithm": {in(`<hash type="sha-512">` + strings.Repeat("ab", 64) + `</hash><url>http://x.example/a</url>`), "no file", "the file states none"},
		"another size":      {strings.Replace(document("<url>http://x.example/a</url>"), "<size>6", "<size>7", 1), "no file", "its size is 7, the blob's 6"},
		"two digests":       {in(`<hash type="sha-256">` + blob.Digest.Encoded() + `</hash><hash type="sha-256">` + other + `</hash><url>http://x.example/a</url>`), "no file", "two digests of one algorithm"},
		"no metalink":       {"<html/>", "want metalink", ""},
		"too large":         {strings.Repeat(" ", metalink.MaxDocument+1), "limit of 4194304 bytes", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/blob" {
					w.Header().Set("Link", `<doc?sig=s3cret>; rel=describedby; type="application/metalink4+xml"`)
					return
				}
				_, _ = io.WriteString(w, tt.content)
			})
			var w world
			routes, errs := all(t, w.client(t).Locator(knows(transport.Route{URI: s.URL + "/blob"})), blob)
			if len(routes) != 1 || len(errs) != 1 || !strings.Contains(errs[0], tt.err) || !strings.HasPrefix(errs[0], "metalink "+s.URL+"/doc?…: ") {
				t.Errorf("got %q, %q", uris(routes), errs)
			}
			if tt.note != "" {
				w.noted(t, tt.note)
			}
		})
	}
}

// Of several files the one that is the blob is taken; of its urls what can't be
// used costs only itself.
func TestMetalinkOfSeveralFiles(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/blob" {
			w.Header().Set("Link", `<doc>; rel=describedby; type="application/metalink4+xml"`)
			return
		}
		doc := document(`<url>http://x.example/a</url><url>file:///etc/shadow</url><url>a</url>
			<metaurl mediatype="torrent">http://x.example/t</metaurl><metaurl mediatype="torrent" name="d/f o">magnet:?xt=urn:btih:2</metaurl><metaurl mediatype="x/y">http://x.example/y</metaurl>`)
		_, _ = io.WriteString(w, strings.Replace(doc, `<file name="f">`, `<file name="g"><size>1</size></file><file name="f">`, 1))
	})
	var w world
	routes, errs := all(t, w.client(t).Locator(knows(transport.Route{URI: s.URL + "/blob"})), blob)
	if errs != nil || !slices.Equal(uris(routes), []string{s.URL + "/blob", "http://x.example/a", "magnet:?xt=urn:btih:2#d/f%20o"}) {
		t.Errorf("got %q, %q", uris(routes), errs)
	}
	if len(w.read) != 1 || !strings.HasSuffix(w.read[0], "/doc: read: a metalink of 2 files") {
		t.Errorf("read: %q", w.read)
	}
	w.noted(t, `file "g" is another one`, `scheme "file"`, `scheme ""`, "no transport takes torrents")
}

// What an answer says of itself is about the links too.
func TestAnswerAboutAnotherFile(t *testing.T) {
	other := sha256.Sum256([]byte("another"))
	same, err := digestBase64(blob.Digest)
	if err != nil {
		t.Fatal(err)
	}
	wrong := base64.StdEncoding.EncodeToString(other[:])
	for header, used := range map[string]bool{
		"Repr-Digest: sha-256=:" + same + ":":               true,
		"Digest: SHA-256=" + same + ",MD5=x":                true,
		"Repr-Digest: sha-512=:AAAA:":                       true,
		"Repr-Digest: nonsense":                             true,
		"Repr-Digest: sha-256=:" + wrong + ":":              false,
		"Repr-Digest: sha-512=:x:, sha-256=:" + wrong + ":": false,
		"Digest: sha-256=" + wrong:                          false,
	} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "<http://x.example/a>; rel=duplicate")
			name, value, _ := strings.Cut(header, ": ")
			w.Header().Set(name, value)
		})
		var w world
		routes, _ := all(t, w.client(t).Locator(knows(transport.Route{URI: s.URL + "/blob"})), blob)
		if len(routes) == 2 != used {
			t.Errorf("%s: got %q", header, uris(routes))
		}
		if !used {
			w.noted(t, "links not used: its")
		}
	}
}

func digestBase64(d digest.Digest) (string, error) {
	var hash []byte
	_, err := fmt.Sscanf(d.Encoded(), "%x", &hash)
	return base64.StdEncoding.EncodeToString(hash), err
}

// A redirect has links of its own (as mirror redirectors send them); nobody is
// followed for them.
func TestLinksOfARedirect(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "<http://x.example/a>; rel=duplicate")
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	})
	var w world
	routes, _ := all(t, w.client(t).Locator(knows(transport.Route{URI: s.URL + "/blob"})), blob)
	if len(routes) != 2 || !slices.Equal(s.asked, []string{"HEAD /blob"}) {
		t.Errorf("got %q, asked %q", uris(routes), s.asked)
	}
}

// A metalink may be at the very place that named it, wherever that is, and
// otherwise in the public network only; so may what is in it.
func TestMetalinksKeepToTheInternet(t *testing.T) {
	trap := netclasstest.NewTrap(t)
	for _, host := range netclasstest.Hosts(t, trap.Port) {
		t.Run(host.Name, func(t *testing.T) {
			s := linking(t, "<http://"+host.Host+`/doc>; rel=describedby; type="application/metalink4+xml"`, "<http://"+host.Host+"/a>; rel=duplicate")
			var w world
			routes, errs := all(t, w.client(t).Locator(knows(transport.Route{URI: s.URL + "/blob"})), blob)
			if len(errs) != 1 || !strings.Contains(errs[0], "may not send us there") {
				t.Errorf("got %q", errs)
			}
			if len(routes) != 2 || routes[1].Remote != transport.RemotePublic {
				t.Errorf("got %+v", routes)
			}
		})
	}
	if n := trap.Came(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

// Neither are places asked that others named inside.
func TestPlacesOfOthersKeepToTheInternet(t *testing.T) {
	trap := netclasstest.NewTrap(t)
	var w world
	first := transport.Route{URI: "http://" + trap.Host + "/blob", Remote: transport.RemotePublic}
	if routes, errs := all(t, w.client(t).Locator(knows(first)), blob); len(routes) != 1 || errs != nil {
		t.Errorf("got %q, %q", uris(routes), errs)
	}
	if n := trap.Came(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

// Who isn't asked: small blobs' places, those of unknown size, other schemes,
// credentials, and one place twice.
func TestWhoIsAsked(t *testing.T) {
	s := linking(t, "<http://x.example/a>; rel=duplicate")
	h := httpclient.New(httpclient.Options{CertDirs: []string{}})
	defer h.CloseIdleConnections()
	c := metalink.New(metalink.Options{Docs: webdoc.New(h, 0)})
	host := strings.TrimPrefix(s.URL, "http://")
	l := c.Locator(knows(
		transport.Route{URI: "http://ann:pw@" + host + "/blob"}, transport.Route{URI: "docker://" + host + "/blob"},
		transport.Route{URI: "ftp://" + host + "/blob"}, transport.Route{URI: "http://%zz"},
		transport.Route{URI: s.URL + "/blob"}, transport.Route{URI: s.URL + "/blob"},
	))
	for size, want := range map[int64]int{-1: 0, 6: 0, metalink.DefaultMinSize - 1: 0, metalink.DefaultMinSize: 1} {
		s.asked = nil
		if routes, errs := all(t, l, ocispec.Descriptor{Digest: blob.Digest, Size: size}); len(routes) < 5 || errs != nil {
			t.Errorf("got %q, %q", uris(routes), errs)
		}
		if len(s.asked) != want {
			t.Errorf("size %d: asked %q", size, s.asked)
		}
	}
}

// A host that has no links is left alone, at first one request at a time.
func TestHostsWithoutLinks(t *testing.T) {
	var now, most, asked atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer now.Add(-1)
		if r.URL.Path == "/none" {
			http.NotFound(w, r)
		}
	})
	var routes []transport.Route
	for i := range 20 {
		routes = append(routes, transport.Route{URI: fmt.Sprint(s.URL, "/", i)}, transport.Route{URI: s.URL + "/none"})
	}
	var w world
	l := w.client(t).Locator(knows(routes...))
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for _, err := range l.Locate(t.Context(), blob) {
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if most.Load() != 1 || asked.Load() != 3 {
		t.Errorf("%d requests, up to %d at a time", asked.Load(), most.Load())
	}
}

// A place that says nothing holds up none of the others, and who stops listening
// doesn't wait for it.
func TestSilentPlace(t *testing.T) {
	release := make(chan struct{})
	mute := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	defer close(release)
	s := linking(t, "<http://x.example/a>; rel=duplicate")
	var w world
	l := w.client(t).Locator(knows(transport.Route{URI: mute.URL + "/blob"}, transport.Route{URI: s.URL + "/blob"}))
	n := 0
	for _, err := range l.Locate(t.Context(), blob) {
		if err != nil {
			t.Error(err)
		}
		if n++; n == 3 {
			break
		}
	}
	if n != 3 {
		t.Errorf("%d routes", n)
	}
}

// Documents don't lead from https to http; places may, what is read there is
// compared with the digest.
func TestNoDowngrade(t *testing.T) {
	trap := netclasstest.NewTrap(t)
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Link", "<http://"+trap.Host+`/doc>; rel=describedby; type="application/metalink4+xml"`)
		w.Header().Add("Link", "<http://x.example/a>; rel=duplicate")
	}))
	defer s.Close()
	h := httpclient.New(httpclient.Options{
		CertDirs: []string{}, Insecure: func(string) bool { return true }, Trusted: func(string) bool { return true },
	})
	defer h.CloseIdleConnections()
	c := metalink.New(metalink.Options{Docs: webdoc.New(h, 0), MinSize: -1})
	routes, errs := all(t, c.Locator(knows(transport.Route{URI: s.URL + "/blob"})), blob)
	if len(errs) != 1 || !strings.Contains(errs[0], "from https to http") || len(routes) != 2 || trap.Came() != 0 {
		t.Errorf("got %q, %q; %d connections", uris(routes), errs, trap.Came())
	}
}
