package demo

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/waybill-project/waybill/internal/faultserver"
)

const (
	repository = "demo/waybill"
	tag        = "latest"
)

// demoImage is an image in memory.
type demoImage struct {
	manifest faultserver.Blob
	config   faultserver.Blob
	layers   []faultserver.Blob
}

func (i *demoImage) blobs() []faultserver.Blob {
	return append([]faultserver.Blob{i.manifest, i.config}, i.layers...)
}

func (i *demoImage) tags() map[string]digest.Digest {
	return map[string]digest.Digest{tag: i.manifest.Digest}
}

func (i *demoImage) size() int64 {
	var n int64
	for _, b := range i.blobs() {
		n += b.Size
	}
	return n
}

// makeImage makes an image that holds the running program and starts it.
func makeImage() (*demoImage, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	program, err := os.ReadFile(exe)
	if err != nil {
		return nil, fmt.Errorf("read this program: %w", err)
	}
	var img demoImage
	cfg := ocispec.Image{
		Platform: ocispec.Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH},
		Config:   ocispec.ImageConfig{Entrypoint: []string{"/waybill", "--version"}, WorkingDir: "/"},
		RootFS:   ocispec.RootFS{Type: "layers"},
	}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for _, file := range []tar.Header{
		{Name: "waybill", Mode: 0o755, Size: int64(len(program))},
		{Name: "etc/passwd", Mode: 0o644, Size: int64(len(passwd))},
	} {
		content := program
		if file.Name != "waybill" {
			content = []byte(passwd)
		}
		blob, diffID, err := makeLayer(file, content)
		if err != nil {
			return nil, err
		}
		img.layers = append(img.layers, blob)
		cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, diffID)
		manifest.Layers = append(manifest.Layers, describe(blob, ocispec.MediaTypeImageLayerGzip))
	}
	if img.config, err = jsonBlob(cfg); err != nil {
		return nil, err
	}
	manifest.Config = describe(img.config, ocispec.MediaTypeImageConfig)
	if img.manifest, err = jsonBlob(manifest); err != nil {
		return nil, err
	}
	img.manifest.MediaType = ocispec.MediaTypeImageManifest
	return &img, nil
}

const passwd = "root:x:0:0:root:/root:/waybill\n"

func describe(b faultserver.Blob, mediaType string) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: b.Digest, Size: b.Size}
}

func jsonBlob(v any) (faultserver.Blob, error) {
	content, err := json.Marshal(v)
	return faultserver.BytesBlob(content), err
}

// makeLayer makes a gzip layer of one file.
func makeLayer(h tar.Header, content []byte) (faultserver.Blob, digest.Digest, error) {
	var packed bytes.Buffer
	diff := digest.SHA256.Digester()
	zw, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err != nil {
		return faultserver.Blob{}, "", err
	}
	tw := tar.NewWriter(io.MultiWriter(zw, diff.Hash()))
	h.Typeflag = tar.TypeReg
	if err := tw.WriteHeader(&h); err != nil {
		return faultserver.Blob{}, "", err
	}
	if _, err := tw.Write(content); err != nil {
		return faultserver.Blob{}, "", err
	}
	if err := tw.Close(); err != nil {
		return faultserver.Blob{}, "", err
	}
	if err := zw.Close(); err != nil {
		return faultserver.Blob{}, "", err
	}
	return faultserver.BytesBlob(packed.Bytes()), diff.Digest(), nil
}
