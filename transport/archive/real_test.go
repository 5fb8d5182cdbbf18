package archive_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/archive"
	"github.com/waybill-project/waybill/transport/layout"
	"github.com/waybill-project/waybill/transport/local/localtest"
)

// Archives that other tools made hold, for us, the very images skopeo sees in
// them, under the same digests.
func TestRealArchives(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	made := file("layout")
	localtest.Buildah(t, "oci:"+made+":v1", 1)
	localtest.Buildah(t, "oci:"+made+":v2", 2)
	localtest.Run(t, "skopeo", "copy", "oci:"+made+":v1", "oci-archive:"+file("skopeo-oci.tar")+":v1")
	localtest.Run(t, "skopeo", "copy", "oci:"+made+":v1", "docker-archive:"+file("skopeo-docker.tar")+":example.com/thing:v1")
	localtest.Run(t, "skopeo", "copy", "oci:"+made+":v1", "docker-archive:"+file("untagged.tar"))
	podman := func(args ...string) string {
		return strings.TrimSpace(string(localtest.Run(t, "podman", args...)))
	}
	storage := localtest.Storage(t)
	with := func(args ...string) []string { return append(append([]string{}, storage...), args...) }
	localtest.Run(t, "skopeo", "copy", "oci:"+made+":v2", "docker-archive:"+file("second.tar")+":docker.io/library/thing:v2")
	podman(with("load", "-q", "-i", file("skopeo-docker.tar"))...)
	podman(with("load", "-q", "-i", file("second.tar"))...)
	podman(with("save", "-q", "--format", "docker-archive", "-m", "-o", file("podman-docker.tar"), "example.com/thing:v1", "docker.io/library/thing:v2")...)
	podman(with("save", "-q", "--format", "oci-archive", "-o", file("podman-oci.tar"), "example.com/thing:v1")...)
	for _, f := range []string{"skopeo-oci.tar", "podman-docker.tar"} {
		localtest.Run(t, "gzip", "-k", file(f))
		zstdFile(t, file(f))
	}

	tests := []struct {
		file, ref string
		kind      name.Kind
		skopeo    string // how skopeo is asked for the same image; "" means "scheme:file:ref"
		blobs     int
	}{
		{file: "skopeo-oci.tar", ref: "v1", kind: name.OCIArchive, blobs: 4},
		{file: "skopeo-oci.tar", kind: name.OCIArchive, blobs: 4},
		{file: "skopeo-oci.tar.gz", kind: name.OCIArchive, blobs: 4},
		{file: "skopeo-oci.tar.zst", kind: name.OCIArchive, skopeo: "oci-archive:" + file("skopeo-oci.tar"), blobs: 4},
		{file: "podman-oci.tar", kind: name.OCIArchive, blobs: 4},
		{file: "skopeo-docker.tar", kind: name.DockerArchive, blobs: 4},
		{file: "skopeo-docker.tar", ref: "example.com/thing:v1", kind: name.DockerArchive, blobs: 4},
		{file: "untagged.tar", kind: name.DockerArchive, blobs: 4},
		{file: "podman-docker.tar", ref: "example.com/thing:v1", kind: name.DockerArchive, blobs: 4},
		{file: "podman-docker.tar", ref: "docker.io/library/thing:v2", kind: name.DockerArchive, blobs: 4},
		{file: "podman-docker.tar", ref: "thing:v2", kind: name.DockerArchive, blobs: 4},
		{file: "podman-docker.tar", ref: "@0", kind: name.DockerArchive, blobs: 4},
		{file: "podman-docker.tar", ref: "@1", kind: name.DockerArchive, blobs: 4},
		{file: "podman-docker.tar.gz", ref: "@1", kind: name.DockerArchive, skopeo: "docker-archive:" + file("podman-docker.tar") + ":@1", blobs: 4},
		{file: "podman-docker.tar.zst", ref: "@1", kind: name.DockerArchive, skopeo: "docker-archive:" + file("podman-docker.tar") + ":@1", blobs: 4},
	}
	tr := &archive.Transport{TempDir: t.TempDir()}
	for _, tt := range tests {
		n := name.Name{Kind: tt.kind, Path: file(tt.file), Ref: tt.ref}
		t.Run(strings.ReplaceAll(tt.kind.String()+" "+tt.file+" "+tt.ref, "/", "_"), func(t *testing.T) {
			desc, err := tr.Resolve(t.Context(), n)
			if err != nil {
				t.Fatal(err)
			}
			if tt.skopeo == "" {
				tt.skopeo = n.String()
			}
			if want := localtest.SkopeoDigest(t, tt.skopeo); desc.Digest != want {
				t.Errorf("resolved to %s, skopeo says %s", desc.Digest, want)
			}
			roles := localtest.CheckImage(t, tr, transport.Route{URI: n.String()}, desc.Descriptor)
			if len(roles) != tt.blobs || roles[0] != image.RoleManifest {
				t.Errorf("blobs %v, want %d", roles, tt.blobs)
			}
			// Another process, that never resolved anything, finds the same.
			fresh := &archive.Transport{TempDir: t.TempDir()}
			localtest.CheckImage(t, fresh, transport.Route{URI: name.Name{Kind: tt.kind, Path: n.Path}.String()}, desc.Descriptor)
		})
	}

	entries, err := tr.Entries(t.Context(), name.Name{Kind: name.DockerArchive, Path: file("podman-docker.tar")})
	if err != nil {
		t.Fatal(err)
	}
	var refs []string
	for _, e := range entries {
		refs = append(refs, layout.Ref(e))
	}
	if got := strings.Join(refs, " "); got != "example.com/thing:v1 docker.io/library/thing:v2" {
		t.Errorf("entries %s", got)
	}
	if left, err := os.ReadDir(tr.TempDir); err != nil || len(left) != 0 {
		t.Errorf("left in the temporary directory: %v, %v", left, err)
	}
}

// zstdFile compresses a file beside itself.
func zstdFile(t *testing.T, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	zw, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".zst", zw.EncodeAll(content, nil), 0o644); err != nil {
		t.Fatal(err)
	}
}
