package waybill

import (
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
)

// MaxEmbedded is the largest document [Manifest] embeds, in bytes. Registries
// take manifests of 4 MiB, and base64 makes a third more of it.
const MaxEmbedded = 1 << 20

// Manifest returns the bytes of the manifest that makes an artifact of a
// document about the image subject describes (spec/waybill.md §2). The document
// is its one layer, embedded as data up to [MaxEmbedded] bytes so that nothing
// further need be asked. The same arguments give the same bytes. Of subject only
// media type, digest and size are taken.
func Manifest(document []byte, subject ocispec.Descriptor) ([]byte, error) {
	if _, err := Parse(document); err != nil {
		return nil, err
	}
	if err := blobdigest.Validate(subject.Digest); err != nil {
		return nil, fmt.Errorf("waybill's subject: %w", err)
	}
	layer := ocispec.Descriptor{MediaType: MediaType, Digest: digest.FromBytes(document), Size: int64(len(document))}
	if len(document) <= MaxEmbedded {
		layer.Data = document
	}
	return json.Marshal(ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: MediaType,
		Config:       ocispec.DescriptorEmptyJSON,
		Layers:       []ocispec.Descriptor{layer},
		Subject:      &ocispec.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
	})
}

// CheckManifest checks that a manifest, which was parsed and verified, is that
// of a waybill about the image with the digest subject, and returns the
// descriptor of the document. That may hold it as data, which is verified
// against digest and size like anything else. Errors are [ErrNotManifest],
// [ErrSubject] and [ErrLimit].
func CheckManifest(m ocispec.Manifest, subject digest.Digest) (ocispec.Descriptor, error) {
	switch {
	case m.ArtifactType != MediaType:
		return ocispec.Descriptor{}, fmt.Errorf("%w: artifactType %q", ErrNotManifest, clip(m.ArtifactType))
	case m.Config.MediaType != ocispec.MediaTypeEmptyJSON || m.Config.Digest != ocispec.DescriptorEmptyJSON.Digest:
		return ocispec.Descriptor{}, fmt.Errorf("%w: config isn't the empty descriptor", ErrNotManifest)
	case len(m.Layers) != 1:
		return ocispec.Descriptor{}, fmt.Errorf("%w: %d layers; it has one", ErrNotManifest, len(m.Layers))
	case m.Subject == nil:
		return ocispec.Descriptor{}, fmt.Errorf("%w: it has no subject", ErrSubject)
	case m.Subject.Digest != subject:
		return ocispec.Descriptor{}, fmt.Errorf("%w: its subject is %s", ErrSubject, clip(string(m.Subject.Digest)))
	}
	layer := m.Layers[0]
	switch {
	case layer.MediaType != MediaType:
		return ocispec.Descriptor{}, fmt.Errorf("%w: the layer is of type %q", ErrNotManifest, clip(layer.MediaType))
	case layer.Size < 1 || layer.Size > MaxDocument:
		return ocispec.Descriptor{}, fmt.Errorf("%w: a document of %d bytes; it has 1 to %d", ErrLimit, layer.Size, MaxDocument)
	}
	return layer, nil
}
