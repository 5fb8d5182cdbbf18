package metalink_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/discovery/metalink"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/webdoc"
)

// made is a torrent that transmission made, and the hash it says that it has.
func made(t *testing.T, options ...string) (torrent []byte, hash string) {
	t.Helper()
	dir := t.TempDir()
	file, out := filepath.Join(dir, "blob"), filepath.Join(dir, "blob.torrent")
	if err := os.WriteFile(file, []byte("a blob"), 0o644); err != nil {
		t.Fatal(err)
	}
	if text, err := exec.Command("transmission-create", append(options, "-o", out, file)...).CombinedOutput(); err != nil {
		t.Fatalf("transmission-create (package transmission-cli): %v\n%s", err, text)
	}
	shown, err := exec.Command("transmission-show", out).CombinedOutput()
	if err != nil {
		t.Fatalf("transmission-show: %v\n%s", err, shown)
	}
	m := regexp.MustCompile(`Hash(?: v1)?: ([0-9a-f]{40})`).FindSubmatch(shown)
	if m == nil {
		t.Fatalf("no hash in\n%s", shown)
	}
	content, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return content, string(m[1])
}

func TestMagnet(t *testing.T) {
	torrent, hash := made(t, "-t", "https://tracker.example/announce?x=1&y", "-t", "udp://tracker.example:6969")
	got, err := metalink.Magnet(torrent)
	want := "magnet:?xt=urn:btih:" + hash + "&tr=https%3A%2F%2Ftracker.example%2Fannounce%3Fx%3D1%26y&tr=udp%3A%2F%2Ftracker.example%3A6969"
	if err != nil || got != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
	private, _ := made(t, "-p", "-t", "https://tracker.example/announce")
	if got, err := metalink.Magnet(private); err == nil || !strings.Contains(err.Error(), "private") {
		t.Errorf("of a private one: %s, %v", got, err)
	}
}

func TestMagnetOfTorrents(t *testing.T) {
	for in, want := range map[string]string{
		"d4:infod6:pieces0:ee":                                                                   "magnet:?xt=urn:btih:",
		"d4:infod12:meta versioni2eee":                                                           "magnet:?xt=urn:btmh:1220",
		"d4:infod12:meta versioni2e6:pieces0:ee":                                                 "&xt=urn:btmh:1220",
		"d8:announce5:ftp:/4:infod6:pieces0:ee":                                                  "magnet:?xt=urn:btih:",
		"d13:announce-listlli1eel9:http://a/ee4:infod6:pieces0:ee":                               "&tr=http%3A%2F%2Fa%2F",
		"d13:announce-list" + "l" + strings.Repeat("l9:http://a/e", 50) + "e4:infod6:pieces0:ee": "&tr=http%3A%2F%2Fa%2F",
	} {
		if got, err := metalink.Magnet([]byte(in)); err != nil || !strings.Contains(got, want) || strings.Count(got, "&tr=") > 1 || strings.Contains(got, "ftp") {
			t.Errorf("%s: got %s, %v", in, got, err)
		}
	}
	for in, says := range map[string]string{
		"": "not bencoded", "x": "not bencoded", "d": "not bencoded", "de": "info: not bencoded", "de1": "not bencoded", "d4:infodee": "neither pieces",
		"d4:info": "not bencoded", "d4:infoi1ee": "info: not bencoded", "d4:infod6:pieces0:e": "not bencoded", "d04:infodee": "not bencoded",
		"d9999999:x": "not bencoded", "d99999999999:x": "not bencoded", "d-1:x": "not bencoded", "di1e1:xe": "not bencoded",
		"d1:ai99999999999999999999999ee": "not bencoded", "d1:aiee": "not bencoded", "d1:b0:1:a0:e": "out of order", "d1:a0:1:a0:e": "out of order",
		"d1:a" + strings.Repeat("l", 1_000_000):    "limit of 16",
		strings.Repeat("x", metalink.MaxTorrent+1): "limit is 8388608",
	} {
		if got, err := metalink.Magnet([]byte(in)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40s: got %s, %v; want %q", in, got, err, says)
		}
	}
}

func FuzzMagnet(f *testing.F) {
	f.Add([]byte("d8:announce9:http://a/13:announce-listll9:http://a/ee4:infod12:meta versioni2e6:pieces0:ee"))
	f.Fuzz(func(t *testing.T, torrent []byte) {
		if link, err := metalink.Magnet(torrent); err == nil && !strings.HasPrefix(link, "magnet:?xt=urn:bt") {
			t.Errorf("%q: %s", torrent, link)
		}
	})
}

// Torrents that a link or a metalink leads to become magnet links, the last to be
// asked.
func TestTorrents(t *testing.T) {
	torrent, hash := made(t, "-t", "https://tracker.example/announce")
	magnet := "magnet:?xt=urn:btih:" + hash + "&tr=https%3A%2F%2Ftracker.example%2Fannounce"
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/linked":
			w.Header().Add("Link", `<t>; rel=describedby; type="application/x-bittorrent"`)
			w.Header().Add("Link", `<bad>; rel=describedby; type="application/x-bittorrent"`)
			w.Header().Add("Link", `<t>; rel=describedby; type="application/x-bittorrent"`)
			w.Header().Add("Link", `<http://x.example/a>; rel=duplicate`)
		case "/described":
			w.Header().Add("Link", `<doc>; rel=describedby; type="application/metalink4+xml"`)
		case "/doc":
			fmt.Fprint(w, document(`<url>http://x.example/a</url><metaurl mediatype="torrent" priority="1">http://`+r.Host+`/t</metaurl><metaurl mediatype="torrent">file:///t</metaurl>`))
		case "/t":
			_, _ = w.Write(torrent)
		}
	})
	h := httpclient.New(httpclient.Options{CertDirs: []string{}})
	defer h.CloseIdleConnections()
	for path, says := range map[string][]string{
		"/linked": {"bad not used: not bencoded", "more torrents than the limit of 2"}, "/described": {`scheme "file"`},
	} {
		var w world
		c := metalink.New(metalink.Options{Docs: webdoc.New(h, 0), MinSize: -1, Torrents: true, Note: w.hear})
		routes, errs := all(t, c.Locator(knows(transport.Route{URI: s.URL + path})), blob)
		if errs != nil || len(routes) != 3 || routes[1].URI != "http://x.example/a" || routes[2].URI != magnet ||
			routes[2].Remote != transport.RemotePublic || routes[2].Priority != 1001 {
			t.Errorf("%s: got %+v, %q", path, routes, errs)
		}
		w.noted(t, says...)
	}
}
