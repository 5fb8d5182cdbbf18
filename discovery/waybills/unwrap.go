package waybills

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/waybill"
)

// maxFile is the largest file or answer: a manifest that embeds a document.
const maxFile = waybill.MaxDocument * 3 / 2

// accept is what web servers are asked for.
const accept = waybill.MediaType + ", " + ocispec.MediaTypeImageManifest + ", application/json;q=0.5"

// unwrap returns the document that a manifest embeds, and what that is about;
// or content itself, where that is no manifest (spec/waybill.md §2). mediaType is
// what it was served as, empty where that isn't known.
func unwrap(mediaType string, content []byte) ([]byte, digest.Digest, error) {
	if mediaType != waybill.MediaType && mediaType != ocispec.MediaTypeImageManifest {
		var own struct {
			MediaType string `json:"mediaType"`
		}
		_ = json.Unmarshal(content, &own) // what it is then, waybill.Parse says
		mediaType = own.MediaType
	}
	if mediaType != ocispec.MediaTypeImageManifest {
		return content, "", nil
	}
	m, err := parseManifest(content)
	if err != nil {
		return nil, "", err
	}
	if m.Subject == nil {
		return nil, "", fmt.Errorf("%w: it has no subject", waybill.ErrSubject)
	}
	layer, err := waybill.CheckManifest(m, m.Subject.Digest)
	if err != nil {
		return nil, "", err
	}
	document := embedded(layer)
	if document == nil {
		return nil, "", errors.New("the manifest doesn't embed the document")
	}
	return document, m.Subject.Digest, nil
}

// parseManifest reads a manifest that somebody else wrote.
func parseManifest(content []byte) (ocispec.Manifest, error) {
	parsed, err := image.Parse(ocispec.MediaTypeImageManifest, content)
	if err != nil {
		return ocispec.Manifest{}, err
	}
	return ocispec.Manifest{
		ArtifactType: parsed.ArtifactType, Config: *parsed.Config, Layers: parsed.Layers, Subject: parsed.Subject,
	}, nil
}

// embedded returns the document that its descriptor holds, nil where it holds
// none, or something else.
func embedded(layer ocispec.Descriptor) []byte {
	d, err := blobdigest.FromBytes(layer.Digest.Algorithm(), layer.Data)
	if err != nil || d != layer.Digest || int64(len(layer.Data)) != layer.Size {
		return nil
	}
	return layer.Data
}
