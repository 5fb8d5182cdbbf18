package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/test/realserver"
)

// entryWith is an entry of an index, with engines on it.
func entryWith(desc ocispec.Descriptor, ref string, templates ...string) document {
	e := document{"mediaType": desc.MediaType, "digest": desc.Digest, "size": desc.Size}
	if desc.Platform != nil {
		e["platform"] = desc.Platform
	}
	if ref != "" {
		e["annotations"] = map[string]string{ocispec.AnnotationRefName: ref}
	}
	if templates != nil {
		e["casEngines"] = engines("oci-cas-template-v1", templates)
	}
	return e
}

// indexWith is an index, with engines of its own.
func indexWith(entry document, templates ...string) document {
	return document{"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageIndex, "manifests": []any{entry}, "casEngines": engines("oci-cas-template-v1", templates)}
}

// nest puts the image into an index within another, both with engines, and tags
// that as "nested".
func (i *image) nest(t *testing.T, outer, inner []string) (top, within ocispec.Descriptor) {
	t.Helper()
	within, err := i.AddJSON(ocispec.MediaTypeImageIndex, indexWith(entryWith(i.desc, "", inner...)))
	if err != nil {
		t.Fatal(err)
	}
	if top, err = i.AddJSON(ocispec.MediaTypeImageIndex, indexWith(entryWith(within, ""), outer...)); err != nil {
		t.Fatal(err)
	}
	if err := i.Tag(top, "nested"); err != nil {
		t.Fatal(err)
	}
	return top, within
}

// TestEnginesInIndexes: the CAS engines that stand in an index, and on what is in
// it, are places of what is below, wherever the index came from. They lead nobody
// into this machine's network.
func TestEnginesInIndexes(t *testing.T) {
	t.Parallel()
	i := smallImage(t)
	inside, asked := trap(t)
	hostile := []string{
		"https://" + inside + "/{encoded}", "https://169.254.169.254/{encoded}", "https://[::ffff:10.0.0.1]/{encoded}", "file:///etc/{encoded}",
		"relative/{encoded}", "http://waybill.test/plain/{encoded}",
	}
	outer := "https://waybill.test/outer/{algorithm}/{encoded:2}/{encoded}"
	top, within := i.nest(t, []string{outer}, append(hostile, "https://waybill.test/inner/{encoded}"))
	all := i.digests(t)

	// The web server has documents at one place and the rest at another.
	serve := func(s *site) {
		for _, d := range all {
			content := string(readFile(t, i.Path(d)))
			if d == within.Digest || d == i.desc.Digest {
				s.put(fmt.Sprintf("outer/sha256/%s/%s", d.Encoded()[:2], d.Encoded()), content)
			} else {
				s.put("inner/"+d.Encoded(), content)
			}
		}
	}
	check := func(t *testing.T, u *user, name string) {
		t.Helper()
		u.run("pull", name).exits(0).says("relative/", "file:///etc/", "http://waybill.test/plain/")
		wantStored(t, u, i, all...)
		var story explainDoc
		u.run("explain", "--json").exits(0).decode(&story)
		used := map[string]bool{}
		for _, s := range story.Sources {
			if s.Status == "used" {
				used[s.Origin] = true
			}
		}
		for _, of := range []digest.Digest{top.Digest, within.Digest} {
			if !used["casEngines of index "+string(of)] {
				t.Errorf("explain doesn't say that an engine of %s was used: %+v", of, story.Sources)
			}
		}
		if text := u.run("explain").exits(0).stdout; !strings.Contains(text, "169.254.169.254") {
			t.Errorf("explain doesn't say what was refused:\n%s", text)
		}
		var places locateDoc
		u.run("locate", name, "--json").exits(0).decode(&places)
		for _, b := range places.Blobs {
			var uris []string
			for _, r := range b.Routes {
				uris = append(uris, r.URI)
			}
			text := strings.Join(uris, " ")
			inOuter, inInner := strings.Contains(text, "https://waybill.test/outer/"), strings.Contains(text, "https://waybill.test/inner/")
			if inOuter != (b.Digest != top.Digest) || inInner != (b.Digest != top.Digest && b.Digest != within.Digest) {
				t.Errorf("%s is said to be at %q", b.Digest, uris)
			}
		}
		if n := asked.Load(); n != 0 {
			t.Errorf("%d connections to a place within", n)
		}
	}

	t.Run("registry", func(t *testing.T) {
		r := startRegistry(t, realserver.RegistryOptions{})
		peer(t, "oras", "cp", "--from-oci-layout", i.Dir+":nested", "--to-plain-http", r.Host+"/team/nested:1")
		for _, d := range all {
			if d != top.Digest {
				removeFile(t, r.BlobFile(string(d)))
			}
		}
		u := newUser(t)
		serve(startSite(t, u))
		check(t, u, r.Host+"/team/nested:1")
	})
	t.Run("layout", func(t *testing.T) {
		sparse := filepath.Join(t.TempDir(), "sparse")
		if err := os.MkdirAll(filepath.Join(sparse, "blobs", "sha256"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"oci-layout", "index.json", "blobs/sha256/" + top.Digest.Encoded()} {
			copyFile(t, filepath.Join(i.Dir, file), filepath.Join(sparse, file))
		}
		u := newUser(t)
		serve(startSite(t, u))
		check(t, u, "oci:"+sparse+":nested")
	})
}

// TestEnginesInALayout: the index.json of a layout may say where the blobs are that
// aren't in it, whatever keeps the layout.
func TestEnginesInALayout(t *testing.T) {
	t.Parallel()
	i := smallImage(t)
	u := newUser(t)
	s := startSite(t, u)
	for _, d := range i.digests(t) {
		s.put("all/"+d.Encoded(), string(readFile(t, i.Path(d))))
	}
	dir := t.TempDir()
	copyFile(t, filepath.Join(i.Dir, "oci-layout"), filepath.Join(dir, "oci-layout"))
	sparse := image{Layout: i.Layout, desc: i.desc}
	put := func(index document) {
		desc, err := sparse.AddJSON(ocispec.MediaTypeImageIndex, index)
		if err != nil {
			t.Fatal(err)
		}
		copyFile(t, i.Path(desc.Digest), filepath.Join(dir, "index.json"))
		removeFile(t, i.Path(desc.Digest))
	}
	archive := filepath.Join(t.TempDir(), "sparse.tar")
	for what, index := range map[string]document{
		"on the entry": indexWith(entryWith(i.desc, "app", "https://waybill.test/all/{encoded}")),
		"of the index": indexWith(entryWith(i.desc, "app"), "https://waybill.test/all/{encoded}"),
	} {
		put(index)
		peer(t, "tar", "-C", dir, "-cf", archive, ".")
		for _, name := range []string{"oci:" + dir + ":app", "oci-archive:" + archive + ":app"} {
			v := newUser(t)
			v.env = u.env
			v.run("pull", name).exits(0)
			wantStored(t, v, i, i.digests(t)...)
			out := v.run("locate", name).exits(0).stdout
			if n := strings.Count(out, "casEngines of index.json"); n != len(i.digests(t)) {
				t.Errorf("%s, %s: named %d times in\n%s", what, name, n, out)
			}
		}
	}
	put(indexWith(entryWith(i.desc, "app")))
	newUser(t).run("pull", "oci:"+dir+":app").exits(3)
}
