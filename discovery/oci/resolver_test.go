package oci_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery/oci"
	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/netclass"
)

const indexType = ocispec.MediaTypeImageIndex

// entryOf returns an entry of an index that is called ref; it is told from others
// by its size.
func entryOf(size int, ref string, casEngines ...string) map[string]any {
	e := map[string]any{
		"mediaType": ocispec.MediaTypeImageManifest, "size": size, "digest": digest.FromString(fmt.Sprint(size)),
		"annotations": map[string]string{ocispec.AnnotationRefName: ref},
	}
	if casEngines != nil {
		e["casEngines"] = engines(oci.ProtocolCASTemplate, casEngines...)
	}
	return e
}

func engines(protocol string, templates ...string) []map[string]string {
	list := []map[string]string{}
	for _, t := range templates {
		list = append(list, map[string]string{"protocol": protocol, "uri": t})
	}
	return list
}

// refEngines returns a discovery document.
func refEngines(refs, cas []string) string {
	return encode(map[string]any{"refEngines": engines(oci.ProtocolIndexTemplate, refs...), "casEngines": engines(oci.ProtocolCASTemplate, cas...)})
}

func indexOf(entries ...map[string]any) string {
	return encode(map[string]any{"schemaVersion": 2, "manifests": entries})
}

func encode(v any) string {
	content, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(content)
}

// sizes returns what entryOf told the candidates by.
func sizes(a oci.Answer) []int64 {
	var all []int64
	for _, c := range a.Candidates {
		all = append(all, c.Descriptor.Size)
	}
	return all
}

func TestResolveWalksTheAncestors(t *testing.T) {
	document := refEngines([]string{"/index/{+path}"}, []string{"cas/{algorithm}/{encoded:2}/{encoded}"})
	for _, tt := range []struct {
		name, holder string
		asked        []string
	}{
		{"a.b.example.com/c/d#1", "a.b.example.com", []string{"a.b.example.com"}},
		{"a.b.example.com/c/d#1", "b.example.com", []string{"a.b.example.com", "b.example.com"}},
		{"a.b.example.com/c/d#1", "example.com", []string{"a.b.example.com", "b.example.com", "example.com"}},
		{"A.B.Example.COM/c/d#1", "example.com", []string{"a.b.example.com", "b.example.com", "example.com"}},
		{"a.b.example.com/c/d#1", "com", []string{"a.b.example.com", "b.example.com", "example.com"}},
		{"com/c/d#1", "com", nil},
		{"[2606:4700::1]/c/d#1", "[2606:4700::1]", []string{"[2606:4700::1]"}},
		{"1.2.3.4/c/d#1", "3.4", []string{"1.2.3.4"}},
	} {
		t.Run(tt.name+" at "+tt.holder, func(t *testing.T) {
			w := newWorld(t, "a.b.example.com", "b.example.com", "example.com", "com", "[2606:4700::1]", "1.2.3.4", "3.4")
			w.wellKnown(tt.holder, document)
			w.page(tt.holder+"/index/c/d", indexType, indexOf(entryOf(1, "1"), entryOf(2, "2")))
			answer, err := w.resolve(t, tt.name)
			var asked []string
			for _, h := range tt.asked {
				asked = append(asked, h+oci.WellKnown)
			}
			if !slices.Contains(tt.asked, tt.holder) {
				if !errors.Is(err, resolve.ErrNotFound) {
					t.Errorf("got %+v, %v", answer, err)
				}
				w.wasAsked(t, asked...)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			w.wasAsked(t, append(asked, tt.holder+"/index/c/d")...)
			c := answer.Candidates[0]
			if len(answer.Candidates) != 1 || c.Descriptor.Size != 1 || c.From != "https://"+tt.holder+"/index/c/d" || c.Via != "https://"+tt.holder+oci.WellKnown || c.Time.IsZero() {
				t.Errorf("got %+v", answer.Candidates)
			}
			if by := c.Resolution().By; by.Resolver != "oci-discovery" || by.URI != c.From || by.Time != c.Time {
				t.Errorf("by %+v", by)
			}
			blob := ocispec.Descriptor{Digest: digest.FromString("x"), Size: 1}
			want := "https://" + tt.holder + "/.well-known/cas/sha256/" + blob.Digest.Encoded()[:2] + "/" + blob.Digest.Encoded()
			if got := routes(t, answer.CASEngines, blob); !slices.Equal(got, []string{want}) {
				t.Errorf("routes %q; want %q", got, want)
			}
			if e := answer.CASEngines[0]; !e.Remote || e.Floor != netclass.Loopback {
				t.Errorf("an engine on the name's own host is %+v", e)
			}
		})
	}
}

// routes returns the URIs of a blob at the engines.
func routes(t *testing.T, engines []oci.Engine, desc ocispec.Descriptor) []string {
	t.Helper()
	var all []string
	for _, e := range engines {
		l, err := e.Locator("test")
		if err != nil {
			t.Fatal(err)
		}
		for r, err := range l.Locate(t.Context(), desc) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, r.URI)
		}
	}
	return all
}

// What fails is told, and the walk goes on; it never goes to http.
func TestResolveFailsOver(t *testing.T) {
	for what, tt := range map[string]struct {
		page http.HandlerFunc
		note string
	}{
		"500":          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "500"},
		"403":          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, "403"},
		"not JSON":     {say(oci.MediaTypeRefEngines, `{"refEngines":[],}`), "a comma before it"},
		"HTML":         {say("text/html", `{"refEngines":[]}`), `Content-Type is "text/html"`},
		"an array":     {say("", `[]`), "an object is wanted"},
		"10 MB":        {say(oci.MediaTypeRefEngines, `{"x":"`+strings.Repeat("x", 10<<20)+`"}`), "limit of 1048576 bytes"},
		"deep":         {say("", strings.Repeat(`{"x":`, 65)+"1"+strings.Repeat("}", 65)), "deeper than 64"},
		"many entries": {say("", `{"refEngines":[`+strings.Repeat("1,", 100_000)+`1]}`), "more than 100 entries"},
		"many members": {say("", `{`+members(1001)+`}`), "more than 1000 members"},
		"to http": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://example.com/x", http.StatusFound)
		}, "http"},
		"in circles": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, "redirect"},
		"to this host": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.1/x", http.StatusFound)
		}, "127.0.0.1"},
		"never answers": {func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no document within"},
		"regexps":       {say(oci.MediaTypeRegexpRefEngines, `{"a":1,}`), "a comma before it"},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, "a.example.com", "example.com")
			w.timeout = time.Second
			w.pages["a.example.com"+oci.WellKnown] = tt.page
			w.wellKnown("example.com", refEngines([]string{"https://{host}/{path}"}, nil))
			w.page("a.example.com/app", "application/octet-stream", indexOf(entryOf(1, "1")))
			answer, err := w.resolve(t, "a.example.com/app#1")
			if err != nil || !slices.Equal(sizes(answer), []int64{1}) {
				t.Fatalf("got %v, %v", sizes(answer), err)
			}
			w.wasNoted(t, "a.example.com"+oci.WellKnown, tt.note)
			for _, r := range w.proxy.Requests() {
				if r.Method != http.MethodConnect || !strings.HasSuffix(r.Host, "example.com:443") {
					t.Errorf("asked %+v", r)
				}
			}
			delete(w.pages, "example.com"+oci.WellKnown)
			if _, err := w.resolve(t, "a.example.com/app#1"); err == nil || errors.Is(err, resolve.ErrNotFound) || !errors.As(err, new(*transport.Error)) {
				t.Errorf("where nobody could say, got %v", err)
			}
		})
	}
}

// say returns a page.
func say(mediaType, content string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		_, _ = io.WriteString(w, content)
	}
}

func members(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(`"%d":1`, i)
	}
	return strings.Join(all, ",")
}

// Several ref engines of one document are asked at once; their answers are in
// the document's order, whoever is first.
func TestResolveKeepsTheOrder(t *testing.T) {
	w := newWorld(t, "example.com")
	w.wellKnown("example.com", refEngines([]string{"/slow", "/none", "/fast", "/slow", "/other"}, nil))
	fast := make(chan struct{})
	w.pages["example.com/slow"] = func(rw http.ResponseWriter, r *http.Request) {
		select {
		case <-fast:
		case <-r.Context().Done():
		}
		say(indexType, indexOf(entryOf(1, "1"), entryOf(2, "x"), entryOf(3, "1")))(rw, r)
	}
	w.pages["example.com/fast"] = func(rw http.ResponseWriter, r *http.Request) {
		close(fast)
		say(indexType, indexOf(entryOf(4, "1")))(rw, r)
	}
	w.page("example.com/other", indexType, indexOf(entryOf(5, "example.com/app#1")))
	answer, err := w.resolve(t, "example.com/app#1")
	if err != nil || !slices.Equal(sizes(answer), []int64{1, 3, 4, 5}) {
		t.Errorf("got %v, %v", sizes(answer), err)
	}
	w.wasAsked(t, "example.com"+oci.WellKnown, "example.com/slow", "example.com/none", "example.com/fast", "example.com/other")
	w.wasNoted(t, "/none", "404")
	w.wasNoted(t, oci.WellKnown, "which was asked")
	if answer, err := w.resolve(t, "example.com/app#7"); err == nil {
		t.Errorf("got %+v", answer)
	}
}

func TestResolveNotFound(t *testing.T) {
	w := newWorld(t, "example.com")
	if _, err := w.resolve(t, "example.com/app#1"); !errors.Is(err, resolve.ErrNotFound) || !strings.Contains(err.Error(), "example.com/app#1") {
		t.Errorf("without documents: %v", err)
	}
	w.wellKnown("example.com", refEngines([]string{"/none", "/index"}, nil))
	w.page("example.com/index", indexType, indexOf(entryOf(1, "1")))
	if _, err := w.resolve(t, "example.com/app#2"); !errors.Is(err, resolve.ErrNotFound) {
		t.Errorf("called otherwise: %v", err)
	}
	w.wasNoted(t, "https://example.com/index", "none of them")
	w.page("example.com/none", indexType, "{}")
	if _, err := w.resolve(t, "example.com/app#2"); !errors.Is(err, transport.ErrPermanent) || errors.Is(err, resolve.ErrNotFound) {
		t.Errorf("a broken index: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(io.ErrClosedPipe)
	n, err := oci.Parse("example.com/app")
	if err != nil {
		t.Fatal(err)
	}
	r := oci.New(oci.Options{Docs: w.docs(t), Env: func(string) string { return "" }})
	if _, err := r.Resolve(ctx, n); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestResolveLocal(t *testing.T) {
	local := func(refs, cas []string) map[string]any {
		return map[string]any{"refEngines": engines(oci.ProtocolIndexTemplate, refs...), "casEngines": engines(oci.ProtocolCASTemplate, cas...)}
	}
	w := newWorld(t, "example.com", "corp.example")
	home, system, other := w.env["XDG_CONFIG_HOME"], w.env["XDG_CONFIG_DIRS"], t.TempDir()
	w.env["XDG_CONFIG_DIRS"] = strings.Join([]string{"relative", system, other}, string(os.PathListSeparator))
	w.config(t, home, encode(map[string]any{
		`^example\.com/`: local([]string{"https://corp.example/home"}, []string{"http://corp.example:8080/{digest}"}),
		`^example`:       map[string]any{"refEngines": engines("docker", "https://index.docker.io/v2")},
	}))
	w.config(t, system, encode(map[string]any{
		`^example\.com/`:      local([]string{"https://corp.example/hidden"}, nil),
		`^example`:            local([]string{"https://corp.example/hidden"}, nil),
		`^example\.com/app#1`: local([]string{"https://corp.example/long", "index.json"}, nil),
		`[`:                   local([]string{"https://corp.example/hidden"}, nil),
		`^example\.com/a`:     7,
	}))
	broken := w.config(t, other, `{"^example": {},}`)
	for _, p := range []string{"home", "hidden"} {
		w.page("corp.example/"+p, indexType, indexOf(entryOf(len(p), "1")))
	}
	w.page("corp.example/long", indexType, indexOf(entryOf(100, "1")))
	w.wellKnown("example.com", refEngines([]string{"https://{host}/{path}"}, nil))
	w.page("example.com/app", indexType, indexOf(entryOf(200, "1")))

	answer, err := w.resolve(t, "example.com/app#1")
	if err != nil || !slices.Equal(sizes(answer), []int64{100}) {
		t.Fatalf("got %v, %v", sizes(answer), err)
	}
	w.wasAsked(t, "corp.example/long")
	w.wasNoted(t, broken, "a comma before it")
	w.wasNoted(t, "relative", "ignored")
	w.wasNoted(t, system, `"[": not a POSIX extended`)
	w.wasNoted(t, system, "a number where an object is wanted")
	w.wasNoted(t, system, `scheme "file"`)
	w.wasNoted(t, home, `unknown protocol "docker"`)
	if len(answer.CASEngines) != 1 || answer.CASEngines[0].Remote || answer.CASEngines[0].Template != "http://corp.example:8080/{digest}" {
		t.Errorf("CAS engines %+v", answer.CASEngines)
	}

	// With that one gone, the next by length; and all of them where wanted.
	w.page("corp.example/long", indexType, indexOf(entryOf(1, "2")))
	if answer, err := w.resolve(t, "example.com/app#1"); err != nil || !slices.Equal(sizes(answer), []int64{4}) {
		t.Errorf("got %v, %v", sizes(answer), err)
	}
	w.all = true
	if answer, err := w.resolve(t, "example.com/app#1"); err != nil || !slices.Equal(sizes(answer), []int64{4, 200}) {
		t.Errorf("of all, got %v, %v", sizes(answer), err)
	}
	w.all = false
	delete(w.pages, "corp.example/home")
	if answer, err := w.resolve(t, "example.com/app#1"); err != nil || !slices.Equal(sizes(answer), []int64{200}) {
		t.Errorf("without local ones, got %v, %v", sizes(answer), err)
	}
}

// $HOME/.config is where it is unless the environment says otherwise.
func TestResolveHome(t *testing.T) {
	w := newWorld(t, "corp.example")
	home := t.TempDir()
	w.config(t, home+"/.config", `{"^x": {"refEngines":[{"protocol":"oci-index-template-v1","uri":"https://corp.example/i"}]}}`)
	w.page("corp.example/i", indexType, indexOf(entryOf(1, "")))
	delete(w.env, "XDG_CONFIG_HOME")
	w.env["HOME"] = home
	if answer, err := w.resolve(t, "x.example/app"); err != nil || !slices.Equal(sizes(answer), []int64{1}) {
		t.Errorf("got %v, %v", sizes(answer), err)
	}
	w.wasAsked(t, "corp.example/i")
}

// A host may have other engines for some of its names.
func TestResolveRemoteRegexps(t *testing.T) {
	w := newWorld(t, "example.com")
	document := map[string]any{"[": 1, "/app#": []int{}}
	for key, path := range map[string]string{"^example": "/short", "^example.com/": "/long", "^example.org": "/other"} {
		document[key] = map[string]any{"refEngines": engines(oci.ProtocolIndexTemplate, path), "casEngines": engines(oci.ProtocolCASTemplate, path+"/{digest}")}
		w.page("example.com"+path, indexType, indexOf(entryOf(len(path), "1")))
	}
	w.page("example.com"+oci.WellKnown, oci.MediaTypeRegexpRefEngines+"; charset=utf-8", encode(document))
	answer, err := w.resolve(t, "example.com/app#1")
	if err != nil || !slices.Equal(sizes(answer), []int64{5}) || len(answer.CASEngines) != 2 || answer.CASEngines[0].Template != "/long/{digest}" {
		t.Errorf("got %+v, %v", answer, err)
	}
	w.wasNoted(t, oci.WellKnown, `"[": not a POSIX`)
	w.wasNoted(t, oci.WellKnown, `"/app#": an array`)
	w.wasAsked(t, "example.com"+oci.WellKnown, "example.com/long")
}

// What is relative is relative to where the document came from in the end.
func TestResolveAfterRedirects(t *testing.T) {
	w := newWorld(t, "example.com", "www.example.org", "cdn.example.net")
	redirect := func(to string) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, to, http.StatusFound) }
	}
	w.pages["example.com"+oci.WellKnown] = redirect("https://www.example.org/d/doc?signature=secret")
	w.page("www.example.org/d/doc", "text/plain", refEngines([]string{"i/{path}"}, []string{"c/{encoded}"}))
	w.pages["www.example.org/d/i/app"] = redirect("https://cdn.example.net/x/y?signature=secret")
	w.page("cdn.example.net/x/y", "", indexOf(entryOf(1, "1", "b/{encoded}")))
	answer, err := w.resolve(t, "example.com/app#1")
	if err != nil {
		t.Fatal(err)
	}
	c := answer.Candidates[0]
	if c.From != "https://cdn.example.net/x/y?…" || c.Via != "https://www.example.org/d/doc?…" {
		t.Errorf("from %q via %q", c.From, c.Via)
	}
	blob := ocispec.Descriptor{Digest: digest.FromString("x"), Size: 1}
	got := routes(t, append(c.CASEngines, answer.CASEngines...), blob)
	if !slices.Equal(got, []string{"https://cdn.example.net/x/b/" + blob.Digest.Encoded(), "https://www.example.org/d/c/" + blob.Digest.Encoded()}) {
		t.Errorf("routes %q", got)
	}
	if f := c.CASEngines[0].Floor; f != netclass.Public {
		t.Errorf("an engine that nobody here named may be in a %v network", f)
	}
	for _, n := range w.notes {
		if strings.Contains(n.Where+n.Text, "secret") {
			t.Errorf("a signature is told: %+v", n)
		}
	}
}

// Where redirects of a host in this network lead within it, what is relative to
// there may be had there; another origin on the same machine may not.
func TestRedirectedWithinANetwork(t *testing.T) {
	w := newWorld(t, "127.0.0.1")
	pages := http.NewServeMux()
	second := httptest.NewTLSServer(pages)
	t.Cleanup(second.Close)
	dir := filepath.Join(w.certs, second.Listener.Addr().String())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: second.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), authority, 0o600); err != nil {
		t.Fatal(err)
	}
	w.pages["127.0.0.1"+oci.WellKnown] = func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, second.URL+"/d/doc", http.StatusFound)
	}
	page := func(at, content string) {
		pages.HandleFunc(at, func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, content) })
	}
	page("/d/doc", refEngines([]string{"https://127.0.0.1:1/i", "i"}, []string{"c/{encoded}", "https://127.0.0.1:1/{encoded}"}))
	page("/d/i", indexOf(entryOf(1, "1", "b/{encoded}")))
	answer, err := w.resolve(t, "127.0.0.1/app#1")
	if err != nil {
		t.Fatal(err)
	}
	w.wasNoted(t, "https://127.0.0.1:1/i", "loopback address")
	var floors []netclass.Class
	for _, e := range append(answer.Candidates[0].CASEngines, answer.CASEngines...) {
		floors = append(floors, e.Floor)
	}
	if !slices.Equal(floors, []netclass.Class{netclass.Loopback, netclass.Loopback, netclass.Public}) {
		t.Errorf("the engines may be in networks of %v", floors)
	}
}
