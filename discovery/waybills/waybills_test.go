package waybills_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery"
	"github.com/waybill-project/waybill/discovery/waybills"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/netclass"
	"github.com/waybill-project/waybill/waybill"
	"github.com/waybill-project/waybill/webdoc"
)

var (
	now     = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	content = []byte(strings.Repeat("waybill", 100_000))
	blob    = ocispec.Descriptor{Digest: digest.FromBytes(content), Size: int64(len(content))}
	subject = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("image"), Size: 5}
)

// document says where the blob is.
func document(t *testing.T, change ...func(*waybill.Document)) []byte {
	t.Helper()
	pieces, err := waybill.HashPieces(strings.NewReader(string(content)), blob.Size, digest.SHA256, 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	d := &waybill.Document{
		Issued: now.Add(-time.Hour), Expires: now.Add(time.Hour), Sequence: 1,
		Consignments: []waybill.Consignment{{
			Digest: blob.Digest, Size: blob.Size, Pieces: pieces,
			Aliases: []waybill.Alias{
				{Kind: waybill.KindBTIH, Value: strings.Repeat("ab", 20), File: "a b"},
				{Kind: waybill.KindCID, Value: "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"},
			},
			Routes: []waybill.Route{{URI: "https://far.example/blob", Priority: 1}, {URI: "near/blob", Priority: 2}},
		}},
		Carriers: []waybill.Carrier{
			{Protocol: waybill.ProtocolDistribution, URI: "https://allowed.example", Repository: "team/app", Priority: 3},
			{Protocol: waybill.ProtocolDistribution, URI: "http://allowed.example", Repository: "team/plain", Priority: 4},
			{Protocol: "no-such-v1", URI: "https://allowed.example"},
		},
	}
	for _, f := range change {
		f(d)
	}
	b, err := d.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// notes collects what is told.
type notes struct {
	mu   sync.Mutex
	text []string
}

func (n *notes) add(note discovery.Note) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.text = append(n.text, note.Where+": "+note.Text)
}

func (n *notes) want(t *testing.T, words ...string) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.text) != len(words) {
		t.Errorf("told %d things, want %d:\n%s", len(n.text), len(words), strings.Join(n.text, "\n"))
	}
	for _, w := range words {
		if !slices.ContainsFunc(n.text, func(s string) bool { return strings.Contains(s, w) }) {
			t.Errorf("nothing is told of %q:\n%s", w, strings.Join(n.text, "\n"))
		}
	}
}

func newClient(t *testing.T) (*waybills.Client, *notes) {
	t.Helper()
	told := &notes{}
	web := httpclient.New(httpclient.Options{})
	t.Cleanup(web.CloseIdleConnections)
	return waybills.New(waybills.Options{
		Docs: webdoc.New(web, 0), Note: told.add, Now: func() time.Time { return now },
		Allowed: func(host string) (transport.Remote, bool) {
			return transport.RemotePublic, host == "allowed.example"
		},
		Trusted: func(host string) bool { return host == "trusted.example:2222" },
	}), told
}

func file(t *testing.T, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app.waybill.json")
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func locate(t *testing.T, c *waybills.Client, ref string, image digest.Digest) []transport.Route {
	t.Helper()
	b, err := c.Given(ref)
	if err != nil {
		t.Fatal(err)
	}
	var all []transport.Route
	for r, err := range b.About(image).Locate(t.Context(), blob) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

func uris(routes []transport.Route) string {
	var all []string
	for _, r := range routes {
		all = append(all, r.URI)
	}
	return strings.Join(all, " ")
}

// A file of this machine is trusted as if it were typed.
func TestFile(t *testing.T) {
	c, told := newClient(t)
	path := file(t, document(t))
	routes := locate(t, c, path, subject.Digest)
	want := "https://far.example/blob file://" + filepath.Dir(path) + "/near/blob docker://allowed.example/team/app docker://allowed.example/team/plain" +
		" magnet:?xt=urn:btih:" + strings.Repeat("ab", 20) + "#a%20b ipfs://bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
	if got := uris(routes); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, r := range routes {
		if r.Remote != 0 || !strings.Contains(r.Origin, "waybill.json") {
			t.Errorf("%+v", r)
		}
	}
	told.want(t, "no-such-v1")
}

// What comes through a pipe is a file too, without a place that relative URIs
// could be relative to.
func TestPipe(t *testing.T) {
	c, told := newClient(t)
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() { written <- os.WriteFile(path, document(t), 0) }()
	if routes := locate(t, c, path, subject.Digest); len(routes) != 5 || routes[0].URI != "https://far.example/blob" {
		t.Errorf("found %s", uris(routes))
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
	told.want(t, "relative URI", "no-such-v1")
}

// One from the network leads to its own origin and to those policy allows.
func TestURL(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write(document(t))
	}))
	defer s.Close()
	c, told := newClient(t)
	routes := locate(t, c, s.URL+"/dir/app", subject.Digest)
	if got, want := uris(routes), s.URL+"/dir/near/blob docker://allowed.example/team/app docker://allowed.example/team/plain ipfs://bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, r := range routes {
		floor := netclass.Public
		if strings.HasPrefix(r.URI, s.URL) {
			floor = netclass.Loopback
		}
		if r.Remote == 0 || r.Remote.Floor() != floor {
			t.Errorf("%s may be in %v", r.URI, r.Remote.Floor())
		}
	}
	told.want(t, `[host."far.example"] trusted = true`, "magnet", "no-such-v1")
}

// A gateway of IPFS is asked by the names the document knows, and by the digest.
func TestGateway(t *testing.T) {
	c, told := newClient(t)
	routes := locate(t, c, file(t, document(t, func(d *waybill.Document) {
		d.Consignments[0].Routes = nil
		d.Consignments[0].Aliases = []waybill.Alias{{Kind: waybill.KindCID, Value: "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e", File: "a b/c"}}
		d.Carriers = []waybill.Carrier{{Protocol: waybill.ProtocolIPFSGateway, URI: "https://gateway.example/base/"}}
	})), subject.Digest)
	const cid = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e/a%20b/c"
	const base = "ipfs+https://gateway.example/base"
	if got, want := uris(routes), base+"/ipfs/"+cid+" "+base+" ipfs://"+cid; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if routes[0].Source != base || routes[1].Source != base {
		t.Errorf("sources %s and %s", routes[0].Source, routes[1].Source)
	}
	told.want(t)
}

// An SSH host in a document from elsewhere is asked where the configuration
// trusts it, with the user's keys; a host that is merely allowed isn't.
func TestSSH(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write(document(t, func(d *waybill.Document) {
			d.Consignments[0].Aliases = nil
			d.Consignments[0].Routes = []waybill.Route{{URI: "sftp://allowed.example/srv", Priority: 1}}
			d.Carriers = []waybill.Carrier{
				{Protocol: waybill.ProtocolSSHLayout, URI: "ssh://ann@Trusted.example:2222/srv", Priority: 2},
				{Protocol: waybill.ProtocolSSHLayout, URI: "sftp://trusted.example/srv", Priority: 3},
			}
		}))
	}))
	defer s.Close()
	c, told := newClient(t)
	routes := locate(t, c, s.URL, subject.Digest)
	if got, want := uris(routes), "ssh://ann@Trusted.example:2222/srv"; got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
	if routes[0].Remote != 0 || routes[0].Priority <= 2 {
		t.Errorf("%+v", routes[0])
	}
	told.want(t, `[host."allowed.example"] trusted = true`, `[host."trusted.example"] trusted = true`)
}

// What can't be used is ignored, and told.
func TestIgnored(t *testing.T) {
	manifest, err := waybill.Manifest(document(t), subject)
	if err != nil {
		t.Fatal(err)
	}
	bare := func(m []byte) []byte {
		var v map[string]any
		if err := json.Unmarshal(m, &v); err != nil {
			t.Fatal(err)
		}
		delete(v["layers"].([]any)[0].(map[string]any), "data")
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, test := range map[string]struct {
		content []byte
		image   digest.Digest
		says    string
	}{
		"expired": {document(t, func(d *waybill.Document) { d.Expires = now }), subject.Digest, "expired"},
		"of the future": {document(t, func(d *waybill.Document) {
			d.Issued, d.Expires = now.Add(time.Hour), now.Add(2*time.Hour)
		}), subject.Digest, "future"},
		"garbage":                {[]byte("{"), subject.Digest, "ignored"},
		"empty":                  {nil, subject.Digest, "ignored"},
		"too large":              {make([]byte, 8<<20), subject.Digest, "larger than"},
		"of another image":       {manifest, digest.FromString("other"), "another image"},
		"not in its manifest":    {bare(manifest), subject.Digest, "doesn't embed"},
		"of a blob of that size": {document(t, func(d *waybill.Document) { d.Consignments[0].Size, d.Consignments[0].Pieces, d.Carriers = 7, nil, nil }), subject.Digest, "7 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			c, told := newClient(t)
			if routes := locate(t, c, file(t, test.content), test.image); len(routes) > 0 {
				t.Errorf("it leads to %s", uris(routes))
			}
			told.mu.Lock()
			defer told.mu.Unlock()
			if last := len(told.text) - 1; last < 0 || !strings.Contains(told.text[last], test.says) || strings.Contains(told.text[last], "\n") {
				t.Errorf("told %q, want %q", told.text, test.says)
			}
		})
	}
	c, told := newClient(t)
	if len(locate(t, c, file(t, manifest), subject.Digest)) != 6 {
		t.Error("the manifest of a waybill isn't read")
	}
	told.want(t, "no-such-v1")
}

func TestGivenRefuses(t *testing.T) {
	c, _ := newClient(t)
	for ref, says := range map[string]string{
		filepath.Join(t.TempDir(), "none"): "no such file",
		t.TempDir():                        "not a file",
		"https://u:secret@h.example/x":     "no password",
		"https:///x":                       "host",
	} {
		if _, err := c.Given(ref); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", ref, err, says)
		}
	}
}

// Hashes of pieces are in the document, or where it says.
func TestPieces(t *testing.T) {
	var table []byte
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/table":
			w.Write(table)
		case "/lie":
			w.Write(make([]byte, len(table)))
		default:
			w.Write(document(t, func(d *waybill.Document) {
				p := d.Consignments[0].Pieces
				table, p.Data = p.Data, nil
				p.Routes = []waybill.Route{{URI: "/lie", Priority: 1}, {URI: "ftp://allowed.example/t", Priority: 2}, {URI: "https://far.example/t", Priority: 3}, {URI: "/table", Priority: 4}}
			}))
		}
	}))
	defer s.Close()
	for name, ref := range map[string]string{"in it": file(t, document(t)), "elsewhere": s.URL + "/doc"} {
		t.Run(name, func(t *testing.T) {
			c, _ := newClient(t)
			b, err := c.Given(ref)
			if err != nil {
				t.Fatal(err)
			}
			about := b.About(subject.Digest)
			pieces, by, err := about.Pieces(t.Context(), blob)
			if err != nil || pieces == nil || by != ref || pieces.Len() != (len(content)-1)/(64<<10)+1 {
				t.Fatalf("%v of %s, %v", pieces, by, err)
			}
			if other, _, err := about.Pieces(t.Context(), subject); other != nil || err != nil {
				t.Errorf("of a blob it doesn't speak of: %v, %v", other, err)
			}
		})
	}
}
