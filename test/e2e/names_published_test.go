package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/test/realserver"
)

// site is a web server, over TLS, that serves files as https://waybill.test/…,
// and beside it a registry at waybill.test:5000.
type site struct {
	t        *testing.T
	dir      string
	registry *realserver.Registry
}

func startSite(t *testing.T, u *user) *site {
	t.Helper()
	ca, err := realserver.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, dir: t.TempDir(), registry: startRegistry(t, realserver.RegistryOptions{CA: ca})}
	n := startNginx(t, s.dir, realserver.NginxOptions{CA: ca})
	proxy := startProxy(t, "", map[string]string{"waybill.test:443": n.Host, "waybill.test:5000": s.registry.Host})
	u.setenv("HTTPS_PROXY", proxy.URL)
	u.setenv("SSL_CERT_FILE", ca.File)
	return s
}

// put serves a file.
func (s *site) put(name, content string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// putLayout serves a layout below a path.
func (s *site) putLayout(i *image, below string) {
	s.t.Helper()
	dir := filepath.Join(s.dir, below)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	copyTree(s.t, i.Dir, dir)
}

// resolvers are who said what a name means, in order.
func (d resolveDoc) resolvers() []string {
	var all []string
	for _, by := range d.By {
		all = append(all, by.Resolver)
	}
	return all
}

// TestABD: identifiers of abd lead to whatever the metadata at their host names.
func TestABD(t *testing.T) {
	t.Parallel()
	i := smallImage(t)
	u := newUser(t)
	s := startSite(t, u)
	s.putLayout(i, "img")
	peer(t, "tar", "-C", i.Dir, "-cf", filepath.Join(s.dir, "app.tar"), ".")
	i.push(t, s.registry.Host+"/team/app:1.0", "--dest-tls-verify=false")
	s.put(".well-known/abd-index/test.waybill.app", `[
		{"name": "test.waybill.app", "labels": {"version": "1.0"}, "mirrors": ["file:///etc/shadow", "docker://waybill.test:5000/team/app:gone", "docker://waybill.test:5000/team/app:1.0"]},
		{"name": "test.waybill.app", "labels": {"version": "2.0"}, "mirrors": ["/img/index.json"]},
		{"name": "test.waybill.app", "labels": {"version": "2.1"}, "mirrors": ["https://waybill.test/app.tar"]},
		{"name": "test.waybill.app", "labels": {"version": "3.0"}, "mirrors": ["docker://127.0.0.1:5000/team/app", "https://[::ffff:10.0.0.1]/img/index.json"]}]`)

	for _, tt := range []struct{ name, second, place string }{
		{"abd:test.waybill.app,version=1.0", "registry", "docker://waybill.test:5000/team/app"},
		{"abd:test.waybill.app,version=2.0", "index", "https://waybill.test/img/blobs/"},
		{"abd:test.waybill.app,version=2.0@" + string(i.desc.Digest), "index", "https://waybill.test/img/blobs/"},
		{"abd:test.waybill.app,version=2.1", "archive", "oci-archive+https://waybill.test/app.tar"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := &user{t: t, home: u.home, store: t.TempDir(), env: u.env}
			var doc resolveDoc
			u.run("resolve", tt.name, "--json").exits(0).decode(&doc)
			if doc.Descriptor.Digest != string(i.desc.Digest) || !slices.Equal(doc.resolvers(), []string{"abd", tt.second}) ||
				doc.By[0].URI != "https://waybill.test/.well-known/abd-index/test.waybill.app" {
				t.Errorf("resolve says %+v", doc)
			}
			u.run("pull", tt.name).exits(0)
			wantStored(t, u, i, i.digests(t)...)
			var told explainDoc
			u.run("explain", "--json").exits(0).decode(&told)
			served := false
			for _, src := range told.Sources {
				served = served || strings.HasPrefix(src.URI, tt.place) && strings.HasPrefix(src.Origin, "abd https://waybill.test/") && src.Bytes > 0
			}
			if !served {
				t.Errorf("nothing came from %s: %+v", tt.place, told.Sources)
			}
			u.run("pull", tt.name, "--offline").exits(0)
		})
	}
	u.run("pull", "abd:test.waybill.app,version=3.0").exits(5).says("127.0.0.1:5000", "loopback")
	u.run("pull", "abd:test.waybill.app,version=4.0").exits(3)
	u.run("pull", "abd:test.waybill.app,version=2.0@sha256:"+strings.Repeat("0", 64)).exits(3)
}

// TestABDStrategies: the files of ~/.config/waybill/abd.d say in their order how
// identifiers are looked up; one can end the search.
func TestABDStrategies(t *testing.T) {
	t.Parallel()
	i := smallImage(t)
	u := newUser(t)
	dir := filepath.Join(u.home, "images")
	if err := os.MkdirAll(filepath.Join(dir, "test.waybill.app"), 0o755); err != nil {
		t.Fatal(err)
	}
	copyTree(t, i.Dir, filepath.Join(dir, "test.waybill.app"))
	u.file(".config/waybill/abd.d/10-local.conf", fmt.Sprintf(`{"prefix": "test.waybill", "strategy": "io.abd.local", "storage-path": %q}`, dir))
	block := u.file(".config/waybill/abd.d/20-block.conf", `{"prefix": "*", "strategy": "io.abd.noop"}`)

	u.run("pull", "abd:test.waybill.app").exits(0)
	wantStored(t, u, i, i.digests(t)...)
	u.run("pull", "abd:test.waybill.other").exits(5).says("blocked", block)
	u.run("pull", "abd:com.example.app").exits(5).says("blocked", block)
	u.file(".config/waybill/abd.d/15-bad.conf", `{"prefix": "*"}`)
	u.run("pull", "abd:test.waybill.app").exits(1).says("15-bad.conf", "strategy")
	u.file(".config/waybill/abd.d/15-bad.conf", padded(`{"prefix": "*", "strategy": "io.abd.https-dns"}`))
	u.run("pull", "abd:test.waybill.app").exits(1).says("15-bad.conf", "larger than 65536 bytes")
	u.run("pull", "abd:").exits(2).says("abd:com.example.app")
	shown := u.exec("config").exits(0).stdout
	if !strings.Contains(shown, "abd-dir.") || !strings.Contains(shown, filepath.Dir(block)) {
		t.Errorf("config doesn't show the strategies' directory:\n%s", shown)
	}
}

// TestAppC: the page at an image's name leads to it by templates, the one with
// most labels first.
func TestAppC(t *testing.T) {
	t.Parallel()
	i := smallImage(t)
	u := newUser(t)
	s := startSite(t, u)
	s.putLayout(i, "img/team/app-1.0")
	i.push(t, s.registry.Host+"/team/app:1.0", "--dest-tls-verify=false")
	s.put("team/app", `<html><head>
		<meta name="ac-discovery" content="waybill.test/team/app https://waybill.test/{name}-{version}-{os}.aci">
		<meta name="ac-discovery" content="waybill.test/team/app docker://waybill.test:5000/team/app:{version}">
		</head></html>`)
	s.put("team/static", `<head><meta name="ac-discovery" content="waybill.test/team https://waybill.test/img/team/app-{version}/index.json"></head>`)

	for name, second := range map[string]string{
		"appc:waybill.test/team/app:1.0,os=linux": "registry",
		"appc:waybill.test/team/static:1.0":       "index",
	} {
		t.Run(name, func(t *testing.T) {
			u := &user{t: t, home: u.home, store: t.TempDir(), env: u.env}
			var doc resolveDoc
			u.run("resolve", name, "--json").exits(0).decode(&doc)
			if doc.Descriptor.Digest != string(i.desc.Digest) || !slices.Equal(doc.resolvers(), []string{"appc", second}) {
				t.Errorf("resolve says %+v", doc)
			}
			u.run("pull", name).exits(0)
			wantStored(t, u, i, i.digests(t)...)
		})
	}
	u.run("pull", "appc:waybill.test/team/app:2.0").exits(3)
	u.run("pull", "appc:waybill.test/elsewhere").exits(3)
}

// TestRegistryNameByItsHost: a registry's name can be asked of what its host
// publishes, where the configuration says so, and held against the registry.
func TestRegistryNameByItsHost(t *testing.T) {
	t.Parallel()
	i := smallImage(t)
	u := newUser(t)
	published(t, u, i)
	const name = "waybill.test/team/image:app"
	u.run("resolve", name).exits(3) // there is no registry
	u.policy("[name.'waybill.test']\nresolvers = ['well-known']\n")
	var doc resolveDoc
	u.run("resolve", name, "--json").exits(0).decode(&doc)
	if doc.Descriptor.Digest != string(i.desc.Digest) || !slices.Equal(doc.resolvers(), []string{"oci-discovery"}) {
		t.Errorf("resolve says %+v", doc)
	}
	u.run("pull", name).exits(0)
	wantStored(t, u, i, i.digests(t)...)

	u.policy("[name.'waybill.test']\nresolvers = ['registry', 'well-known']\npolicy = 'agree'\n")
	u.run("resolve", name).exits(5).says("doesn't know it", "/ref/team/image", string(i.desc.Digest))

	const hosted = "waybill.test/team/image#app"
	u.policy("[name.'waybill.test/team']\nresolvers = ['xdg']\n")
	u.run("resolve", hosted).exits(3)
	u.policy("[name.'waybill.test/team']\nresolvers = ['xdg', 'well-known', 'store']\n")
	u.run("resolve", hosted).exits(0)
}
