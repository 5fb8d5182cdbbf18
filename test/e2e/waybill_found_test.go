package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/waybill"
)

// shelf is a registry that waybills are attached in.
type shelf struct {
	host string
	// tagged says that it has no referrers API, but a tag.
	tagged bool
	remove func(t *testing.T, repository string, d digest.Digest)
}

// shelves are a registry of each kind.
func shelves(t *testing.T) map[string]shelf {
	t.Helper()
	docker := startRegistry(t, realserver.RegistryOptions{})
	oci, err := realserver.StartOCIRegistry()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(oci.Stop)
	return map[string]shelf{
		"referrers tag": {docker.Host, true, func(t *testing.T, _ string, d digest.Digest) { removeFile(t, docker.BlobFile(string(d))) }},
		"referrers API": {oci.Host, false, func(t *testing.T, repository string, d digest.Digest) {
			t.Helper()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, "http://"+oci.Host+"/v2/"+repository+"/blobs/"+string(d), nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusAccepted {
				t.Fatalf("removing a blob: %s", resp.Status)
			}
		}},
	}
}

// attach makes a waybill a referrer of an image, as anybody would.
func attach(t *testing.T, image string, document []byte, flags ...string) {
	t.Helper()
	args := append([]string{"attach", "--artifact-type", waybill.MediaType, "--disable-path-validation"}, flags...)
	peer(t, "oras", append(args, image, saved(t, document)+":"+waybill.MediaType)...)
}

// trusting lets anybody name a web server.
func (u *user) trusting(servers ...*realserver.Nginx) {
	var config strings.Builder
	for _, s := range servers {
		config.WriteString("[host.\"" + s.Host + "\"]\ntrusted = true\n")
	}
	u.configure(config.String())
}

// TestWaybillInARegistry: an image the layers of which are gone from its registry
// is pulled from where a waybill attached to it says they are. The waybill
// changes nothing about the image.
func TestWaybillInARegistry(t *testing.T) {
	t.Parallel()
	i := randomImage(t, 3<<20, 5<<20)
	web := startNginx(t, i.Dir, realserver.NginxOptions{})
	for kind, s := range shelves(t) {
		t.Run(kind, func(t *testing.T) {
			repository := s.host + "/team/app"
			i.push(t, repository+":1")
			inspect := func() string {
				args := []string{"inspect", "--tls-verify=false"}
				if s.tagged {
					args = append(args, "--no-tags") // of which there is one more, that of the referrers
				}
				return peer(t, "skopeo", append(args, "docker://"+repository+":1")...)
			}
			before := inspect()
			attach(t, repository+":1", billOf(t, i, web.URL), "--plain-http")
			if after := inspect(); after != before || !strings.Contains(after, string(i.desc.Digest)) {
				t.Errorf("skopeo says\n%s, and said\n%s", after, before)
			}
			for _, l := range i.layers {
				s.remove(t, "team/app", l.Digest)
			}

			stranger := newUser(t)
			stranger.run("pull", repository+":1").exits(3).says(web.Host + " isn't asked: the waybill isn't signed")

			counting := startProxy(t, s.host, nil)
			u := newUser(t)
			u.trusting(web)
			if got := u.run("pull", counting.Host+"/team/app:1").exits(0).stdout; got != string(i.desc.Digest)+"\n" {
				t.Errorf("pulled %s, not %s", got, i.desc.Digest)
			}
			wantStored(t, u, i, i.digests(t)...)
			wantAsked(t, counting, i.desc.Digest, s.tagged)
			var story explainDoc
			u.run("explain", "--json").exits(0).decode(&story)
			origin := "waybill docker://" + counting.Host + "/team/app@sha256:"
			if !slices.ContainsFunc(story.Sources, func(s explainedSource) bool {
				return strings.HasPrefix(s.URI, web.URL) && s.Status == "used" && strings.HasPrefix(s.Origin, origin)
			}) {
				t.Errorf("no source is named by %s: %+v", origin, story.Sources)
			}
			if out := u.run("locate", repository+":1").exits(0).stdout; strings.Count(out, "waybill docker://"+repository+"@sha256:") != len(i.layers) {
				t.Errorf("locate says\n%s", out)
			}

			counting.Reset()
			u.run("pull", counting.Host+"/team/app:1").exits(0)
			u.run("pull", counting.Host+"/team/app:1", "--offline").exits(0)
			off := newUser(t)
			off.configure("[locate]\nwaybills = false\n[host.\"" + web.Host + "\"]\ntrusted = true\n")
			off.run("pull", counting.Host+"/team/app:1").exits(3)
			for _, r := range counting.Requests() {
				if strings.Contains(r.Path, "referrers") || strings.Contains(r.Path, "sha256-") {
					t.Errorf("asked for waybills where nothing is missing or it was forbidden: %+v", r)
				}
			}
		})
	}
}

// wantAsked fails the test unless a registry was asked for waybills about an image
// once.
func wantAsked(t *testing.T, p *realserver.Proxy, d digest.Digest, tagged bool) {
	t.Helper()
	lists, tags := 0, 0
	for _, r := range p.Requests() {
		switch r.Path {
		case "/v2/team/app/referrers/" + string(d):
			lists++
		case "/v2/team/app/manifests/sha256-" + d.Encoded():
			tags++
		}
	}
	want := 0
	if tagged {
		want = 1
	}
	if lists != 1 || tags != want {
		t.Errorf("asked %d times for the list and %d times for the tag: %+v", lists, tags, p.Requests())
	}
}

// TestWaybillsThatAreIgnored: a waybill that is found and no good is named, and
// the image comes from its registry.
func TestWaybillsThatAreIgnored(t *testing.T) {
	t.Parallel()
	other := randomImage(t, 2<<20)
	web := startNginx(t, t.TempDir(), realserver.NginxOptions{})
	for kind, s := range shelves(t) {
		for what, test := range map[string]struct {
			attached []func(*waybill.Document)
			raw      []byte
			says     []string
		}{
			"expired": {[]func(*waybill.Document){func(d *waybill.Document) { d.Expires = time.Now().Add(-time.Minute) }}, nil, []string{"expired"}},
			"rolled-back": {[]func(*waybill.Document){
				func(d *waybill.Document) { d.Sequence = 7 },
				func(d *waybill.Document) { d.Sequence = 6 },
			}, nil, []string{"number 7 since number 6", "isn't signed"}},
			"conflict": {[]func(*waybill.Document){
				func(d *waybill.Document) { d.Sequence = 7 },
				func(d *waybill.Document) { d.Sequence = 7; d.Carriers = []waybill.Carrier{{Protocol: "x", URI: "y"}} },
			}, nil, []string{"another one with number 7"}},
			"garbage": {nil, []byte("{ garbage"), []string{"the waybill is ignored"}},
			"10-mb":   {nil, []byte("[" + strings.Repeat("1,", 5<<20) + "1]"), []string{"of 10485763 bytes"}},
		} {
			t.Run(kind+"/"+what, func(t *testing.T) {
				i := randomImage(t, 1<<20)
				name := s.host + "/" + what + ":1"
				i.push(t, name)
				for _, change := range test.attached {
					attach(t, name, billOf(t, i, web.URL, change), "--plain-http")
				}
				if test.raw != nil {
					attach(t, name, test.raw, "--plain-http")
				}
				u := newUser(t)
				u.run("locate", name).exits(0).says(append(test.says, "docker://"+s.host+"/"+what+"@sha256:")...)
				if got := u.run("pull", name).exits(0).stdout; got != string(i.desc.Digest)+"\n" {
					t.Errorf("pulled %s, not %s", got, i.desc.Digest)
				}
				wantStored(t, u, i, i.digests(t)...)
			})
		}
		if !s.tagged {
			continue
		}
		t.Run(kind+"/another image", func(t *testing.T) {
			i := randomImage(t, 1<<20)
			i.push(t, s.host+"/another:1")
			other.push(t, s.host+"/another:2")
			attach(t, s.host+"/another:2", billOf(t, other, web.URL), "--plain-http")
			of := func(i *image) string { return s.host + "/another:sha256-" + i.desc.Digest.Encoded() }
			peer(t, "crane", "copy", "--insecure", of(other), of(i))
			u := newUser(t)
			u.run("locate", s.host+"/another:1").exits(0).says("waybill of another image")
			u.run("pull", s.host+"/another:1").exits(0)
			wantStored(t, u, i, i.digests(t)...)
		})
	}
}

// TestWaybillAtTheHost: a waybill that a web server has at the place agreed on is
// found for a name of that host, published there or in a registry.
func TestWaybillAtTheHost(t *testing.T) {
	t.Parallel()
	i := randomImage(t, 3<<20)
	docker := startRegistry(t, realserver.RegistryOptions{})
	i.push(t, docker.Host+"/team/app:1")
	for _, l := range i.layers {
		removeFile(t, docker.BlobFile(string(l.Digest)))
	}
	ca, err := realserver.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	put := func(name string, content []byte) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	copyTree(t, i.withoutLayers(t).Dir, dir)
	put(".well-known/oci-host-ref-engines", []byte(`{"refEngines": [{"protocol": "oci-index-template-v1", "uri": "/index.json"}],
		"casEngines": [{"protocol": "oci-cas-template-v1", "uri": "/blobs/{algorithm}/{encoded}"}]}`))
	copyTree(t, i.Dir, dir+"/elsewhere")
	put(".well-known/waybill/sha256/"+i.desc.Digest.Encoded(), billOf(t, i, "/elsewhere"))
	web := startNginx(t, dir, realserver.NginxOptions{CA: ca, Config: "location /v2/ { proxy_pass http://" + docker.Host + "; }"})
	proxy := startProxy(t, "", map[string]string{"waybill.test:443": web.Host})
	for _, name := range []string{"waybill.test/images#app", "waybill.test/team/app:1"} {
		u := newUser(t)
		u.setenv("HTTPS_PROXY", proxy.URL)
		u.setenv("SSL_CERT_FILE", ca.File)
		if out := u.run("locate", name).exits(0).stdout; !strings.Contains(out, "waybill https://waybill.test/.well-known/waybill/sha256/") {
			t.Errorf("locate %s says\n%s", name, out)
		}
		u.run("pull", name).exits(0)
		wantStored(t, u, i, i.digests(t)...)

		// An older one than was used is no good any more, though it hasn't expired.
		at := ".well-known/waybill/sha256/" + i.desc.Digest.Encoded()
		put(at, billOf(t, i, "/elsewhere", func(d *waybill.Document) { d.Sequence = 0 }))
		if out := u.run("locate", name).exits(0); !strings.Contains(out.stderr, "number 1 since number 0") || strings.Contains(out.stdout, "/elsewhere/") {
			t.Errorf("%s\nof a waybill that was rolled back", out)
		}
		put(at, billOf(t, i, "/elsewhere"))
	}
	put(".well-known/waybill/sha256/"+i.desc.Digest.Encoded(), []byte("{ garbage"))
	u := newUser(t)
	u.setenv("HTTPS_PROXY", proxy.URL)
	u.setenv("SSL_CERT_FILE", ca.File)
	u.run("pull", "waybill.test/team/app:1").exits(3).says("https://waybill.test/.well-known/waybill/sha256/", "the waybill is ignored")
}

// TestWaybillInALayout: one that lies beside the image in its layout is found,
// and trusted no more than any.
func TestWaybillInALayout(t *testing.T) {
	t.Parallel()
	i := randomImage(t, 3<<20)
	web := startNginx(t, i.Dir, realserver.NginxOptions{})
	layout := i.withoutLayers(t)
	attach(t, layout.Dir+":app", billOf(t, i, web.URL), "--oci-layout")
	newUser(t).run("pull", layout.name()).exits(3).says("isn't signed")
	u := newUser(t)
	u.trusting(web)
	for _, name := range []string{layout.name(), "oci:" + layout.Dir} {
		if got := u.run("pull", name).exits(0).stdout; got != string(i.desc.Digest)+"\n" {
			t.Errorf("pulled %s, not %s", got, i.desc.Digest)
		}
	}
	wantStored(t, u, i, i.digests(t)...)
	if out := u.run("locate", layout.name()).exits(0).stdout; !strings.Contains(out, "waybill oci:"+layout.Dir+"@sha256:") {
		t.Errorf("locate says\n%s", out)
	}
}
