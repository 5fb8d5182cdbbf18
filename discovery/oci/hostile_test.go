package oci_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery/oci"
	"github.com/waybill-project/waybill/uritmpl"
)

// listen counts the connections to an address of this machine.
func listen(t *testing.T) (port string, connections *atomic.Int32) {
	t.Helper()
	connections = new(atomic.Int32)
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port, connections
}

// Ref engines that lead inward are refused one by one, nobody is dialled, and
// the one that doesn't has its say.
func TestHostileRefEngines(t *testing.T) {
	port, connections := listen(t)
	w := newWorld(t, "example.com")
	for template, note := range map[string]string{
		"https://127.0.0.1:" + port + "/{path}":            "loopback",
		"https://[::1]:" + port + "/{path}":                "loopback",
		"https://[::ffff:127.0.0.1]:" + port + "/{path}":   "loopback",
		"https://localhost:" + port + "/{path}":            "loopback",
		"https://0.0.0.0:" + port + "/{path}":              "loopback",
		"https://127.0.0.1/{path}":                         "loopback",
		"https://169.254.169.254/latest":                   "link-local",
		"https://[::ffff:10.0.0.1]/x":                      "private",
		"https://[64:ff9b::a00:1]/x":                       "private",
		"https://192.168.0.1/{path}":                       "private",
		"http://example.com/{path}":                        "from https to http",
		"file:///etc/shadow":                               `scheme "file"`,
		"ssh://example.com/{path}":                         `scheme "ssh"`,
		"exec:reboot":                                      `scheme "exec"`,
		"https://u:p@example.com/":                         "user information",
		"https://example.com/{digest}":                     "unknown variable",
		"{":                                                "RFC 6570",
		strings.Repeat("x", 1_000_000):                     "limit is",
		"{+path}":                                          "RFC 3986",
		strings.Repeat("{name}", uritmpl.MaxExpressions+1): "limit is 16",
	} {
		t.Run(template[:min(len(template), 40)], func(t *testing.T) {
			w.wellKnown("example.com", refEngines([]string{template, "/good"}, nil))
			w.page("example.com/good", indexType, indexOf(entryOf(1, "1")))
			answer, err := w.resolve(t, "example.com/:app#1")
			if err != nil || !slices.Equal(sizes(answer), []int64{1}) {
				t.Errorf("got %v, %v", sizes(answer), err)
			}
			noted := ""
			for _, n := range w.notes {
				if strings.Contains(n.Text, note) {
					noted = n.Text
				}
			}
			if noted == "" || len(noted) > 400 || strings.Contains(noted, "\n") {
				t.Errorf("want one line with %q among %+v", note, w.notes)
			}
			w.wasAsked(t, "example.com"+oci.WellKnown, "example.com/good")
			for _, r := range w.proxy.Requests() {
				if r.Host != "example.com:443" {
					t.Errorf("the proxy was asked for %s", r.Host)
				}
			}
		})
	}
	if n := connections.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

// CAS engines that lead inward keep the floor that refuses them; those that
// can't be used are left out one by one.
func TestHostileCASEngines(t *testing.T) {
	w := newWorld(t, "example.com")
	w.wellKnown("example.com", refEngines([]string{"/index"}, []string{
		"file:///{digest}", "http://example.com/{digest}", "https://example.com/{algorithm}", "https://{encoded:4}.example.com/{digest}",
		strings.Repeat("y", 5000), "https://10.0.0.1/{digest}", "https://example.com/{digest}", "https://example.com/{digest}",
	}))
	w.page("example.com/index", indexType, indexOf(entryOf(1, "1", "exec:{digest}", "https://169.254.169.254/{digest}", "/{digest}")))
	answer, err := w.resolve(t, "example.com/app#1")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range append(answer.Candidates[0].CASEngines, answer.CASEngines...) {
		got = append(got, fmt.Sprint(e.Template, " ", e.Floor, " ", e.Remote))
	}
	want := []string{
		"https://169.254.169.254/{digest} public true", "/{digest} loopback true",
		"https://10.0.0.1/{digest} public true", "https://example.com/{digest} loopback true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q; want %q", got, want)
	}
	for _, text := range []string{`scheme "file"`, "from https to http", "one URI for different blobs", "different hosts", "limit is 4096", `scheme "exec"`} {
		w.wasNoted(t, "example.com/", text)
	}
}

// However much documents hold, what is kept and told of them is bounded.
func TestHostileAmounts(t *testing.T) {
	w := newWorld(t, "example.com")
	var many []string
	for i := range oci.MaxIndexes + 5 {
		many = append(many, fmt.Sprintf("/%d", i))
	}
	w.wellKnown("example.com", refEngines(append(many, "{", "{", "{"), nil))
	if _, err := w.resolve(t, "example.com/app"); err == nil || len(w.asked) != oci.MaxIndexes+1 {
		t.Errorf("%d requests, %v", len(w.asked), err)
	}
	w.wasNoted(t, oci.WellKnown, "limit of 32")

	w.wellKnown("example.com", refEngines([]string{"/index"}, nil))
	var entries []map[string]any
	for i := range 5000 {
		entries = append(entries, entryOf(i, "", fmt.Sprintf("https://example.com/%d/{digest}", i), fmt.Sprintf("ftp://example.com/%d", i)))
	}
	w.page("example.com/index", indexType, indexOf(entries...))
	answer, err := w.resolve(t, "example.com/app")
	engines := 0
	for _, c := range answer.Candidates {
		engines += len(c.CASEngines)
	}
	if err != nil || len(answer.Candidates) != oci.MaxCandidates || engines > oci.MaxEngines || len(w.notes) > 300 {
		t.Errorf("%d candidates, %d engines, %d notes, %v", len(answer.Candidates), engines, len(w.notes), err)
	}
	w.wasNoted(t, "/index", "limit is 1000 answers")
	w.wasNoted(t, "/index", "limit is 100 notes")

	w.page("example.com/index", indexType, strings.Repeat(" ", oci.MaxIndex+1))
	if _, err := w.resolve(t, "example.com/app"); err == nil || !strings.Contains(err.Error(), fmt.Sprint(oci.MaxIndex)) {
		t.Errorf("got %v", err)
	}
	long := strings.Repeat("a.", 20) + "example.com"
	if _, err := w.resolve(t, long+"/app"); err == nil || len(w.proxy.Requests()) != oci.MaxAncestors+1 {
		t.Errorf("%d hosts were asked, %v", len(w.proxy.Requests()), err)
	}
	w.wasNoted(t, long, "limit is 8 ancestors")
}

// Expressions that are cheap alone are bounded together.
func TestHostileExpressions(t *testing.T) {
	w := newWorld(t, "example.com")
	document := map[string]any{}
	for i := range oci.MaxMembers - 2 {
		document[fmt.Sprintf("(x{0,40}){0,10}%04d|zzz", i)] = map[string]any{}
	}
	document["example"] = map[string]any{"refEngines": engines(oci.ProtocolIndexTemplate, "/index")}
	document[strings.Repeat("x", oci.MaxExpression+1)] = map[string]any{}
	w.page("example.com"+oci.WellKnown, oci.MediaTypeRegexpRefEngines, encode(document))
	w.page("example.com/index", indexType, indexOf(entryOf(1, "")))
	answer, err := w.resolve(t, "example.com/"+strings.Repeat("x", 2000))
	if err != nil || len(answer.Candidates) != 1 {
		t.Errorf("got %v, %v", sizes(answer), err)
	}
	w.wasNoted(t, oci.WellKnown, "more than 50000 states together")
	w.wasNoted(t, oci.WellKnown, "the limit is 512")
}

// Places that are the same are one source, others are not.
func TestSources(t *testing.T) {
	source := func(template, base, name string) string {
		e := oci.Engine{Protocol: oci.ProtocolCASTemplate, Template: template, Base: mustURL(t, base), Remote: true}
		if name != "" {
			n, err := oci.Parse(name)
			if err != nil {
				t.Fatal(err)
			}
			e.Name = n
		}
		l, err := e.Locator("")
		if err != nil {
			t.Fatal(err)
		}
		for r := range l.Locate(t.Context(), ocispec.Descriptor{Digest: digest.FromString("x")}) {
			return r.Source
		}
		return ""
	}
	a, b := "https://a.example/d/x", "https://b.example/d/x"
	for i, tt := range []struct {
		one, other string
		same       bool
	}{
		{source("c/{digest}", a, ""), source("/d/c/{digest}", a, ""), true},
		{source("c/{digest}", a, "n.example/1"), source("https://a.example/d/c/{digest}", b, "n.example/2"), true},
		{source("c/{digest}", a, ""), source("c/{digest}", b, ""), false},
		{source("{path}/{digest}", a, "n.example/1"), source("{path}/{digest}", a, "n.example/2"), false},
	} {
		if (tt.one == tt.other) != tt.same || !strings.HasPrefix(tt.one, "https://a.example/") {
			t.Errorf("%d: %q and %q", i, tt.one, tt.other)
		}
	}
}
