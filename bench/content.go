package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/internal/faultserver"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/test/testimage"
)

// image is an image to pull.
type image struct {
	layout *testimage.Layout
	desc   ocispec.Descriptor
	layers []testimage.Layer
}

// randomImage has one layer of random bytes, which nothing can compress.
func (b *bench) randomImage(seed uint64, size int64) (*image, error) {
	dir, err := b.sub("image")
	if err != nil {
		return nil, err
	}
	l, err := testimage.NewLayout(dir)
	if err != nil {
		return nil, err
	}
	layer, err := l.AddLayer(testimage.Random(seed, size), testimage.None)
	if err != nil {
		return nil, err
	}
	return finish(l, layer)
}

// realImage is a Debian: a minimal one, and about 100 MB of compressed layer
// with git, Perl and Python in it unless the run is quick.
func (b *bench) realImage(ctx context.Context) (*image, error) {
	packages := []string{"git", "perl", "python3"}
	if b.quick {
		packages = nil
	}
	rootfs, err := testimage.Debian(ctx, packages...)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(rootfs)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	dir, err := b.sub("image")
	if err != nil {
		return nil, err
	}
	l, err := testimage.NewLayout(dir)
	if err != nil {
		return nil, err
	}
	layer, err := l.AddLayer(f, testimage.Gzip)
	if err != nil {
		return nil, err
	}
	return finish(l, layer)
}

func finish(l *testimage.Layout, layers ...testimage.Layer) (*image, error) {
	desc, err := l.AddImage(testimage.Config(), layers...)
	if err != nil {
		return nil, err
	}
	return &image{layout: l, desc: desc, layers: layers}, l.Tag(desc, "app")
}

// size is that of all layers together.
func (i *image) size() int64 {
	var sum int64
	for _, l := range i.layers {
		sum += l.Size
	}
	return sum
}

// manifestOnly is a copy of the layout without the layers: a name for the
// image that gives none of its content.
func (i *image) manifestOnly(b *bench) (string, error) {
	dir, err := b.sub("manifest")
	if err != nil {
		return "", err
	}
	if err := os.CopyFS(dir, os.DirFS(i.layout.Dir)); err != nil {
		return "", err
	}
	for _, l := range i.layers {
		if err := os.Remove(filepath.Join(dir, "blobs", "sha256", l.Digest.Encoded())); err != nil {
			return "", err
		}
	}
	return "oci:" + dir + ":app", nil
}

// blobs are the image's for a fault server.
func (i *image) blobs() ([]faultserver.Blob, error) {
	files, err := os.ReadDir(filepath.Join(i.layout.Dir, "blobs", "sha256"))
	if err != nil {
		return nil, err
	}
	var all []faultserver.Blob
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			return nil, err
		}
		d := digest.NewDigestFromEncoded(digest.SHA256, f.Name())
		blob := faultserver.Blob{Digest: d, Content: faultserver.File(i.layout.Path(d)), Size: info.Size()}
		if d == i.desc.Digest {
			blob.MediaType = i.desc.MediaType
		}
		all = append(all, blob)
	}
	return all, nil
}

// push copies the image to a registry as repository:1 and reads it once, so that
// the first one measured finds what the second finds.
func (i *image) push(ctx context.Context, b *bench, registry *realserver.Registry, repository string) error {
	dir, err := b.sub("push")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if _, err := measure(command(ctx, dir, "skopeo", "copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false",
		"--preserve-digests", "oci:"+i.layout.Dir+":app", "docker://"+registry.Host+"/"+repository+":1")); err != nil {
		return err
	}
	return plainRead(append([]string{dir}, i.urls(registry, repository)...))
}

// urls are those of the image's blobs in a registry.
func (i *image) urls(registry *realserver.Registry, repository string) []string {
	var all []string
	for _, l := range i.layers {
		all = append(all, fmt.Sprintf("%s/v2/%s/blobs/%s", registry.URL, repository, l.Digest))
	}
	return all
}

// startRegistry starts a docker-registry below the bench's directory.
func (b *bench) startRegistry(ctx context.Context) (*realserver.Registry, error) {
	dir, err := b.sub("registry")
	if err != nil {
		return nil, err
	}
	return realserver.StartRegistry(ctx, dir, realserver.RegistryOptions{})
}

// list joins words as a sentence does.
func list(words []string) string { return strings.Join(words, ", ") }
