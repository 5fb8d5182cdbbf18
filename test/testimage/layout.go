package testimage

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Compression is how a layer's tar is packed.
type Compression string

// The compressions of OCI image-spec layers. Stored is gzip that doesn't
// compress: fast to make, for random content.
const (
	None   Compression = ""
	Gzip   Compression = "gzip"
	Stored Compression = "stored"
	Zstd   Compression = "zstd"
)

// Layer is a layer as an image wants it: the blob and the digest of its tar.
type Layer struct {
	ocispec.Descriptor
	DiffID digest.Digest
}

// Layout is an OCI image layout on disk.
type Layout struct {
	// Dir is its directory.
	Dir string

	index ocispec.Index
}

// NewLayout makes an empty layout in dir.
func NewLayout(dir string) (*Layout, error) {
	if err := os.MkdirAll(filepath.Join(dir, ocispec.ImageBlobsDir, "sha256"), 0o755); err != nil {
		return nil, fmt.Errorf("make layout: %w", err)
	}
	version, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return nil, fmt.Errorf("make layout: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, ocispec.ImageLayoutFile), version, 0o644); err != nil {
		return nil, fmt.Errorf("make layout: %w", err)
	}
	l := &Layout{Dir: dir, index: ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{},
	}}
	return l, l.writeIndex()
}

// Path is the file that holds the blob d.
func (l *Layout) Path(d digest.Digest) string {
	return filepath.Join(l.Dir, ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// AddBlob stores content as a blob of that media type.
func (l *Layout) AddBlob(mediaType string, content io.Reader) (ocispec.Descriptor, error) {
	none := ocispec.Descriptor{}
	f, err := os.CreateTemp(l.Dir, "blob-")
	if err != nil {
		return none, fmt.Errorf("add blob: %w", err)
	}
	defer os.Remove(f.Name()) // renamed away when all went well
	defer f.Close()
	sum := digest.SHA256.Digester()
	size, err := io.Copy(io.MultiWriter(f, sum.Hash()), content)
	if err != nil {
		return none, fmt.Errorf("add blob: %w", err)
	}
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: sum.Digest(), Size: size}
	if err := f.Chmod(0o644); err != nil {
		return none, fmt.Errorf("add blob: %w", err)
	}
	if err := f.Close(); err != nil {
		return none, fmt.Errorf("add blob: %w", err)
	}
	if err := os.Rename(f.Name(), l.Path(desc.Digest)); err != nil {
		return none, fmt.Errorf("add blob: %w", err)
	}
	return desc, nil
}

// AddLayer stores a tar as a layer, packed as c says.
func (l *Layout) AddLayer(tar io.Reader, c Compression) (Layer, error) {
	diffID := digest.SHA256.Digester()
	mediaType, ok := map[Compression]string{
		None:   ocispec.MediaTypeImageLayer,
		Gzip:   ocispec.MediaTypeImageLayerGzip,
		Stored: ocispec.MediaTypeImageLayerGzip,
		Zstd:   ocispec.MediaTypeImageLayerZstd,
	}[c]
	if !ok {
		return Layer{}, fmt.Errorf("add layer: no compression %q", c)
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(pack(w, io.TeeReader(tar, diffID.Hash()), c)) }()
	desc, err := l.AddBlob(mediaType, r)
	r.CloseWithError(err)
	if err != nil {
		return Layer{}, err
	}
	return Layer{Descriptor: desc, DiffID: diffID.Digest()}, nil
}

func pack(w io.Writer, r io.Reader, c Compression) error {
	var packer io.WriteCloser
	var err error
	switch c {
	case Gzip:
		packer, err = gzip.NewWriterLevel(w, gzip.BestSpeed)
	case Stored:
		packer, err = gzip.NewWriterLevel(w, gzip.NoCompression)
	case Zstd:
		packer, err = zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	default:
		_, err = io.Copy(w, r)
		return err
	}
	if err != nil {
		return err
	}
	if _, err := io.Copy(packer, r); err != nil {
		return err
	}
	return packer.Close()
}

// Config is an image configuration for this machine's platform with nothing
// else in it; [Layout.AddImage] fills in the layers.
func Config() ocispec.Image {
	return ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: goarch}}
}

// AddImage stores an image manifest of the layers, in order. The descriptor
// carries the platform of the configuration.
func (l *Layout) AddImage(config ocispec.Image, layers ...Layer) (ocispec.Descriptor, error) {
	none := ocispec.Descriptor{}
	config.RootFS = ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{}}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Layers:    []ocispec.Descriptor{},
	}
	for _, layer := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, layer.DiffID)
		m.Layers = append(m.Layers, layer.Descriptor)
	}
	var err error
	if m.Config, err = l.AddJSON(ocispec.MediaTypeImageConfig, config); err != nil {
		return none, err
	}
	desc, err := l.AddJSON(m.MediaType, m)
	if err != nil {
		return none, err
	}
	desc.Platform = &ocispec.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant}
	return desc, nil
}

// AddIndex stores an image index of the manifests.
func (l *Layout) AddIndex(manifests ...ocispec.Descriptor) (ocispec.Descriptor, error) {
	return l.AddJSON(ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: manifests,
	})
}

// AddJSON stores v as a blob of that media type. It is for the documents that
// AddImage and AddIndex would never make, too.
func (l *Layout) AddJSON(mediaType string, v any) (ocispec.Descriptor, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("add %s: %w", mediaType, err)
	}
	return l.AddBlob(mediaType, bytes.NewReader(data))
}

// Tag lists desc in the layout's index under ref, in place of what was there.
func (l *Layout) Tag(desc ocispec.Descriptor, ref string) error {
	desc.Annotations = map[string]string{ocispec.AnnotationRefName: ref}
	kept := l.index.Manifests[:0:0]
	for _, m := range l.index.Manifests {
		if m.Annotations[ocispec.AnnotationRefName] != ref {
			kept = append(kept, m)
		}
	}
	l.index.Manifests = append(kept, desc)
	return l.writeIndex()
}

func (l *Layout) writeIndex() error {
	data, err := json.Marshal(l.index)
	if err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	if err := os.WriteFile(filepath.Join(l.Dir, ocispec.ImageIndexFile), data, 0o644); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	return nil
}
