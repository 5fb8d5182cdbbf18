package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/test/testimage"
)

// TestPullByEveryName pulls one image by each kind of name that can be one.
func TestPullByEveryName(t *testing.T) {
	i := smallImage(t)
	registry := startRegistry(t, realserver.RegistryOptions{})
	i.push(t, registry.Host+"/team/app:1")
	archive := filepath.Join(t.TempDir(), "app.tar")
	peer(t, "skopeo", "copy", "--quiet", "--insecure-policy", "--preserve-digests", i.name(), "oci-archive:"+archive+":app")
	copied := t.TempDir()
	peer(t, "skopeo", "copy", "--quiet", "--insecure-policy", "--preserve-digests", i.name(), "oci:"+copied+":app")

	at := "@" + i.desc.Digest.String()
	names := map[string]string{
		"registry":                    registry.Host + "/team/app:1",
		"registry, transport spelled": "docker://" + registry.Host + "/team/app:1",
		"registry, digest":            registry.Host + "/team/app" + at,
		"registry, tag and digest":    registry.Host + "/team/app:1" + at,
		"layout":                      i.name(),
		"layout, only image":          "oci:" + i.Dir,
		"layout by skopeo":            "oci:" + copied + ":app",
		"archive":                     "oci-archive:" + archive + ":app",
		"archive, only image":         "oci-archive:" + archive,
	}
	for kind, name := range names {
		t.Run(kind, func(t *testing.T) {
			u := newUser(t)
			o := u.run("pull", name).exits(0)
			if got := strings.TrimSpace(o.stdout); got != i.desc.Digest.String() {
				t.Errorf("stdout is %q, want the digest %s alone", o.stdout, i.desc.Digest)
			}
			wantStored(t, u, i, i.digests(t)...)
			wantOnlyStored(t, u, i.digests(t)...)
		})
	}
}

// TestPullDocument holds `pull --json` against the contract.
func TestPullDocument(t *testing.T) {
	i := smallImage(t)
	registry := startRegistry(t, realserver.RegistryOptions{})
	i.push(t, registry.Host+"/app:1")
	u := newUser(t)
	var doc pullDoc
	u.run("pull", "--json", registry.Host+"/app:1").exits(0).decode(&doc)
	if doc.Digest != i.desc.Digest || doc.Size != i.desc.Size || doc.MediaType != i.desc.MediaType {
		t.Errorf("image is %s (%s, %d bytes), want %+v", doc.Digest, doc.MediaType, doc.Size, i.desc)
	}
	if !strings.Contains(doc.Name, registry.Host+"/app:1") || doc.Pull == "" {
		t.Errorf("name %q, pull %q", doc.Name, doc.Pull)
	}
	seen := map[digest.Digest]bool{}
	for _, b := range doc.Blobs {
		if seen[b.Digest] {
			t.Errorf("%s is listed twice", b.Digest)
		}
		seen[b.Digest] = true
		info, err := os.Stat(i.Path(b.Digest))
		if err != nil || info.Size() != b.Size {
			t.Errorf("blob %s of %d bytes is not the image's: %v", b.Digest, b.Size, err)
		}
		if b.Cached == nil || *b.Cached {
			t.Errorf("%s: cached must be false", b.Digest)
		}
		var sum int64
		for _, s := range b.Sources {
			sum += s.Bytes
			if !strings.Contains(s.URI, registry.Host) {
				t.Errorf("%s came from %s, want the registry", b.Digest, s.URI)
			}
		}
		if sum != b.Size {
			t.Errorf("%s: sources add up to %d bytes of %d", b.Digest, sum, b.Size)
		}
	}
	if want := len(i.digests(t)); len(seen) != want {
		t.Errorf("%d blobs, want %d: %+v", len(seen), want, doc.Blobs)
	}
}

// TestPullFromEverySource takes the manifest from a layout without layers and
// the layers from one place of each kind.
func TestPullFromEverySource(t *testing.T) {
	i := smallImage(t)
	bare := filepath.Join(i.Dir, "blobs")
	registry := startRegistry(t, realserver.RegistryOptions{})
	i.push(t, registry.Host+"/app:1")
	nginx := startNginx(t, bare, realserver.NginxOptions{})
	archive := filepath.Join(t.TempDir(), "app.tar")
	peer(t, "skopeo", "copy", "--quiet", "--insecure-policy", "--preserve-digests", i.name(), "oci-archive:"+archive+":app")

	sources := map[string]string{
		"CAS template":          nginx.URL + "/{algorithm}/{encoded}",
		"CAS base":              nginx.URL + "/",
		"registry repository":   "docker://" + registry.Host + "/app",
		"registry tag":          "docker://" + registry.Host + "/app:1",
		"layout":                i.name(),
		"layout, no ref":        "oci:" + i.Dir,
		"archive":               "oci-archive:" + archive,
		"bare tree as file URI": "file://" + bare,
	}
	for kind, from := range sources {
		t.Run(kind, func(t *testing.T) {
			u := newUser(t)
			var doc pullDoc
			u.run("pull", "--json", "--from", from, i.withoutLayers(t).name()).exits(0).decode(&doc)
			if doc.Digest != i.desc.Digest {
				t.Errorf("digest %s, want %s", doc.Digest, i.desc.Digest)
			}
			wantStored(t, u, i, i.digests(t)...)
		})
	}
}

// TestPullMixesSources spreads the layers over unlike places, of which none has
// all: each must serve what only it has.
func TestPullMixesSources(t *testing.T) {
	i := smallImage(t)
	only := func(n int) string { // a bare tree with layer n alone
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "sha256"), 0o755); err != nil {
			t.Fatal(err)
		}
		copyFile(t, i.Path(i.layers[n].Digest), filepath.Join(dir, "sha256", i.layers[n].Digest.Encoded()))
		return dir
	}
	nginx := startNginx(t, only(0), realserver.NginxOptions{})
	registry := startRegistry(t, realserver.RegistryOptions{})
	i.push(t, registry.Host+"/app:1")
	for _, n := range []int{0, 1, 2} {
		removeFile(t, registry.BlobFile(i.layers[n].Digest.String()))
	}
	partial := i.withoutLayers(t)
	copyFile(t, i.Path(i.layers[2].Digest), partial.Path(i.layers[2].Digest))

	u := newUser(t)
	var doc pullDoc
	u.run("pull", "--json", registry.Host+"/app:1",
		"--from", nginx.URL+"/",
		"--from", "file://"+only(1),
		"--from", "oci:"+partial.Dir).exits(0).decode(&doc)
	wantStored(t, u, i, i.digests(t)...)
	for n, scheme := range []string{nginx.URL, "file:", "oci:", registry.Host} {
		for _, b := range doc.Blobs {
			if b.Digest != i.layers[n].Digest {
				continue
			}
			if len(b.Sources) != 1 || !strings.Contains(b.Sources[0].URI, scheme) {
				t.Errorf("layer %d came from %+v, want %s alone", n, b.Sources, scheme)
			}
		}
	}
}

// TestPullByDigestWithoutRegistry pins the digest: then any place that has the
// bytes will do, and the registry in the name need not be there.
func TestPullByDigestWithoutRegistry(t *testing.T) {
	i := smallImage(t)
	nginx := startNginx(t, filepath.Join(i.Dir, "blobs"), realserver.NginxOptions{})
	registry := startRegistry(t, realserver.RegistryOptions{})
	registry.Stop()
	u := newUser(t)
	o := u.run("pull", registry.Host+"/app@"+i.desc.Digest.String(), "--from", nginx.URL+"/").exits(0)
	if got := strings.TrimSpace(o.stdout); got != i.desc.Digest.String() {
		t.Errorf("stdout is %q, want %s", o.stdout, i.desc.Digest)
	}
	wantStored(t, u, i, i.digests(t)...)
}

// TestLocationNeverChoosesTheImage offers a source whose tag names another
// image: it may give bytes, but never decide which.
func TestLocationNeverChoosesTheImage(t *testing.T) {
	wanted, other := smallImage(t), randomImage(t, 1<<20)
	u := newUser(t)
	o := u.run("pull", wanted.name(), "--from", other.name()).exits(0)
	if got := strings.TrimSpace(o.stdout); got != wanted.desc.Digest.String() {
		t.Errorf("got %q, want %s", o.stdout, wanted.desc.Digest)
	}
	wantOnlyStored(t, u, wanted.digests(t)...)
}

// TestLayoutsOfOtherTools pulls images as buildah and umoci make them.
func TestLayoutsOfOtherTools(t *testing.T) {
	content := filepath.Join(t.TempDir(), "hello")
	if err := os.WriteFile(content, []byte("hello\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	state := t.TempDir()
	buildah := func(args ...string) string {
		return strings.TrimSpace(peer(t, "buildah", append([]string{
			"--storage-driver", "vfs", "--root", state + "/root", "--runroot", state + "/run",
		}, args...)...))
	}
	container := buildah("from", "scratch")
	buildah("copy", container, content, "/hello")
	buildah("config", "--cmd", "/hello", container)
	buildah("commit", "--quiet", "--format", "oci", container, "oci:"+dir+"/buildah:app")
	buildah("commit", "--quiet", "--format", "oci", container, "oci-archive:"+dir+"/buildah.tar:app")

	peer(t, "umoci", "init", "--layout", dir+"/umoci")
	peer(t, "umoci", "new", "--image", dir+"/umoci:app")
	peer(t, "umoci", "insert", "--rootless", "--image", dir+"/umoci:app", content, "/hello")

	for _, name := range []string{"oci:" + dir + "/buildah:app", "oci-archive:" + dir + "/buildah.tar:app", "oci:" + dir + "/umoci:app"} {
		t.Run(strings.TrimPrefix(name, dir), func(t *testing.T) {
			u := newUser(t)
			want := digest.FromString(peer(t, "skopeo", "inspect", "--raw", name))
			o := u.run("pull", name).exits(0)
			if got := strings.TrimSpace(o.stdout); got != want.String() {
				t.Errorf("digest %s, skopeo says %s", got, want)
			}
			wantSound(t, u)
			bundle := filepath.Join(u.home, "bundle")
			u.run("bundle", name, bundle).exits(0)
			got, err := os.ReadFile(filepath.Join(bundle, "rootfs", "hello"))
			if err != nil || string(got) != "hello\n" {
				t.Errorf("rootfs/hello: %q, %v", got, err)
			}
		})
	}
}

// TestDockerArchive pulls what `docker save` writes. Such a file has no manifest
// to compare digests of: what must be kept are the layers' content and the
// configuration.
func TestDockerArchive(t *testing.T) {
	i := makeImage(t, layer{testimage.Text(1, 3<<20), testimage.Gzip}, layer{testimage.Random(2, 2<<20), testimage.Gzip})
	archive := filepath.Join(t.TempDir(), "app.tar")
	peer(t, "skopeo", "copy", "--quiet", "--insecure-policy", i.name(), "docker-archive:"+archive+":example.org/app:1")
	for _, name := range []string{"docker-archive:" + archive, "docker-archive:" + archive + ":example.org/app:1"} {
		u := newUser(t)
		var doc pullDoc
		u.run("pull", "--json", name).exits(0).decode(&doc)
		wantSound(t, u)
		for _, l := range i.layers {
			if _, err := os.Stat(u.blob(l.DiffID)); err != nil {
				t.Errorf("%s: the layer's tar is not in the store: %v", name, err)
			}
		}
		bundle := filepath.Join(u.home, "bundle")
		u.run("bundle", name, bundle).exits(0)
		if info, err := os.Stat(filepath.Join(bundle, "rootfs", "data", "2.bin")); err != nil || info.Size() != 2<<20 {
			t.Errorf("%s: rootfs/data/2.bin: %v, %v", name, info, err)
		}
	}
}

// TestFetchBlob fetches one blob to stdout and to a file.
func TestFetchBlob(t *testing.T) {
	i := smallImage(t)
	nginx := startNginx(t, filepath.Join(i.Dir, "blobs"), realserver.NginxOptions{})
	d := i.layers[1].Digest
	want, err := os.ReadFile(i.Path(d))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("stdout", func(t *testing.T) {
		o := newUser(t).run("fetch", d.String(), "--from", nginx.URL+"/").exits(0)
		if o.stdout != string(want) {
			t.Errorf("stdout is not the blob: %d bytes of %d", len(o.stdout), len(want))
		}
	})
	t.Run("file", func(t *testing.T) {
		u := newUser(t)
		file := filepath.Join(u.home, "blob")
		u.run("fetch", d.String(), "--size", size(int64(len(want))), "--from", nginx.URL+"/{algorithm}/{encoded}", "-o", file).exits(0)
		got, err := os.ReadFile(file)
		if err != nil || string(got) != string(want) {
			t.Errorf("%s is not the blob: %d bytes of %d, %v", file, len(got), len(want), err)
		}
	})
	t.Run("wrong size", func(t *testing.T) {
		u := newUser(t)
		file := filepath.Join(u.home, "blob")
		o := u.run("fetch", d.String(), "--size", "12345", "--from", nginx.URL+"/", "-o", file)
		if o.code == 0 {
			t.Errorf("%s\na blob of another size than was asked for must fail", o)
		}
		if _, err := os.Stat(file); err == nil {
			t.Error("a file was left behind")
		}
		wantOnlyStored(t, u)
	})
}
