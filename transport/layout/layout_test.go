package layout_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/layout"
	"github.com/waybill-project/waybill/transport/local/localtest"
)

// Layouts that other tools made hold, for us, the very images those tools see
// in them.
func TestRealLayouts(t *testing.T) {
	dir := t.TempDir()
	buildah, skopeo, umoci := filepath.Join(dir, "buildah"), filepath.Join(dir, "skopeo"), filepath.Join(dir, "umoci")
	localtest.Buildah(t, "oci:"+buildah+":v1", 1)
	localtest.Buildah(t, "oci:"+buildah+":v2", 2)
	localtest.Run(t, "skopeo", "copy", "oci:"+buildah+":v1", "oci:"+skopeo+":docker.io/library/thing:3")
	localtest.Run(t, "skopeo", "copy", "oci:"+buildah+":v2", "oci:"+skopeo+":other")
	localtest.Run(t, "umoci", "init", "--layout", umoci)
	localtest.Run(t, "umoci", "new", "--image", umoci+":empty")
	localtest.Run(t, "umoci", "new", "--image", umoci+":v1")
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, localtest.Noise(3, 100_000), 0o644); err != nil {
		t.Fatal(err)
	}
	localtest.Run(t, "umoci", "insert", "--image", umoci+":v1", file, "/file")

	for _, tt := range []struct {
		dir, ref, skopeo string
		blobs            int
	}{
		{buildah, "v1", "v1", 4},
		{buildah, "v2", "v2", 4},
		{skopeo, "docker.io/library/thing:3", "docker.io/library/thing:3", 4},
		{skopeo, "thing:3", "docker.io/library/thing:3", 4},
		{skopeo, "other", "other", 4},
		{umoci, "empty", "empty", 2},
		{umoci, "v1", "v1", 3},
	} {
		t.Run(filepath.Base(tt.dir)+"/"+strings.ReplaceAll(tt.ref, "/", "_"), func(t *testing.T) {
			desc, err := layout.Transport{}.Resolve(t.Context(), name.Name{Kind: name.Layout, Path: tt.dir, Ref: tt.ref})
			if err != nil {
				t.Fatal(err)
			}
			if want := localtest.SkopeoDigest(t, "oci:"+tt.dir+":"+tt.skopeo); desc.Digest != want {
				t.Errorf("resolved to %s, skopeo says %s", desc.Digest, want)
			}
			roles := localtest.CheckImage(t, layout.Transport{}, transport.Route{URI: layout.URI(tt.dir)}, desc.Descriptor)
			if len(roles) != tt.blobs || roles[0] != image.RoleManifest || roles[1] != image.RoleConfig {
				t.Errorf("blobs %v, want %d", roles, tt.blobs)
			}
			// The ref in the URI of a route has no meaning.
			localtest.CheckImage(t, layout.Transport{}, transport.Route{URI: layout.URI(tt.dir) + ":nothing"}, desc.Descriptor)
		})
	}
	entries, err := layout.Transport{}.Entries(t.Context(), name.Name{Kind: name.Layout, Path: skopeo})
	if err != nil {
		t.Fatal(err)
	}
	var refs []string
	for _, e := range entries {
		refs = append(refs, layout.Ref(e))
	}
	if got := strings.Join(refs, " "); got != "docker.io/library/thing:3 other" {
		t.Errorf("entries %s", got)
	}
}

const goodMarker = `{"imageLayoutVersion":"1.0.0"}`

// write makes a layout of its two documents.
func write(t *testing.T, marker, index string) string {
	t.Helper()
	dir := t.TempDir()
	for file, content := range map[string]string{"oci-layout": marker, "index.json": index} {
		if content == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func entry(content string, annotations string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"annotations":{%s}}`,
		ocispec.MediaTypeImageManifest, digest.FromString(content), len(content), annotations)
}

func artifact(content string, annotations string) string {
	return strings.Replace(entry(content, annotations), "{", `{"artifactType":"application/x",`, 1)
}

func indexOf(entries ...string) string {
	return `{"schemaVersion":2,"manifests":[` + strings.Join(entries, ",") + `]}`
}

func refName(ref string) string {
	return fmt.Sprintf("%q:%q", ocispec.AnnotationRefName, ref)
}

func TestResolve(t *testing.T) {
	const imageName = `"io.containerd.image.name":`
	dA, dB := digest.FromString("a"), digest.FromString("b")
	two := indexOf(entry("a", refName("v1")), entry("b", refName("latest")+","+imageName+`"docker.io/library/alpine:latest"`))
	tests := []struct {
		name, index, ref string
		digest           digest.Digest
		want             digest.Digest
		kind             error
		says             string
	}{
		{"the only one", indexOf(entry("a", "")), "", "", dA, nil, ""},
		{"the only one, by two names", indexOf(entry("a", refName("x")), entry("a", refName("y"))), "", "", dA, nil, ""},
		{"the only one beside what is attached to it", indexOf(artifact("b", ""), entry("a", "")), "", "", dA, nil, ""},
		{"the only artifact", indexOf(artifact("b", "")), "", "", dB, nil, ""},
		{"an artifact with a ref counts", indexOf(artifact("b", refName("v1")), entry("a", "")), "", "", "", transport.ErrPermanent, "several images"},
		{"none to choose", indexOf(), "", "", "", transport.ErrNotFound, "there are none"},
		{"several to choose", two, "", "", "", transport.ErrPermanent, `add :REF or @DIGEST: there is "v1", "latest"`},
		{"ref", two, "v1", "", dA, nil, ""},
		{"ref of the second", two, "latest", "", dB, nil, ""},
		{"full name", two, "docker.io/library/alpine:latest", "", dB, nil, ""},
		{"short name", two, "alpine", "", dB, nil, ""},
		{"no such ref", two, "v2", "", "", transport.ErrNotFound, `there is "v1", "latest"`},
		{"ref is exact, case counts", two, "V1", "", "", transport.ErrNotFound, "no such image"},
		{"ref held by two images", indexOf(entry("a", refName("v")), entry("b", refName("v"))), "v", "", "", transport.ErrPermanent, "several images"},
		{"exact before equivalent", indexOf(entry("a", refName("docker.io/library/v:latest")), entry("b", refName("v"))), "v", "", dB, nil, ""},
		{"by position", two, "@1", "", dB, nil, ""},
		{"by position that isn't there", two, "@2", "", "", transport.ErrNotFound, "no entry @2; there are 2"},
		{"by no position", two, "@-1", "", "", transport.ErrNotFound, "no entry @-1"},
		{"digest", two, "", dA, dA, nil, ""},
		{"digest before ref", two, "latest", dA, dA, nil, ""},
		{"digest that isn't there", two, "", digest.FromString("c"), "", transport.ErrNotFound, "no such file"},
		{"unnamed ones are listed by digest", indexOf(entry("a", ""), entry("b", "")), "", "", "", transport.ErrPermanent, "@" + dB.String()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := name.Name{Kind: name.Layout, Path: write(t, goodMarker, tt.index), Ref: tt.ref, Digest: tt.digest}
			desc, err := layout.Transport{}.Resolve(t.Context(), n)
			if desc.Digest != tt.want || !errors.Is(err, tt.kind) || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %s, %v; want %s, %v saying %s", desc.Digest, err, tt.want, tt.kind, tt.says)
			}
		})
	}
}

// A digest below the index may be named too, and must be what it says.
func TestResolveDeeperDigest(t *testing.T) {
	dir := write(t, goodMarker, indexOf(entry("a", "")))
	inner := indexOf(entry("b", ""))
	put := func(d digest.Digest, content string) {
		t.Helper()
		file, err := layout.BlobPath(d)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	good, lie, layer := digest.FromString(inner), digest.FromString("lie"), digest.FromString("layer")
	put(good, inner)
	put(lie, inner)
	put(layer, "layer")
	resolve := func(d digest.Digest) (layout.Found, error) {
		return layout.Transport{}.Resolve(t.Context(), name.Name{Kind: name.Layout, Path: dir, Digest: d})
	}
	if desc, err := resolve(good); err != nil || desc.MediaType != ocispec.MediaTypeImageIndex || desc.Size != int64(len(inner)) {
		t.Errorf("got %+v, %v", desc, err)
	}
	if _, err := resolve(lie); err == nil || !strings.Contains(err.Error(), "the content has digest "+good.String()) {
		t.Errorf("content of another digest: %v", err)
	}
	if _, err := resolve(layer); !errors.Is(err, image.ErrNotDocument) && (err == nil || !strings.Contains(err.Error(), "not JSON")) {
		t.Errorf("a layer: %v", err)
	}
}

func TestRefusedLayouts(t *testing.T) {
	good := indexOf(entry("a", ""))
	tests := []struct {
		name, marker, index, says string
	}{
		{"no marker", "", good, "isn't an OCI layout: it has no oci-layout file"},
		{"no index", goodMarker, "", "it has no index.json file"},
		{"marker is no JSON", "x", good, "oci-layout: not JSON"},
		{"marker without version", "{}", good, `version ""`},
		{"later version", `{"imageLayoutVersion":"2.0.0"}`, good, `version "2.0.0"; this program reads version 1`},
		{"large marker", `{"imageLayoutVersion":"1.0.0"` + strings.Repeat(" ", 5000) + "}", good, "limit of 4096 bytes"},
		{"index is no JSON", goodMarker, "x", "index.json: index: not JSON"},
		{"index is a manifest too", goodMarker, strings.Replace(good, "}]}", `}],"layers":[]}`, 1), "CVE-2021-41190"},
		{"index says it is a manifest", goodMarker, strings.Replace(good, "{", `{"mediaType":"`+ocispec.MediaTypeImageManifest+`",`, 1), "was served or described as"},
		{"digest that is a path", goodMarker, strings.Replace(good, digest.FromString("a").String(), "sha256:../../../etc/passwd", 1), "not a hex digit"},
		{"negative size", goodMarker, strings.Replace(good, `"size":1`, `"size":-1`, 1), "negative"},
		{"large index", goodMarker, strings.Repeat(" ", image.MaxDocument+1), "limit of 33554432 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := name.Name{Kind: name.Layout, Path: write(t, tt.marker, tt.index)}
			_, err := layout.Transport{}.Resolve(t.Context(), n)
			var e *transport.Error
			if !errors.As(err, &e) || !errors.Is(err, transport.ErrPermanent) || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v; want one line saying %q", err, tt.says)
			}
			if _, errEntries := (layout.Transport{}).Entries(t.Context(), n); errEntries == nil || errEntries.Error() != err.Error() {
				t.Errorf("Entries: %v", errEntries)
			}
		})
	}
	t.Run("index is a link out", func(t *testing.T) {
		dir := write(t, goodMarker, "")
		if err := os.Symlink(filepath.Join(write(t, goodMarker, good), "index.json"), filepath.Join(dir, "index.json")); err != nil {
			t.Fatal(err)
		}
		if _, err := (layout.Transport{}).Resolve(t.Context(), name.Name{Kind: name.Layout, Path: dir}); !errors.Is(err, transport.ErrPermanent) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no directory", func(t *testing.T) {
		_, err := layout.Transport{}.Resolve(t.Context(), name.Name{Kind: name.Layout, Path: "/nowhere", Ref: "b:c"})
		if !errors.Is(err, transport.ErrNotFound) || !strings.Contains(err.Error(), "%3A") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("not a layout's name", func(t *testing.T) {
		if _, err := (layout.Transport{}).Resolve(t.Context(), name.Name{Kind: name.Registry, Host: "x", Repository: "y"}); !errors.Is(err, transport.ErrPermanent) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := (layout.Transport{}).Resolve(ctx, name.Name{Kind: name.Layout, Path: "/nowhere"}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	here := digest.FromString("x")
	file, err := layout.BlobPath(here)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(file)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, file), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, uri string
		digest    digest.Digest
		size      int64
		kind      error
	}{
		{"there", layout.URI(dir), here, 1, nil},
		{"missing", layout.URI(dir), digest.FromString("y"), 1, transport.ErrNotFound},
		{"other size", layout.URI(dir), here, 2, transport.ErrPermanent},
		{"digest that is a path", layout.URI(dir), "sha256:../../" + digest.Digest(file), 1, transport.ErrPermanent},
		{"other scheme", "oci-archive:" + dir, here, 1, transport.ErrPermanent},
		{"no path", "oci:", here, 1, transport.ErrPermanent},
	} {
		got, err := localtest.ReadAll(t.Context(), layout.Transport{}, transport.Route{URI: tt.uri}, ocispec.Descriptor{Digest: tt.digest, Size: tt.size}, 0, tt.size)
		if !errors.Is(err, tt.kind) || (err == nil) != (string(got) == "x") {
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
	}
}

// Whatever an index.json holds, what is selected from it is one of its own
// entries, and fit to be used.
func FuzzSelect(f *testing.F) {
	f.Add(indexOf(entry("a", refName("v1")), entry("b", "")), "oci:x:v1")
	f.Add(indexOf(entry("a", "")), "oci:x")
	f.Add(indexOf(entry("a", refName("alpine"))), "oci:x:docker.io/library/alpine:latest")
	f.Add(indexOf(entry("a", "")), "oci:x:@0")
	f.Fuzz(func(t *testing.T, content, s string) {
		n, err := name.Parse(s)
		if err != nil {
			return
		}
		entries, err := layout.Entries(n, []byte(content))
		if err != nil {
			return
		}
		desc, err := layout.Select(entries, n)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("not one line: %q", err)
			}
			return
		}
		if err := image.CheckDescriptor(desc); err != nil {
			t.Error(err)
		}
		if n.Digest != "" && desc.Digest != n.Digest {
			t.Errorf("%s became %s", n, desc.Digest)
		}
	})
}
