package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/test/realserver"
)

type resolveDoc struct {
	Name       string `json:"name"`
	Descriptor struct {
		Digest    string `json:"digest"`
		MediaType string `json:"mediaType"`
		Size      int64  `json:"size"`
	} `json:"descriptor"`
	By []struct {
		Resolver string `json:"resolver"`
		URI      string `json:"uri"`
		Time     string `json:"time"`
	} `json:"by"`
}

// published is a web server, over TLS, that publishes the image with static
// files only: waybill.test/team/image#app (oci-discovery).
func published(t *testing.T, u *user, i *image) {
	t.Helper()
	ca, err := realserver.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	site := t.TempDir()
	copyTree(t, filepath.Join(i.Dir, "blobs"), filepath.Join(site, "blobs"))
	for name, content := range map[string]string{
		".well-known/oci-host-ref-engines": `{"refEngines": [{"protocol": "oci-index-template-v1", "uri": "/ref/{+path}"}],
			"casEngines": [{"protocol": "oci-cas-template-v1", "uri": "../blobs/{algorithm}/{encoded}"}]}`,
		"ref/team/image": string(readFile(t, filepath.Join(i.Dir, "index.json"))),
	} {
		path := filepath.Join(site, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	n := startNginx(t, site, realserver.NginxOptions{CA: ca})
	proxy := startProxy(t, "", map[string]string{"waybill.test:443": n.Host})
	u.setenv("HTTPS_PROXY", proxy.URL)
	u.setenv("SSL_CERT_FILE", ca.File)
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// TestHostBasedName: an image that static files on a web server publish is
// pulled by its host-based name, with no registry anywhere.
func TestHostBasedName(t *testing.T) {
	t.Parallel()
	i := smallImage(t)
	u := newUser(t)
	published(t, u, i)
	const name = "waybill.test/team/image#app"
	var doc resolveDoc
	u.run("resolve", name, "--json").exits(0).decode(&doc)
	if doc.Name != name || doc.Descriptor.Digest != string(i.desc.Digest) || doc.Descriptor.Size != i.desc.Size ||
		len(doc.By) != 1 || doc.By[0].Resolver != "oci-discovery" || !strings.Contains(doc.By[0].URI, "/ref/team/image") || doc.By[0].Time == "" {
		t.Errorf("resolve says %+v", doc)
	}
	if got := u.run("resolve", name).exits(0).stdout; got != string(i.desc.Digest)+"\n" {
		t.Errorf("stdout %q must be the digest alone", got)
	}
	u.run("pull", name).exits(0)
	wantStored(t, u, i, i.digests(t)...)
	u.run("pull", name+"@"+string(i.desc.Digest)).exits(0)
	u.run("resolve", name, "--offline").exits(0).says("waybill.test")
	u.run("pull", "waybill.test/team/image#nosuch").exits(3)
	u.run("pull", "waybill.test/other#app").exits(3)

	var places locateDoc
	u.run("locate", name, "--json").exits(0).decode(&places)
	for _, b := range places.Blobs {
		if len(b.Routes) != 2 || !strings.HasPrefix(b.Routes[0].URI, "https://waybill.test/blobs/sha256/") || !strings.Contains(b.Routes[0].Origin, "oci-discovery") ||
			!strings.HasPrefix(b.Routes[1].URI, "https://waybill.test/.well-known/ni/sha-256/") {
			t.Errorf("%s is said to be at %+v", b.Digest, b.Routes)
		}
	}
}

// TestMirrorsOfContainers: a mirror in containers' own registries.conf is used
// without any file of ours, and what that blocks isn't pulled.
func TestMirrorsOfContainers(t *testing.T) {
	t.Parallel()
	i := smallImage(t)
	u := newUser(t)
	mirror := startRegistry(t, realserver.RegistryOptions{})
	i.push(t, mirror.Host+"/copies/team/app:1")
	conf := u.file(".config/containers/registries.conf", fmt.Sprintf(`
[[registry]]
prefix = "registry.invalid"
location = "registry.invalid"
[[registry.mirror]]
location = "127.0.0.1:1/dead"
insecure = true
[[registry.mirror]]
location = "%s/copies"
insecure = true

[[registry]]
location = "blocked.invalid"
blocked = true
`, mirror.Host))
	u.run("pull", "registry.invalid/team/app:1").exits(0)
	wantStored(t, u, i, i.digests(t)...)
	var doc explainDoc
	u.run("explain", "--json").exits(0).decode(&doc)
	used := false
	for _, s := range doc.Sources {
		used = used || strings.Contains(s.URI, mirror.Host+"/copies/team/app") && strings.Contains(s.Origin, conf)
	}
	if !used {
		t.Errorf("explain doesn't say that the mirror of %s was used: %+v", conf, doc.Sources)
	}
	u.run("pull", "blocked.invalid/app:1").exits(5).says(conf, "blocks", "change the file named above")
	shown := u.exec("config").exits(0).stdout
	if !strings.Contains(shown, conf+":") || !strings.Contains(shown, mirror.Host) {
		t.Errorf("config doesn't show the mirror:\n%s", shown)
	}
}

// TestShortNames: what a name without a registry means, containers' own
// registries.conf says.
func TestShortNames(t *testing.T) {
	t.Parallel()
	i := smallImage(t)
	u := newUser(t)
	from := startRegistry(t, realserver.RegistryOptions{})
	i.push(t, from.Host+"/team/app:1")
	conf := func(mode string) {
		u.file(".config/containers/registries.conf", fmt.Sprintf(`
unqualified-search-registries = ["127.0.0.1:1", %q]
short-name-mode = %q
[aliases]
"short" = "%s/team/app"
`, from.Host, mode, from.Host))
	}
	conf("permissive")
	u.run("pull", "short:1").exits(0)
	wantStored(t, u, i, i.digests(t)...)
	u.run("pull", "team/app:1", "--offline").exits(0)
	u.run("rm", "short:1").exits(0)
	u.run("ls", "--json").exits(0).never(from.Host)
	u.run("pull", "team/app:1").exits(0).says("127.0.0.1:1/team/app")
	u.run("resolve", "team/app:2").exits(1).says("none of the 2 registries")
	conf("enforcing")
	u.run("pull", "team/app:1").exits(1).says("127.0.0.1:1/team/app, "+from.Host+"/team/app", "registries.conf:2")
	u.run("resolve", "short:1").exits(0)
}

// TestMalformedMirrors: files of other tools are named with the line that is
// wrong, and cost what depends on them.
func TestMalformedMirrors(t *testing.T) {
	t.Parallel()
	i := smallImage(t)
	u := newUser(t)
	from := startRegistry(t, realserver.RegistryOptions{})
	i.push(t, from.Host+"/app:1")
	daemon := u.file(".config/docker/daemon.json", "{\n  \"registry-mirrors\": \"https://mirror.invalid\"\n}\n")
	u.run("pull", from.Host+"/app:1").exits(0).says("warning: " + daemon + ":2")
	conf := u.file(".config/containers/registries.conf", "[[registry]]\nlocation = \"blocked.invalid\"\nblocked = yes\n")
	u.run("pull", from.Host+"/app:1").exits(1).says(conf+":3", "correct what the line above names")
	u.run("pull", i.name()).exits(0).says("warning: " + conf + ":3")
	u.run("config").exits(0).says("warning: "+daemon, "warning: "+conf)
}
