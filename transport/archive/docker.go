package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/layout"
	"github.com/waybill-project/waybill/transport/local"
)

// dockerManifestFile lists the images of a docker-archive (Docker's image
// specification v1.2, "Combined Image JSON + Filesystem Changeset Format").
const dockerManifestFile = "manifest.json"

// maxImages is how many images a docker-archive may hold, and maxTags how many
// tags all of them together.
const (
	maxImages = 10_000
	maxTags   = 100_000
)

// dockerItem is an image in manifest.json.
type dockerItem struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// dockerImages is what is known of the images of a docker-archive.
type dockerImages struct {
	images []dockerImage
	blobs  map[digest.Digest]extent // configs and layers
	made   map[digest.Digest][]byte // manifests
}

// dockerImage is one image: the manifest that was made for it, and its tags.
type dockerImage struct {
	desc ocispec.Descriptor
	tags []string
}

// schema2 is Docker's manifest, with the fields in the order and form in which
// skopeo writes them: the manifest's digest depends on it.
type schema2 struct {
	SchemaVersion int           `json:"schemaVersion"`
	MediaType     string        `json:"mediaType"`
	Config        schema2Desc   `json:"config"`
	Layers        []schema2Desc `json:"layers"`
}

type schema2Desc struct {
	MediaType string        `json:"mediaType"`
	Size      int64         `json:"size"`
	Digest    digest.Digest `json:"digest"`
}

// dockerIndex returns the images of the archive, looking for them only once.
func (h *handle) dockerIndex(ctx context.Context) (*dockerImages, error) {
	select {
	case h.docker <- struct{}{}:
		defer func() { <-h.docker }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if h.images != nil {
		return h.images, nil
	}
	items, err := h.dockerItems()
	if err != nil {
		return nil, err
	}
	d := &dockerImages{blobs: map[digest.Digest]extent{}, made: map[digest.Digest][]byte{}}
	for i, item := range items {
		if err := h.addImage(ctx, d, item); err != nil {
			return nil, h.broken(fmt.Errorf("%s: image %d: %w", dockerManifestFile, i, err))
		}
	}
	h.images = d
	return d, nil
}

func (h *handle) dockerItems() ([]dockerItem, error) {
	content, err := h.read(dockerManifestFile, maxDocument)
	if errors.Is(err, errNoMember) {
		return nil, fmt.Errorf("not a docker archive: it has no %s member%s (archives of Docker before 1.10 aren't read)", dockerManifestFile, h.maybeOCI())
	}
	if err != nil {
		return nil, err
	}
	return parseDockerManifest(content)
}

func (h *handle) maybeOCI() string {
	if _, ok := h.members[ocispec.ImageLayoutFile]; ok {
		return "; read it as oci-archive:FILE"
	}
	return ""
}

// parseDockerManifest reads a manifest.json.
func parseDockerManifest(content []byte) ([]dockerItem, error) {
	var items []dockerItem
	if err := json.Unmarshal(content, &items); err != nil {
		return nil, fmt.Errorf("%s: not the JSON of a docker archive: %s", dockerManifestFile, clip(err.Error()))
	}
	if len(items) > maxImages {
		return nil, fmt.Errorf("%s: %d images; the limit is %d", dockerManifestFile, len(items), maxImages)
	}
	layers, tags := 0, 0
	for i, item := range items {
		layers += len(item.Layers)
		tags += len(item.RepoTags)
		if item.Config == "" {
			return nil, fmt.Errorf("%s: image %d has no Config", dockerManifestFile, i)
		}
	}
	if layers > image.MaxDescriptors || tags > maxTags {
		return nil, fmt.Errorf("%s: %d layers and %d tags; the limits are %d and %d", dockerManifestFile, layers, tags, image.MaxDescriptors, maxTags)
	}
	return items, nil
}

// addImage makes the manifest of one image and notes where its blobs lie.
func (h *handle) addImage(ctx context.Context, d *dockerImages, item dockerItem) error {
	at, err := h.members.find(item.Config)
	if err != nil {
		return err
	}
	content, err := h.readExtent(item.Config, at, image.MaxConfig)
	if err != nil {
		return err
	}
	config, err := image.ParseConfig(content)
	if err != nil {
		return err
	}
	ids := config.RootFS.DiffIDs
	if len(ids) != len(item.Layers) {
		return fmt.Errorf("it has %d layers, but its config lists %d", len(item.Layers), len(ids))
	}
	m := schema2{
		SchemaVersion: 2,
		MediaType:     image.MediaTypeDockerManifest,
		Config: schema2Desc{
			MediaType: image.MediaTypeDockerConfig,
			Size:      at.size,
			Digest:    digest.FromBytes(content),
		},
		Layers: make([]schema2Desc, len(ids)),
	}
	d.blobs[m.Config.Digest] = at
	for i, id := range ids {
		layer, where, err := h.layer(ctx, item.Layers[i], id)
		if err != nil {
			return err
		}
		m.Layers[i] = layer
		d.blobs[layer.Digest] = where
	}
	made, err := json.Marshal(m)
	if err != nil {
		return err
	}
	desc := ocispec.Descriptor{
		MediaType: m.MediaType,
		Digest:    digest.FromBytes(made),
		Size:      int64(len(made)),
	}
	if config.OS != "" && config.Architecture != "" {
		desc.Platform = &config.Platform
	}
	d.made[desc.Digest] = made
	d.images = append(d.images, dockerImage{desc, item.RepoTags})
	return nil
}

// layer describes a layer's member. A plain tar has the digest its diff_id
// says; whether that is true, the sink finds out.
func (h *handle) layer(ctx context.Context, file string, id digest.Digest) (schema2Desc, extent, error) {
	e, err := h.members.find(file)
	if err != nil {
		return schema2Desc{}, extent{}, err
	}
	how, err := sniff(h.tarball(), e.offset, e.size)
	if err != nil {
		return schema2Desc{}, extent{}, err
	}
	desc := schema2Desc{MediaType: image.MediaTypeDockerLayer, Size: e.size, Digest: id}
	switch how {
	case plain:
	case gzipped:
		desc.Digest, err = h.hash(ctx, e)
	default:
		err = fmt.Errorf("layer %q is compressed with %s, which a Docker manifest can't say%s", clip(file), how, h.maybeOCI())
	}
	return desc, e, err
}

func (h *handle) hash(ctx context.Context, e extent) (digest.Digest, error) {
	sum := sha256.New()
	if _, err := io.Copy(sum, &contextReader{ctx, io.NewSectionReader(h.tarball(), e.offset, e.size)}); err != nil {
		return "", err
	}
	return digest.NewDigest(blobdigest.SHA256, sum), nil
}

// dockerBlob returns a manifest, config or layer of the archive, or what the
// layout in it holds where it is one as well.
func (h *handle) dockerBlob(ctx context.Context, want digest.Digest) (local.Blob, error) {
	d, err := h.dockerIndex(ctx)
	if err != nil {
		return local.Blob{}, err
	}
	if made, ok := d.made[want]; ok {
		return local.Blob{URI: h.uri, ReaderAt: bytes.NewReader(made), Size: int64(len(made)), Closer: h}, nil
	}
	if e, ok := d.blobs[want]; ok {
		return h.blob(e), nil
	}
	return h.ociBlob(want)
}

// resolveDocker returns the image that n means.
func (h *handle) resolveDocker(ctx context.Context, n name.Name) (ocispec.Descriptor, error) {
	if n.Digest == "" && strings.HasPrefix(n.Ref, "@") {
		d, err := h.dockerIndex(ctx)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		i, err := strconv.Atoi(n.Ref[1:])
		if err != nil || i < 0 || i >= len(d.images) {
			return ocispec.Descriptor{}, transport.Errorf(transport.ErrNotFound, h.uri, "no image %s; there are %d, counting from @0", n.Ref, len(d.images))
		}
		return d.images[i].desc, nil
	}
	entries, err := h.dockerEntries(ctx)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return layout.Select(entries, n)
}

// dockerEntries returns one descriptor for each tag of each image, and one
// for an image that has none.
func (h *handle) dockerEntries(ctx context.Context) ([]ocispec.Descriptor, error) {
	d, err := h.dockerIndex(ctx)
	if err != nil {
		return nil, err
	}
	var entries []ocispec.Descriptor
	for _, img := range d.images {
		if len(img.tags) == 0 {
			entries = append(entries, img.desc)
		}
		for _, tag := range img.tags {
			desc := img.desc
			desc.Annotations = map[string]string{ocispec.AnnotationRefName: tag}
			entries = append(entries, desc)
		}
	}
	return entries, nil
}
