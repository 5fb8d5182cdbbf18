package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anacrolix/torrent/metainfo"
	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/discovery/ni"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/waybill"
)

// webServer serves a directory as https://waybill.test:PORT, with what stands
// in its server block.
type webServer struct{ dir, block string }

// startWeb starts web servers by the ports at which the user reaches them.
func startWeb(t *testing.T, u *user, servers map[string]webServer) {
	t.Helper()
	ca, err := realserver.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	hosts := map[string]string{}
	for port, s := range servers {
		hosts["waybill.test:"+port] = startNginx(t, s.dir, realserver.NginxOptions{CA: ca, Config: s.block}).Host
	}
	u.setenv("HTTPS_PROXY", startProxy(t, "", hosts).URL)
	u.setenv("SSL_CERT_FILE", ca.File)
}

// places are who named those of a blob, by URI.
func (d locateDoc) places(of digest.Digest) map[string]string {
	all := map[string]string{}
	for _, b := range d.Blobs {
		for _, r := range b.Routes {
			if b.Digest == of {
				all[r.URI] = r.Origin
			}
		}
	}
	return all
}

// served is how much came from the source that begins so, and what became of it.
func (d explainDoc) served(prefix string) (bytes int64, status explainedState) {
	for _, s := range d.Sources {
		if strings.HasPrefix(s.URI, prefix) {
			bytes += s.Bytes
			status = s.Status
		}
	}
	return bytes, status
}

// TestCopiesThatWebServersKnowOf: a web server that lies about a layer, or
// doesn't send it, says itself who has copies, by a Link header or by the
// metalink that one leads to. It is asked where the configuration says so.
func TestCopiesThatWebServersKnowOf(t *testing.T) {
	t.Parallel()
	i := randomImage(t, 17<<20) // smaller ones aren't worth a request
	layer := i.layers[0]
	path := "/blobs/sha256/" + layer.Digest.Encoded()
	magnet := "magnet:?xt=urn:btih:" + strings.Repeat("ab", 20)

	lies := t.TempDir()
	copyTree(t, i.Dir, lies)
	content := readFile(t, i.Path(layer.Digest))
	content[12<<20] ^= 1
	for name, content := range map[string]string{
		path: string(content),
		"copies.meta4": fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?>
			<metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="layer">
			<size>%d</size><hash type="sha-256">%s</hash>
			<url priority="1">file:///etc/shadow</url><url priority="2">https://waybill.test:8443%s</url>
			<metaurl mediatype="torrent" priority="3">%s</metaurl>
			</file></metalink>`, layer.Size, layer.Digest.Encoded(), path, magnet),
	} {
		if err := os.WriteFile(filepath.Join(lies, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	duplicate := `add_header Link '<https://waybill.test:8443$uri>; rel=duplicate; pri=1';`
	described := `add_header Link '</copies.meta4>; rel=describedby; type="application/metalink4+xml"';`
	for _, tt := range []struct {
		name, block string
		alone       int // the exit code of a pull without the copies
	}{
		{"a liar's duplicate", duplicate, 4},
		{"a dead one's duplicate", duplicate + "if ($request_method = GET) { return 404; }", 3},
		{"a liar's metalink", described, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			startWeb(t, u, map[string]webServer{"443": {lies, "location /blobs/ {" + tt.block + "}"}, "8443": {i.Dir, ""}})
			pull := []string{"pull", i.withoutLayers(t).name(), "--from", "https://waybill.test/blobs/"}
			u.run(pull...).exits(tt.alone)
			u.configure("[locate]\nmetalink = true\n")
			u.run(pull...).exits(0)
			wantStored(t, u, i, i.digests(t)...)
			var story explainDoc
			u.run("explain", "--json").exits(0).decode(&story)
			if bytes, status := story.served("https://waybill.test:8443/"); bytes == 0 || status != "used" {
				t.Errorf("the copy served %d bytes and is %q: %+v", bytes, status, story.Sources)
			}

			var found locateDoc
			u.run("locate", pull[1], "--from", pull[3], "--json").exits(0).says(refusedIn(tt.block)...).decode(&found)
			places := found.places(layer.Digest)
			if by := places["https://waybill.test:8443"+path]; !strings.Contains(by, "https://waybill.test") {
				t.Errorf("the copy is said to be named by %q: %v", by, places)
			}
			if by := places[magnet]; strings.Contains(tt.block, "meta4") && by != "metalink https://waybill.test/copies.meta4" {
				t.Errorf("the torrent is said to be named by %q: %v", by, places)
			}
		})
	}
}

// refusedIn is what is said of a metalink that leads to files of this machine.
func refusedIn(block string) []string {
	if strings.Contains(block, "meta4") {
		return []string{"copies.meta4", "file"}
	}
	return nil
}

// TestNamedInformationOfAHost: the host of a name has its blobs by their hashes
// alone, below /.well-known/ni/; so has another one that is configured.
func TestNamedInformationOfAHost(t *testing.T) {
	t.Parallel()
	i := smallImage(t)
	site := t.TempDir()
	for _, d := range i.digests(t) {
		below, ok := ni.Path(d)
		if !ok {
			t.Fatalf("%s has no name", d)
		}
		path := filepath.Join(site, below)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, readFile(t, i.Path(d)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		".well-known/oci-host-ref-engines": `{"refEngines": [{"protocol": "oci-index-template-v1", "uri": "/ref/{+path}"}]}`,
		"ref/team/image":                   string(readFile(t, filepath.Join(i.Dir, "index.json"))),
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(site, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(site, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const name = "waybill.test/team/image#app"
	u := newUser(t)
	startWeb(t, u, map[string]webServer{"443": {site, ""}})
	u.run("pull", name).exits(0)
	wantStored(t, u, i, i.digests(t)...)

	v := &user{t: t, home: newUser(t).home, store: t.TempDir(), env: u.env}
	v.setenv("HOME", v.home)
	v.configure("[locate]\nnamed-information = false\n")
	v.run("pull", name).exits(3)
	layers := i.withoutLayers(t).name()
	v.run("pull", layers).exits(3)
	v.configure("named-information-hosts = ['https://waybill.test']\n")
	v.run("pull", layers).exits(0)
	wantStored(t, v, i, i.digests(t)...)
	var story explainDoc
	v.run("explain", "--json").exits(0).decode(&story)
	if bytes, status := story.served("https://waybill.test/.well-known/ni/"); bytes == 0 || status != "used" {
		t.Errorf("the host served %d bytes and is %q: %+v", bytes, status, story.Sources)
	}
}

// TestDigestIsACID: a small blob that some IPFS node has as one block is found
// by its digest, where the configuration allows to tell the gateways of it.
func TestDigestIsACID(t *testing.T) {
	t.Parallel()
	i := randomImage(t, 300_000, 1_000_000)
	kubo, err := realserver.StartKubo(t.Context(), t.TempDir(), realserver.KuboOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kubo.Stop)
	for _, l := range i.layers {
		if _, err := kubo.Run(t.Context(), "block", "put", "--cid-codec=raw", i.Path(l.Digest)); err != nil {
			t.Fatal(err)
		}
	}
	u := newUser(t)
	name := i.withoutLayers(t).name()
	u.configure(fmt.Sprintf("[ipfs]\ngateways = [%q]\n", kubo.Gateway))
	u.run("pull", name).exits(3)
	u.configure("[locate]\nipfs = true\n")
	u.run("pull", name).exits(0)
	wantStored(t, u, i, i.digests(t)...)
	var story explainDoc
	u.run("explain", "--json").exits(0).decode(&story)
	if bytes, status := story.served("ipfs:"); bytes != i.layers[0].Size+i.layers[1].Size || status != "used" {
		t.Errorf("IPFS served %d bytes and is %q: %+v", bytes, status, story.Sources)
	}
	u.run("fetch", string(i.layers[0].Digest), "--size", fmt.Sprint(i.layers[0].Size), "-o", filepath.Join(u.home, "blob")).exits(0)
}

// TestTorrentByAlias: the infohash that a waybill has for a layer leads to it, in
// the torrent's swarm as the DHT knows it.
func TestTorrentByAlias(t *testing.T) {
	t.Parallel()
	i := randomImage(t, 2e6)
	layer := i.layers[0]
	dht, err := realserver.StartLibtorrent(t.Context(), t.TempDir(), realserver.LibtorrentOptions{DHT: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dht.Stop)
	file := filepath.Join(t.TempDir(), "layer.torrent")
	if err := realserver.CreateTorrent(t.Context(), file, i.Path(layer.Digest), realserver.TorrentOptions{}); err != nil {
		t.Fatal(err)
	}
	info, err := metainfo.LoadFromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	joins := fmt.Sprintf("[fetch]\nfirst-byte = '1m'\n[bittorrent]\nlisten = '127.0.0.1'\nlocal-discovery = false\ndht-nodes = [%q]\n", dht.Peer)
	seeder := newUser(t)
	seeder.configure(joins)
	seeder.run("pull", i.name()).exits(0)
	cmd := seeder.command(t.Context(), seeder.onStore([]string{"pull", i.name(), "--seed", "--from", "torrent:" + file})...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { // before the test's context ends, which kills it
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("seeding ended with %v", err)
		}
	}()

	magnet := "magnet:?xt=urn:btih:" + info.HashInfoBytes().HexString()
	bill := saved(t, billOf(t, i, "", func(d *waybill.Document) {
		d.Consignments[0].Routes = nil
		d.Consignments[0].Aliases = []waybill.Alias{{Kind: "btih", Value: info.HashInfoBytes().HexString()}}
	}))
	u := newUser(t)
	u.configure(joins)
	u.run("pull", i.withoutLayers(t).name(), "--waybill", bill).exits(0)
	wantStored(t, u, i, i.digests(t)...)
	var story explainDoc
	u.run("explain", "--json").exits(0).decode(&story)
	if bytes, status := story.served(magnet); bytes != layer.Size || status != "used" {
		t.Errorf("the torrent served %d bytes and is %q: %+v", bytes, status, story.Sources)
	}
}
