package tree_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/layout"
	"github.com/waybill-project/waybill/transport/local/localtest"
	"github.com/waybill-project/waybill/transport/tree"
)

// The blobs of a layout, at the layout and at its blobs directory.
func TestTreeOfLayout(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "with space#and?more")
	localtest.Buildah(t, "oci:"+dir+":v1", 1)
	root, err := layout.Transport{}.Resolve(t.Context(), name.Name{Kind: name.Layout, Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, filepath.Join(dir, "blobs")} {
		roles := localtest.CheckImage(t, tree.Transport{}, transport.Route{URI: tree.URI(d)}, root.Descriptor)
		if len(roles) != 4 || roles[0] != image.RoleManifest {
			t.Errorf("%s: %v", d, roles)
		}
	}
}

func TestOpen(t *testing.T) {
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "secret")
	put := func(path, content string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	blake, err := blobdigest.FromBytes(blobdigest.BLAKE3, []byte("three"))
	if err != nil {
		t.Fatal(err)
	}
	here, inBlobs := digest.FromString("one"), digest.FromString("two")
	linked, missing := digest.FromString("linked"), digest.FromString("missing")
	put(filepath.Join(dir, "sha256", here.Encoded()), "one")
	put(filepath.Join(dir, "blobs/sha256", inBlobs.Encoded()), "two")
	put(filepath.Join(dir, "blake3", blake.Encoded()), "three")
	put(filepath.Join(dir, "md5/x"), "x")
	put(outside, "linked")
	if err := os.Symlink(outside, filepath.Join(dir, "sha256", linked.Encoded())); err != nil {
		t.Fatal(err)
	}
	file := func(dir string) string { return "file://" + dir }
	tests := []struct {
		name, uri string
		digest    digest.Digest
		want      string
		kind      error
		says      string
	}{
		{"bare", file(dir), here, "one", nil, ""},
		{"slash at the end", file(dir) + "/", here, "one", nil, ""},
		{"host is localhost", "file://localhost" + dir, here, "one", nil, ""},
		{"in blobs", file(dir), inBlobs, "two", nil, ""},
		{"blake3", file(dir), blake, "three", nil, ""},
		{"percent-encoded", file(strings.Replace(dir, "/", "/%2E/", 1)), here, "one", nil, ""},
		{"missing", file(dir), missing, "", transport.ErrNotFound, missing.Encoded()},
		{"no such directory", file(dir + "/nowhere"), here, "", transport.ErrNotFound, "no such file"},
		{"link out of the tree", file(dir), linked, "", transport.ErrPermanent, "escapes"},
		{"digest that is a path", file(dir), "sha256:../md5/x", "", transport.ErrPermanent, "not a hex digit"},
		{"unknown algorithm", file(dir), "md5:x", "", transport.ErrPermanent, "unsupported"},
		{"other host", "file://example.com" + dir, here, "", transport.ErrPermanent, "three slashes"},
		{"relative", "file:x", here, "", transport.ErrPermanent, "absolute"},
		{"no directory", "file://", here, "", transport.ErrPermanent, "no directory"},
		{"query", file(dir) + "?x", here, "", transport.ErrPermanent, "query"},
		{"other scheme", "http://localhost" + dir, here, "", transport.ErrPermanent, "not file:///DIR"},
		{"no URI", "file:///%zz", here, "", transport.ErrPermanent, "not a URI"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			route := transport.Route{URI: tt.uri}
			desc := ocispec.Descriptor{Digest: tt.digest, Size: -1}
			got, err := localtest.ReadAll(t.Context(), tree.Transport{}, route, desc, 0, -1)
			if string(got) != tt.want || !errors.Is(err, tt.kind) || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %q, %v; want %q, %v saying %q", got, err, tt.want, tt.kind, tt.says)
			}
			size, err := tree.Transport{}.Size(t.Context(), route, desc)
			if size != int64(len(tt.want)) || !errors.Is(err, tt.kind) {
				t.Errorf("size %d, %v", size, err)
			}
		})
	}
	if _, err := localtest.ReadAll(t.Context(), tree.Transport{}, transport.Route{URI: file(dir)},
		ocispec.Descriptor{Digest: here, Size: 4}, 0, 4); !errors.Is(err, transport.ErrPermanent) {
		t.Errorf("a file of another size: %v", err)
	}
}

// Whatever the URI, the directory is absolute.
func FuzzOpen(f *testing.F) {
	f.Add("file:///x/../y", "sha256:"+strings.Repeat("0", 64))
	f.Add("file://localhost/%2e%2e", "blake3:x")
	f.Fuzz(func(t *testing.T, uri, dgst string) {
		var e *transport.Error
		_, err := tree.Transport{}.Open(t.Context(), transport.Route{URI: uri}, ocispec.Descriptor{Digest: digest.Digest(dgst), Size: -1}, 0, -1)
		if err != nil && !errors.As(err, &e) {
			t.Errorf("%q: %v", uri, err)
		}
	})
}
