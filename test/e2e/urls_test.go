package e2e

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/test/realserver"
)

// withURLs returns the image with its layers only where its manifest says they
// are: at the URLs given for each.
func (i *image) withURLs(t *testing.T, urls func(digest.Digest) []string) *image {
	t.Helper()
	c := i.withoutLayers(t)
	var m ocispec.Manifest
	readJSON(t, readFile(t, c.Path(c.desc.Digest)), &m)
	for n := range m.Layers {
		m.Layers[n].URLs = urls(m.Layers[n].Digest)
	}
	content, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	removeFile(t, c.Path(c.desc.Digest))
	was := c.desc.Digest
	c.desc.Digest, c.desc.Size = digest.FromBytes(content), int64(len(content))
	var index ocispec.Index
	readJSON(t, readFile(t, filepath.Join(c.Dir, "index.json")), &index)
	for n := range index.Manifests {
		if index.Manifests[n].Digest == was {
			index.Manifests[n].Digest, index.Manifests[n].Size = c.desc.Digest, c.desc.Size
		}
	}
	listing, err := json.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	for path, b := range map[string][]byte{c.Path(c.desc.Digest): content, filepath.Join(c.Dir, "index.json"): listing} {
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// TestURLs: a manifest may say where its layers are, but not send this machine
// into its own network, unless that host is trusted; what it is refused is said
// one by one, and keeps nobody else from serving.
func TestURLs(t *testing.T) {
	t.Parallel()
	i := smallImage(t)
	web := startNginx(t, i.Dir, realserver.NginxOptions{})
	inside, asked := trap(t)
	hostile := []string{
		"http://" + inside + "/layer", "http://localhost:" + port(inside) + "/layer", "http://169.254.169.254/latest", "http://[::ffff:10.0.0.1]/x",
		"file:///etc/shadow", "sftp://10.0.0.1/x", "https://user:secret@host.example/x", "http://[64:ff9b::a00:1]/x",
	}
	bad := i.withURLs(t, func(digest.Digest) []string { return hostile })
	u := newUser(t)
	o := u.run("pull", bad.name()).exits(5)
	o.says("file:///etc/shadow").says("sftp://10.0.0.1/x").says("http://169.254.169.254/latest")
	if strings.Contains(o.stderr, "secret") {
		t.Errorf("%s\na password is shown", o)
	}
	u.run("pull", bad.name(), "--from", web.URL+"/blobs/").exits(0)
	if n := asked.Load(); n != 0 {
		t.Errorf("%d connections to a place within", n)
	}

	good := i.withURLs(t, func(d digest.Digest) []string { return []string{web.URL + "/blobs/sha256/" + d.Encoded()} })
	v := newUser(t)
	v.run("pull", good.name()).exits(5)
	v.configure("[host.\"" + strings.TrimPrefix(web.URL, "http://") + "\"]\ntrusted = true\n")
	v.run("pull", good.name()).exits(0)
	var doc locateDoc
	v.run("locate", good.name(), "--json").exits(0).decode(&doc)
	said := 0
	for _, b := range doc.Blobs {
		for _, r := range b.Routes {
			if r.Origin == "urls of the descriptor" && strings.HasPrefix(r.URI, web.URL) {
				said++
			}
		}
	}
	if said != len(i.layers) {
		t.Errorf("locate shows %d of %d urls: %+v", said, len(i.layers), doc.Blobs)
	}
}

func port(addr string) string { return addr[strings.LastIndex(addr, ":")+1:] }

// trap listens where nobody should be sent, and counts who comes.
func trap(t *testing.T) (addr string, asked *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	asked = new(atomic.Int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			c.Close()
		}
	}()
	return l.Addr().String(), asked
}
