package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/internal/faultserver"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/test/testimage"
)

// TestRegistryAuth pulls from registries that want to know who asks.
func TestRegistryAuth(t *testing.T) {
	const name, password = "ann", "s3cret-of-ann"
	i := smallImage(t)
	token, err := realserver.StartTokenServer(t.TempDir(), name, password)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(token.Stop)
	logins := []struct {
		name  string
		login func(u *user, host string)
	}{
		{"docker config", func(u *user, host string) { u.login(host, name, password) }},
		{"containers auth.json", func(u *user, host string) {
			u.setenv("REGISTRY_AUTH_FILE", u.file("auth.json", `{"auths":{"`+host+`":{"auth":"`+basic(name, password)+`"}}}`))
		}},
		{"credential helper", func(u *user, host string) {
			u.file(".docker/config.json", `{"credHelpers":{"`+host+`":"test"}}`)
			helper := u.file("bin/docker-credential-test",
				"#!/bin/sh\nread host\nprintf '{\"ServerURL\":\"%s\",\"Username\":\""+name+"\",\"Secret\":\""+password+"\"}' \"$host\"\n")
			if err := os.Chmod(helper, 0o700); err != nil {
				u.t.Fatal(err)
			}
			u.setenv("PATH", filepath.Dir(helper)+":"+os.Getenv("PATH"))
		}},
	}
	for _, kind := range []struct {
		name    string
		options realserver.RegistryOptions
	}{
		{"basic", realserver.RegistryOptions{User: name, Password: password}},
		{"bearer", realserver.RegistryOptions{Token: token}},
	} {
		registry := startRegistry(t, kind.options)
		i.push(t, registry.Host+"/app:1", "--dest-creds", name+":"+password)
		for _, l := range logins {
			t.Run(kind.name+", "+l.name, func(t *testing.T) {
				u := newUser(t)
				l.login(u, registry.Host)
				u.run("pull", "-v", registry.Host+"/app:1").exits(0).never(password, basic(name, password))
				wantStored(t, u, i, i.digests(t)...)
			})
		}
		t.Run(kind.name+", nobody", func(t *testing.T) {
			u := newUser(t)
			o := u.run("pull", registry.Host+"/app:1")
			if o.code == 0 {
				t.Fatalf("%s\nmust not succeed without a password", o)
			}
			o.says(registry.Host)
			wantOnlyStored(t, u)
		})
		t.Run(kind.name+", wrong password", func(t *testing.T) {
			u := newUser(t)
			u.login(registry.Host, name, "wrong-password")
			o := u.run("pull", "-v", registry.Host+"/app:1").never("wrong-password")
			if o.code == 0 {
				t.Fatalf("%s\nmust not succeed with a wrong password", o)
			}
			o.says(registry.Host)
		})
	}
}

// TestHangingCredentialHelper has a helper that never answers: it must not hold
// up a pull from a registry it has nothing to do with, nor hang one it has.
func TestHangingCredentialHelper(t *testing.T) {
	i := smallImage(t)
	registry := startRegistry(t, realserver.RegistryOptions{})
	i.push(t, registry.Host+"/app:1")
	u := newUser(t)
	u.file(".docker/config.json", `{"credsStore":"hangs"}`)
	asked := filepath.Join(u.home, "asked")
	helper := u.file("bin/docker-credential-hangs", "#!/bin/sh\ntouch "+asked+"\nexec sleep 1000\n")
	if err := os.Chmod(helper, 0o700); err != nil {
		t.Fatal(err)
	}
	u.setenv("PATH", filepath.Dir(helper)+":"+os.Getenv("PATH"))
	u.run("pull", registry.Host+"/app:1").exits(0)
	if _, err := os.Stat(asked); err == nil {
		t.Error("the helper was asked though the registry wants no credentials")
	}

	private := startRegistry(t, realserver.RegistryOptions{User: "ann", Password: "x"})
	if o := u.run("pull", private.Host+"/app:1"); o.code == 0 {
		t.Errorf("%s\nmust fail: nobody answered for credentials", o)
	}
	if _, err := os.Stat(asked); err != nil {
		t.Error("the helper was not asked though the registry wants credentials")
	}
}

// TestRegistryTLS pulls from a registry whose certificate only a certs.d
// directory vouches for.
func TestRegistryTLS(t *testing.T) {
	ca, err := realserver.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	i := smallImage(t)
	registry := startRegistry(t, realserver.RegistryOptions{CA: ca})
	i.push(t, registry.Host+"/app:1", "--dest-tls-verify=true", "--dest-cert-dir="+filepath.Dir(ca.File))

	u := newUser(t)
	for _, flags := range [][]string{nil, {"--insecure=other.example"}} {
		o := u.run(append([]string{"pull", registry.Host + "/app:1"}, flags...)...)
		if o.code == 0 {
			t.Fatalf("%s\nmust not trust an unknown authority", o)
		}
		o.says(registry.Host, "certificate")
	}
	careless := newUser(t)
	careless.run("pull", "--insecure="+registry.Host, registry.Host+"/app:1").exits(0)
	wantStored(t, careless, i, i.digests(t)...)

	data, err := os.ReadFile(ca.File)
	if err != nil {
		t.Fatal(err)
	}
	u.file(".config/containers/certs.d/"+registry.Host+"/ca.crt", string(data)) // containers-certs.d(5)
	u.run("pull", registry.Host+"/app:1").exits(0)
	wantStored(t, u, i, i.digests(t)...)
}

// TestBlobRedirect has the registry send clients to another host for its blobs,
// as those on object stores do. The password must stay behind.
func TestBlobRedirect(t *testing.T) {
	i := smallImage(t)
	storage := startFaults(t, faultserver.Options{Blobs: i.blobs(t)})
	front := startFaults(t, faultserver.Options{Blobs: i.blobs(t), Tags: map[string]digest.Digest{"1": i.desc.Digest}})
	for _, l := range i.layers {
		front.SetBlobFaults(l.Digest, faultserver.Fault{Redirect: &faultserver.Redirect{To: storage.URL()}})
	}
	front.SetFaults(faultserver.Fault{Match: withoutAuthorization, Status: 401, Challenge: `Basic realm="test"`})
	for _, l := range i.layers {
		front.SetBlobFaults(l.Digest,
			faultserver.Fault{Match: withoutAuthorization, Status: 401, Challenge: `Basic realm="test"`},
			faultserver.Fault{Redirect: &faultserver.Redirect{To: storage.URL()}})
	}
	u := newUser(t)
	u.login(front.Host(), "ann", "secret")
	u.run("pull", front.Host()+"/app:1").exits(0)
	wantStored(t, u, i, i.digests(t)...)
	if storage.Stats().Requests == 0 {
		t.Error("the storage was never asked")
	}
	if n := storage.Stats().Authorizations; n != 0 {
		t.Errorf("%d requests carried the registry's password to its storage", n)
	}
}

// multiImage is an index of three platforms, the last of them in an index of its
// own where nested.
func multiImage(t *testing.T, nested bool) (i *image, children []ocispec.Descriptor) {
	t.Helper()
	l, err := testimage.NewLayout(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	shared, err := l.AddLayer(testimage.Text(1, 200_000), testimage.Gzip)
	if err != nil {
		t.Fatal(err)
	}
	platforms := []ocispec.Platform{
		{OS: "linux", Architecture: "amd64"},
		{OS: "linux", Architecture: "arm64", Variant: "v8"},
		{OS: "linux", Architecture: "arm", Variant: "v7"},
	}
	for n, p := range platforms {
		own, err := l.AddLayer(testimage.Random(uint64(n), 300_000), testimage.Stored)
		if err != nil {
			t.Fatal(err)
		}
		child, err := l.AddImage(ocispec.Image{Platform: p}, shared, own)
		if err != nil {
			t.Fatal(err)
		}
		children = append(children, child)
	}
	last := children[2]
	if nested {
		if last, err = l.AddIndex(last); err != nil {
			t.Fatal(err)
		}
	}
	desc, err := l.AddIndex(children[0], children[1], last)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Tag(desc, "app"); err != nil {
		t.Fatal(err)
	}
	return &image{Layout: l, desc: desc}, children
}

// below are the digests of a manifest and all it refers to.
func below(t *testing.T, i *image, manifest digest.Digest) []digest.Digest {
	t.Helper()
	data, err := os.ReadFile(i.Path(manifest))
	if err != nil {
		t.Fatal(err)
	}
	var m ocispec.Manifest
	readJSON(t, data, &m)
	all := []digest.Digest{manifest, m.Config.Digest}
	for _, l := range m.Layers {
		all = append(all, l.Digest)
	}
	return all
}

// TestPlatforms pulls one, another and all platforms of an index.
func TestPlatforms(t *testing.T) {
	i, children := multiImage(t, true)
	registry := startRegistry(t, realserver.RegistryOptions{})
	peer(t, "crane", "push", i.Dir, registry.Host+"/app:1") // skopeo knows no nested indexes
	tests := []struct {
		platform string
		want     []int // children
	}{
		{"linux/amd64", []int{0}},
		{"linux/arm64", []int{1}},
		{"linux/arm64/v8", []int{1}},
		{"linux/arm/v7", []int{2}},
		{"all", []int{0, 1, 2}},
	}
	for _, test := range tests {
		t.Run(test.platform, func(t *testing.T) {
			u := newUser(t)
			o := u.run("pull", "--platform", test.platform, registry.Host+"/app:1").exits(0)
			if got := strings.TrimSpace(o.stdout); got != i.desc.Digest.String() {
				t.Errorf("digest %s, want the index's, %s", got, i.desc.Digest)
			}
			wantSound(t, u)
			wanted := map[digest.Digest]bool{}
			for _, n := range test.want {
				for _, d := range below(t, i, children[n].Digest) {
					wanted[d] = true
					if _, err := os.Stat(u.blob(d)); err != nil {
						t.Errorf("not stored: %v", err)
					}
				}
			}
			for n, child := range children {
				own := below(t, i, child.Digest)[3] // the layer no other platform has
				if _, err := os.Stat(u.blob(own)); err == nil && !wanted[own] {
					t.Errorf("fetched the layer of platform %d, which nobody wanted", n)
				}
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		o := newUser(t).run("pull", "--platform", "plan9/mips", registry.Host+"/app:1")
		if o.code == 0 {
			t.Errorf("%s\nthere is no such platform", o)
		}
		o.says("plan9/mips", "linux/amd64", "linux/arm64")
	})
}

// TestLikeThePeers pulls what crane and skopeo pull, and compares.
func TestLikeThePeers(t *testing.T) {
	i, _ := multiImage(t, false)
	registry := startRegistry(t, realserver.RegistryOptions{})
	ref := registry.Host + "/app:1"
	i.push(t, ref)
	docker := registry.Host + "/docker:1"
	peer(t, "skopeo", "copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false", "--format", "v2s2",
		"--override-arch", "amd64", i.name(), "docker://"+docker)
	dockerList := registry.Host + "/docker-list:1"
	peer(t, "skopeo", "copy", "--quiet", "--all", "--insecure-policy", "--dest-tls-verify=false", "--format", "v2s2",
		"oci:"+i.Dir+":app", "docker://"+dockerList)

	t.Run("crane", func(t *testing.T) {
		for _, name := range []string{ref, docker, dockerList} {
			u := newUser(t)
			var doc pullDoc
			u.run("pull", "--json", "--platform", "linux/amd64", name).exits(0).decode(&doc)
			if want := strings.TrimSpace(peer(t, "crane", "digest", name)); doc.Digest.String() != want {
				t.Errorf("%s is %s, crane says %s", name, doc.Digest, want)
			}
			wantSameAsCrane(t, u, name, peer(t, "crane", "manifest", name), doc.Digest)
			child := strings.TrimSpace(peer(t, "crane", "digest", "--platform", "linux/amd64", name))
			manifest := peer(t, "crane", "manifest", "--platform", "linux/amd64", name)
			wantSameAsCrane(t, u, name, manifest, digest.Digest(child))
			var m ocispec.Manifest
			readJSON(t, []byte(manifest), &m)
			repository := strings.TrimSuffix(name, ":1")
			for _, desc := range append(m.Layers, m.Config) {
				wantSameAsCrane(t, u, name, peer(t, "crane", "blob", repository+"@"+desc.Digest.String()), desc.Digest)
			}
		}
	})
	t.Run("skopeo", func(t *testing.T) {
		u := newUser(t)
		u.run("pull", "--platform", "all", ref).exits(0)
		dir := t.TempDir()
		peer(t, "skopeo", "copy", "--quiet", "--all", "--insecure-policy", "--preserve-digests", "--src-tls-verify=false",
			"docker://"+ref, "oci:"+dir+":app")
		copied := &image{Layout: &testimage.Layout{Dir: dir}, desc: i.desc}
		wantStored(t, u, copied, copied.digests(t)...)
		wantOnlyStored(t, u, copied.digests(t)...)
	})
}

func wantSameAsCrane(t *testing.T, u *user, name, want string, d digest.Digest) {
	t.Helper()
	got, err := os.ReadFile(u.blob(d))
	if err != nil {
		t.Errorf("%s: not stored: %v", name, err)
	} else if string(got) != want {
		t.Errorf("%s: %s differs from what crane gets", name, d)
	}
}
