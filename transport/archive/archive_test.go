package archive_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/archive"
	"github.com/waybill-project/waybill/transport/local/localtest"
)

const marker = `{"imageLayoutVersion":"1.0.0"}`

type file = localtest.File

func plain(name, content string) file { return file{Name: name, Content: []byte(content)} }

func symlink(name, target string) file {
	return file{Name: name, Header: &tar.Header{Typeflag: tar.TypeSymlink, Linkname: target}}
}

func hardlink(name, target string) file {
	return file{Name: name, Header: &tar.Header{Typeflag: tar.TypeLink, Linkname: target}}
}

func blobPath(d digest.Digest) string { return "blobs/sha256/" + d.Encoded() }

// write makes an archive and returns its path.
func write(t testing.TB, files ...file) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.tar")
	localtest.Tar(t, path, files...)
	return path
}

// dockerArchive returns the members of a docker-archive whose layers have the
// names and contents given.
func dockerArchive(t testing.TB, layers ...file) []file {
	t.Helper()
	var names []string
	var ids []digest.Digest
	for _, l := range layers {
		names = append(names, l.Name)
		ids = append(ids, digest.FromBytes(l.Content))
	}
	config, err := json.Marshal(ocispec.Image{
		Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: ids},
	})
	if err != nil {
		t.Fatal(err)
	}
	list, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{"thing:v1"}, "Layers": names}})
	if err != nil {
		t.Fatal(err)
	}
	return append([]file{{Name: "config.json", Content: config}, {Name: "manifest.json", Content: list}}, layers...)
}

func gz(t testing.TB, content string) []byte {
	t.Helper()
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf)
	if _, err := zw.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestDockerLayers(t *testing.T) {
	// The layer's content needn't be a tar: nothing here looks into it.
	const content = "content of the layer"
	id := digest.FromString(content)
	swap := func(files []file, name string, by ...file) []file {
		var out []file
		for _, f := range files {
			if f.Name != name {
				out = append(out, f)
			}
		}
		return append(out, by...)
	}
	one := dockerArchive(t, plain("x/layer.tar", content))
	tests := []struct {
		name  string
		files []file
		layer digest.Digest
		says  string
	}{
		{"plain", one, id, ""},
		{"symbolic link", swap(one, "x/layer.tar", symlink("x/layer.tar", "../y/layer.tar"), plain("y/layer.tar", content)), id, ""},
		{"symbolic link before its target", append([]file{symlink("x/layer.tar", "../y/z.tar")}, swap(one, "x/layer.tar", plain("y/z.tar", content))...), id, ""},
		{"links behind links", swap(one, "x/layer.tar", symlink("x/layer.tar", "../a"), symlink("a", "b"), hardlink("b", "c"), plain("c", content)), id, ""},
		{"hard link", swap(one, "x/layer.tar", plain("y", content), hardlink("x/layer.tar", "y")), id, ""},
		{"names with dots", swap(one, "x/layer.tar", plain("./x//./layer.tar", content)), id, ""},
		{"of two members the last", append([]file{plain("x/layer.tar", "other")}, one...), id, ""},
		{"gzipped", swap(one, "x/layer.tar", file{Name: "x/layer.tar", Content: gz(t, content)}), digest.FromBytes(gz(t, content)), ""},

		{"layer missing", swap(one, "x/layer.tar"), "", `"x/layer.tar": not in the archive`},
		{"config missing", swap(one, "config.json"), "", `"config.json": not in the archive`},
		{"link out of the archive", swap(one, "x/layer.tar", symlink("x/layer.tar", "../../etc/passwd")), "", "leads out of the archive"},
		{"absolute link", swap(one, "x/layer.tar", symlink("x/layer.tar", "/etc/passwd")), "", "leads out of the archive"},
		{"hard link out of the archive", swap(one, "x/layer.tar", hardlink("x/layer.tar", "../x")), "", "leads out of the archive"},
		{"link to itself", swap(one, "x/layer.tar", symlink("x/layer.tar", "layer.tar")), "", "more than 16 links"},
		{"link to nothing", swap(one, "x/layer.tar", symlink("x/layer.tar", "nothing")), "", "not in the archive"},
		{"layer is a directory", swap(one, "x/layer.tar", file{Name: "x/layer.tar", Header: &tar.Header{Typeflag: tar.TypeDir}}), "", "not in the archive"},
		{"layer compressed with zstd", swap(one, "x/layer.tar", plain("x/layer.tar", "\x28\xb5\x2f\xfd....")), "", "compressed with zstd"},
		{"no manifest.json", swap(one, "manifest.json"), "", "it has no manifest.json"},
		{"an OCI archive", []file{plain("oci-layout", marker)}, "", "read it as oci-archive:FILE"},
		{"manifest.json twice", append(one, one[1]), "", "manifest.json is in the archive twice"},
		{"manifest.json is no JSON", swap(one, "manifest.json", plain("manifest.json", "x")), "", "not the JSON of a docker archive"},
		{"manifest.json is an object", swap(one, "manifest.json", plain("manifest.json", "{}")), "", "not the JSON of a docker archive"},
		{"no Config", swap(one, "manifest.json", plain("manifest.json", `[{"Layers":[]}]`)), "", "image 0 has no Config"},
		{"fewer layers than diff_ids", swap(one, "manifest.json", plain("manifest.json", `[{"Config":"config.json","Layers":[]}]`)), "", "0 layers, but its config lists 1"},
		{"config leads out", swap(one, "manifest.json", plain("manifest.json", `[{"Config":"../config.json","Layers":["x/layer.tar"]}]`)), "", "not in the archive"},
		{"config is no JSON", swap(one, "config.json", plain("config.json", "x")), "", "image config: not JSON"},
		{"diff_id is a path", swap(one, "config.json", plain("config.json", `{"rootfs":{"diff_ids":["sha256:../x"]}}`)), "", "diff_ids[0]"},
		{"large config", swap(one, "config.json", plain("config.json", strings.Repeat(" ", image.MaxConfig+1))), "", "the limit is 8388608"},
		{"no image", swap(one, "manifest.json", plain("manifest.json", "[]")), "", "there are none"},
		{"many images", swap(one, "manifest.json", plain("manifest.json", "["+strings.Repeat("{},", 10_000)+"{}]")), "", "10001 images; the limit is 10000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := name.Name{Kind: name.DockerArchive, Path: write(t, tt.files...)}
			tr := &archive.Transport{}
			desc, err := tr.Resolve(t.Context(), n)
			if tt.says != "" {
				var e *transport.Error
				empty := tt.says == "there are none"
				if !errors.As(err, &e) || errors.Is(err, transport.ErrNotFound) != empty || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "\n") {
					t.Errorf("got %v; want one line saying %q", err, tt.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			localtest.CheckImage(t, tr, transport.Route{URI: n.String()}, desc.Descriptor)
			raw, err := localtest.ReadAll(t.Context(), tr, transport.Route{URI: n.String()}, desc.Descriptor, 0, desc.Size)
			if err != nil {
				t.Fatal(err)
			}
			doc, err := image.Parse(desc.MediaType, raw)
			if err != nil {
				t.Fatal(err)
			}
			if got := doc.Layers[0].Digest; got != tt.layer {
				t.Errorf("layer %s, want %s", got, tt.layer)
			}
		})
	}
}

// What Docker 25 and later write is both kinds of archive at once.
func TestModernDockerArchive(t *testing.T) {
	const layer = "layer"
	config := `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["` + digest.FromString(layer).String() + `"]}}`
	manifest := fmt.Sprintf(`{"schemaVersion":2,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
		ocispec.MediaTypeImageConfig, digest.FromString(config), len(config), ocispec.MediaTypeImageLayer, digest.FromString(layer), len(layer))
	index := fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":%d,"annotations":{"io.containerd.image.name":"docker.io/library/thing:v1"}}]}`,
		ocispec.MediaTypeImageManifest, digest.FromString(manifest), len(manifest))
	path := write(t, plain("oci-layout", marker), plain("index.json", index),
		plain(blobPath(digest.FromString(config)), config), plain(blobPath(digest.FromString(layer)), layer),
		plain(blobPath(digest.FromString(manifest)), manifest),
		plain("manifest.json", fmt.Sprintf(`[{"Config":%q,"RepoTags":["thing:v1"],"Layers":[%q]}]`,
			blobPath(digest.FromString(config)), blobPath(digest.FromString(layer)))))
	tr := &archive.Transport{}
	asOCI := name.Name{Kind: name.OCIArchive, Path: path, Ref: "thing:v1"}
	desc, err := tr.Resolve(t.Context(), asOCI)
	if err != nil {
		t.Fatal(err)
	}
	if desc.Digest != digest.FromString(manifest) {
		t.Errorf("as oci-archive: %s", desc.Digest)
	}
	// As the source of an image that was resolved elsewhere, both serve it.
	localtest.CheckImage(t, tr, transport.Route{URI: "oci-archive:" + path}, desc.Descriptor)
	localtest.CheckImage(t, tr, transport.Route{URI: "docker-archive:" + path}, desc.Descriptor)

	made, err := tr.Resolve(t.Context(), name.Name{Kind: name.DockerArchive, Path: path, Ref: "thing:v1"})
	if err != nil {
		t.Fatal(err)
	}
	if made.MediaType != image.MediaTypeDockerManifest || made.Digest != localtest.SkopeoDigest(t, "docker-archive:"+path) {
		t.Errorf("as docker-archive: %+v", made.Descriptor)
	}
	localtest.CheckImage(t, tr, transport.Route{URI: "docker-archive:" + path}, made.Descriptor)
}

func TestRefusedArchives(t *testing.T) {
	index := `{"schemaVersion":2,"manifests":[]}`
	bomb := gz(t, strings.Repeat("\x00", 4<<20))
	cut := localtest.TarBytes(t, plain("oci-layout", marker), plain("index.json", strings.Repeat(" ", 5000)))[:3000]
	tests := []struct {
		name    string
		content []byte
		says    string
	}{
		{"empty file", nil, "isn't an OCI archive"},
		{"not a tar", localtest.Noise(1, 2048), "not a tar that can be read, after 0 members"},
		{"cut short", cut, "not a tar that can be read, after 2 members: unexpected EOF"},
		{"no marker", localtest.TarBytes(t, plain("index.json", index)), "it has no oci-layout member"},
		{"a docker archive", localtest.TarBytes(t, plain("manifest.json", "[]")), "read it as docker-archive:FILE"},
		{"no index", localtest.TarBytes(t, plain("oci-layout", marker)), `"index.json": not in the archive`},
		{"index twice", localtest.TarBytes(t, plain("oci-layout", marker), plain("index.json", index), plain("./index.json", index)), "index.json is in the archive twice"},
		{"index by a name that leads out", localtest.TarBytes(t, plain("oci-layout", marker), plain("../index.json", index)), `"index.json": not in the archive`},
		{"later version", localtest.TarBytes(t, plain("oci-layout", `{"imageLayoutVersion":"2"}`), plain("index.json", index)), "reads version 1"},
		{"large marker", localtest.TarBytes(t, plain("oci-layout", strings.Repeat(" ", 5000))), "the limit is 4096"},
		{"long name", localtest.TarBytes(t, plain(strings.Repeat("x/", 3000)+"x", "")), "name longer than 4096"},
		{"decompression bomb", bomb, "more than 1048576 bytes when decompressed; that is the limit"},
		{"gzip cut short", gz(t, marker)[:20], "unexpected EOF"},
		{"gzip of something else", gz(t, strings.Repeat("x", 2048)), "not a tar that can be read"},
		{"zstd of nothing", []byte("\x28\xb5\x2f\xfdxxxxxxxx"), "a.tar"},
		{"xz", []byte("\xfd7zXZ\x00......"), "compressed with xz, which isn't read; decompress it first"},
		{"bzip2", []byte("BZh91AY&SY"), "compressed with bzip2"},
		{"sparse index", sparse(t, "gnu"), "stored sparse"},
		{"sparse index in pax format", sparse(t, "pax"), "stored sparse"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.tar")
			if err := os.WriteFile(path, tt.content, 0o644); err != nil {
				t.Fatal(err)
			}
			tr := &archive.Transport{TempDir: t.TempDir(), MaxUnpacked: 1 << 20}
			_, err := tr.Resolve(t.Context(), name.Name{Kind: name.OCIArchive, Path: path})
			var e *transport.Error
			if !errors.As(err, &e) || !errors.Is(err, transport.ErrPermanent) || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v; want one line saying %q", err, tt.says)
			}
			if left, err := os.ReadDir(tr.TempDir); err != nil || len(left) != 0 {
				t.Errorf("left in the temporary directory: %v, %v", left, err)
			}
		})
	}
}

// sparse returns a layout whose index.json is stored sparse, as the tar
// command does in the given format.
func sparse(t *testing.T, format string) []byte {
	t.Helper()
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("end"), 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(marker), 0o644); err != nil {
		t.Fatal(err)
	}
	return localtest.Run(t, "tar", "-C", dir, "--format="+format, "--sparse", "-cf", "-", "oci-layout", "index.json")
}

func TestNotAFile(t *testing.T) {
	tr := &archive.Transport{}
	for path, kind := range map[string]error{
		filepath.Join(t.TempDir(), "nowhere"): transport.ErrNotFound,
		t.TempDir():                           transport.ErrPermanent,
	} {
		if _, err := tr.Resolve(t.Context(), name.Name{Kind: name.OCIArchive, Path: path}); !errors.Is(err, kind) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := tr.Resolve(t.Context(), name.Name{Kind: name.Layout, Path: "/x"}); !errors.Is(err, transport.ErrPermanent) {
		t.Errorf("a layout: %v", err)
	}
	if _, err := tr.Open(t.Context(), transport.Route{URI: "oci-archive:"}, ocispec.Descriptor{}, 0, -1); !errors.Is(err, transport.ErrPermanent) {
		t.Errorf("no path: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	const layer = "layer"
	here := digest.FromString(layer)
	path := write(t, plain("oci-layout", marker), plain(blobPath(here), layer))
	tr := &archive.Transport{}
	for _, tt := range []struct {
		name   string
		digest digest.Digest
		size   int64
		kind   error
	}{
		{"there", here, 5, nil},
		{"missing", digest.FromString("x"), 5, transport.ErrNotFound},
		{"other size", here, 6, transport.ErrPermanent},
		{"digest that is a path", "sha256:../../oci-layout", 5, transport.ErrPermanent},
	} {
		got, err := localtest.ReadAll(t.Context(), tr, transport.Route{URI: "oci-archive:" + path}, ocispec.Descriptor{Digest: tt.digest, Size: tt.size}, 0, tt.size)
		if !errors.Is(err, tt.kind) || (err == nil) != (string(got) == layer) {
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
	}
}

// A digest that isn't in index.json may be that of a manifest deeper down.
func TestResolveDeeperDigest(t *testing.T) {
	inner := `{"schemaVersion":2,"manifests":[]}`
	d := digest.FromString(inner)
	path := write(t, plain("oci-layout", marker), plain("index.json", inner), plain(blobPath(d), inner))
	tr := &archive.Transport{}
	desc, err := tr.Resolve(t.Context(), name.Name{Kind: name.OCIArchive, Path: path, Digest: d})
	if err != nil || desc.MediaType != ocispec.MediaTypeImageIndex || desc.Size != int64(len(inner)) {
		t.Errorf("got %+v, %v", desc, err)
	}
	other := digest.FromString("x")
	if _, err := tr.Resolve(t.Context(), name.Name{Kind: name.OCIArchive, Path: path, Digest: other}); !errors.Is(err, transport.ErrNotFound) {
		t.Errorf("one that isn't there: %v", err)
	}
}

// A file that is replaced is read anew.
func TestChangedFile(t *testing.T) {
	path := write(t, dockerArchive(t, plain("one.tar", "one"))...)
	tr := &archive.Transport{}
	n := name.Name{Kind: name.DockerArchive, Path: path}
	before, err := tr.Resolve(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(write(t, dockerArchive(t, plain("two.tar", "two"))...), path); err != nil {
		t.Fatal(err)
	}
	after, err := tr.Resolve(t.Context(), n)
	if err != nil || after.Digest == before.Digest {
		t.Fatalf("still %s, %v", after.Digest, err)
	}
	localtest.CheckImage(t, tr, transport.Route{URI: n.String()}, after.Descriptor)
	if _, err := localtest.ReadAll(t.Context(), tr, transport.Route{URI: n.String()}, before.Descriptor, 0, before.Size); !errors.Is(err, transport.ErrNotFound) {
		t.Errorf("what was there before: %v", err)
	}
}

func TestConcurrentUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.tar.gz")
	if err := os.WriteFile(path, gz(t, string(localtest.TarBytes(t, dockerArchive(t, plain("one.tar", string(localtest.Noise(1, 100_000))))...))), 0o644); err != nil {
		t.Fatal(err)
	}
	tr := &archive.Transport{TempDir: t.TempDir()}
	n := name.Name{Kind: name.DockerArchive, Path: path}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			desc, err := tr.Resolve(t.Context(), n)
			if err != nil {
				t.Error(err)
				return
			}
			localtest.CheckImage(t, tr, transport.Route{URI: n.String()}, desc.Descriptor)
		})
	}
	wg.Wait()
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, content := range [][]byte{localtest.TarBytes(t, plain("oci-layout", marker)), gz(t, "x")} {
		path := filepath.Join(t.TempDir(), "a.tar")
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		tr := &archive.Transport{}
		if _, err := tr.Resolve(ctx, name.Name{Kind: name.OCIArchive, Path: path}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		// It wasn't remembered as broken.
		if _, err := tr.Resolve(t.Context(), name.Name{Kind: name.OCIArchive, Path: path}); errors.Is(err, context.Canceled) {
			t.Errorf("later: %v", err)
		}
	}
}

// Whatever a file holds, reading it as an archive ends in an image all of whose
// manifests can be read, or in a typed error.
func FuzzArchive(f *testing.F) {
	f.Add(localtest.TarBytes(f, dockerArchive(f, plain("one.tar", "one"))...), true)
	f.Add(localtest.TarBytes(f, plain("oci-layout", marker), plain("index.json", `{"schemaVersion":2,"manifests":[]}`)), false)
	f.Add(localtest.TarBytes(f, symlink("manifest.json", "x"), hardlink("x", "manifest.json")), true)
	f.Add(gz(f, "x"), true)
	f.Fuzz(func(t *testing.T, content []byte, docker bool) {
		n := name.Name{Kind: name.OCIArchive, Path: filepath.Join(t.TempDir(), "a")}
		if docker {
			n.Kind = name.DockerArchive
		}
		if err := os.WriteFile(n.Path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		tr := &archive.Transport{TempDir: t.TempDir(), MaxUnpacked: 1 << 20}
		desc, err := tr.Resolve(t.Context(), n)
		var e *transport.Error
		switch {
		case err == nil && docker:
			raw, err := localtest.ReadAll(t.Context(), tr, transport.Route{URI: n.String()}, desc.Descriptor, 0, desc.Size)
			if err != nil || digest.FromBytes(raw) != desc.Digest {
				t.Errorf("the manifest that was made: %d bytes, %v", len(raw), err)
			}
		case err != nil && !errors.As(err, &e):
			t.Errorf("untyped: %v", err)
		}
	})
}

// Whatever manifest.json holds, the image made of it can be read.
func FuzzDockerManifest(f *testing.F) {
	f.Add(`[{"Config":"config.json","RepoTags":["thing:v1"],"Layers":["one.tar"]}]`)
	f.Add(`[{"Config":"config.json","RepoTags":null,"Layers":["../one.tar"]},{"Config":"."}]`)
	members := dockerArchive(f, plain("one.tar", "one"))
	f.Fuzz(func(t *testing.T, content string) {
		path := write(t, members[0], plain("manifest.json", content), members[2])
		tr := &archive.Transport{}
		entries, err := tr.Entries(t.Context(), name.Name{Kind: name.DockerArchive, Path: path})
		var e *transport.Error
		if err != nil && !errors.As(err, &e) {
			t.Errorf("untyped: %v", err)
		}
		for _, desc := range entries {
			localtest.CheckImage(t, tr, transport.Route{URI: "docker-archive:" + path}, desc)
		}
	})
}
