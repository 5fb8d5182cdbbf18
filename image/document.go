package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
)

var (
	// ErrSchema1 is wrapped by the error for Docker schema 1 manifests.
	ErrSchema1 = errors.New("docker schema 1 manifests aren't supported; push the image again with a current tool")
	// ErrNotDocument is wrapped where content or media type is neither a
	// manifest's nor an index's.
	ErrNotDocument = errors.New("neither an image manifest nor an index")
)

// Document is a parsed manifest or index. Which it is, IsIndex says.
type Document struct {
	// MediaType is one of the four [IsDocument] accepts.
	MediaType string
	// ArtifactType is the artifactType field, for artifacts.
	ArtifactType string
	// Config is a manifest's configuration; nil in an index. For an artifact
	// it may be of any type (see [IsConfig]).
	Config *ocispec.Descriptor
	// Layers are a manifest's, base first.
	Layers []ocispec.Descriptor
	// Manifests are an index's, in its order; some may be indexes or something
	// else altogether. A [Walk] leaves them out.
	Manifests []ocispec.Descriptor
	// Subject is the image this one is about, where it is a referrer. It is
	// not a child.
	Subject *ocispec.Descriptor
	// Annotations are the document's own.
	Annotations map[string]string
	// Extension is what the [Extension] of a walk has made of an index's own; nil
	// where it has none.
	Extension any
}

// IsIndex reports whether d is an index or manifest list.
func (d *Document) IsIndex() bool {
	return IsIndex(d.MediaType)
}

// Children returns what d is made of, in the order good for fetching: the
// config and then the layers of a manifest, the manifests of an index.
func (d *Document) Children() []ocispec.Descriptor {
	if d.IsIndex() {
		return d.Manifests
	}
	children := make([]ocispec.Descriptor, 0, 1+len(d.Layers))
	return append(append(children, *d.Config), d.Layers...)
}

// wire is every field of all four kinds of document. Presence matters, so the
// lists are pointers.
type wire struct {
	SchemaVersion int                   `json:"schemaVersion"`
	MediaType     string                `json:"mediaType"`
	ArtifactType  string                `json:"artifactType"`
	Config        *ocispec.Descriptor   `json:"config"`
	Layers        *[]ocispec.Descriptor `json:"layers"`
	Manifests     *[]ocispec.Descriptor `json:"manifests"`
	Subject       *ocispec.Descriptor   `json:"subject"`
	Annotations   map[string]string     `json:"annotations"`
	// FSLayers only stands in Docker's schema 1.
	FSLayers json.RawMessage `json:"fsLayers"`
}

// Parse reads a manifest or index. mediaType is what it was described or
// served with, without parameters; empty means that nothing was said and the
// content decides, as [DetectMediaType] does. Content that is nothing Parse
// knows is [ErrNotDocument], Docker's schema 1 is [ErrSchema1].
func Parse(mediaType string, content []byte) (*Document, error) {
	d, list, err := parse(mediaType, Bytes(content), nil)
	if err == nil && d.IsIndex() {
		d.Manifests, err = list.all()
	}
	if err != nil {
		return nil, whichDocument(mediaType, err)
	}
	return d, nil
}

// read reads a manifest or index as [Parse] does, but for an index's manifests: all
// are good, and are read from content as long as that is open. x, which may be nil,
// is read of an index with the digest.
func read(mediaType string, content Content, x *Extension, index digest.Digest) (*Document, *entries, error) {
	d, list, err := parse(mediaType, content, x)
	if err == nil {
		err = list.check()
	}
	if err == nil && d.IsIndex() && x != nil {
		list.ext.extension, list.ext.index = x, index
		d.Extension, err = list.extension(-1)
	}
	if err != nil {
		return nil, nil, whichDocument(mediaType, err)
	}
	return d, list, nil
}

// whichDocument says in an error what it is about.
func whichDocument(mediaType string, err error) error {
	what := "document"
	switch {
	case IsIndex(mediaType):
		what = "index"
	case IsManifest(mediaType):
		what = "manifest"
	}
	return fmt.Errorf("%s: %w", what, err)
}

// DetectMediaType returns the media type of a manifest or index whose type
// isn't known: the one it states, or OCI's where it states none. The errors are
// those of [Parse].
func DetectMediaType(content Content) (string, error) {
	d, _, err := read("", content, nil, "")
	if err != nil {
		return "", err
	}
	return d.MediaType, nil
}

// Children returns the descriptors of what desc, whose content is given, is
// made of; none for blobs that aren't manifests or indexes. What children
// those have in turn is for the caller to follow.
func Children(desc ocispec.Descriptor, content []byte) ([]ocispec.Descriptor, error) {
	if !IsDocument(desc.MediaType) {
		return nil, nil
	}
	d, err := Parse(desc.MediaType, content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", desc.Digest, err)
	}
	return d.Children(), nil
}

// parse reads a manifest or index, and where the manifests of an index are, and x
// in it.
func parse(mediaType string, content Content, x *Extension) (*Document, *entries, error) {
	switch {
	case mediaType == mediaTypeDockerSchema1 || mediaType == mediaTypeDockerSchema1Signed:
		return nil, nil, ErrSchema1
	case mediaType != "" && !IsDocument(mediaType):
		return nil, nil, fmt.Errorf("media type %q: %w", clip(mediaType), ErrNotDocument)
	}
	var w wire
	list, err := unmarshal(content, content.Size(), &w, documentSchema.with(x))
	if err != nil {
		return nil, nil, err
	}
	if err := w.checkForm(); err != nil {
		return nil, nil, err
	}
	if mediaType == "" {
		mediaType = w.detect()
	}
	if w.MediaType != "" && w.MediaType != mediaType {
		return nil, nil, fmt.Errorf("mediaType is %q, but it was served or described as %q", clip(w.MediaType), mediaType)
	}
	if IsIndex(mediaType) != (w.Manifests != nil) {
		return nil, nil, fmt.Errorf("the content doesn't fit its media type %q", mediaType)
	}
	d := &Document{MediaType: mediaType, ArtifactType: w.ArtifactType, Config: w.Config, Subject: w.Subject, Annotations: w.Annotations}
	if w.Layers != nil {
		d.Layers = *w.Layers
	}
	return d, list, d.check()
}

// checkForm tells manifests, indexes and everything else apart by the fields
// that are there (CVE-2021-41190: a document must not be both).
func (w *wire) checkForm() error {
	manifest := w.Config != nil || w.Layers != nil
	switch {
	case w.SchemaVersion == 1 || w.FSLayers != nil:
		return ErrSchema1
	case w.MediaType != "" && !IsDocument(w.MediaType):
		return fmt.Errorf("mediaType %q: %w", clip(w.MediaType), ErrNotDocument)
	case !manifest && w.Manifests == nil:
		return fmt.Errorf("no config, layers or manifests: %w", ErrNotDocument)
	case w.SchemaVersion != 2:
		return fmt.Errorf("schemaVersion is %d; it must be 2", w.SchemaVersion)
	case manifest && w.Manifests != nil:
		return errors.New("it has the config or layers of a manifest and the manifests of an index; refused (CVE-2021-41190)")
	case manifest && w.Config == nil:
		return errors.New("manifest without config")
	case manifest && w.Layers == nil:
		return errors.New("manifest without layers")
	}
	return nil
}

// detect returns the media type of a document whose form is right.
func (w *wire) detect() string {
	switch {
	case w.MediaType != "":
		return w.MediaType
	case w.Manifests != nil:
		return ocispec.MediaTypeImageIndex
	}
	return ocispec.MediaTypeImageManifest
}

// place is where in a document a descriptor stands.
type place struct {
	list string
	i    int // in the list; -1 where there is one only
}

// String returns the place's name.
func (p place) String() string {
	if p.i < 0 {
		return p.list
	}
	return fmt.Sprintf("%s[%d]", p.list, p.i)
}

// descriptors yields every descriptor of d with its place, but for the manifests
// of an index.
func (d *Document) descriptors() iter.Seq2[place, *ocispec.Descriptor] {
	return func(yield func(place, *ocispec.Descriptor) bool) {
		if d.Config != nil && !yield(place{"config", -1}, d.Config) {
			return
		}
		if d.Subject != nil && !yield(place{"subject", -1}, d.Subject) {
			return
		}
		for i := range d.Layers {
			if !yield(place{"layers", i}, &d.Layers[i]) {
				return
			}
		}
	}
}

func (d *Document) check() error {
	if err := checkAnnotations(d.Annotations); err != nil {
		return err
	}
	if len(d.ArtifactType) > maxMediaType {
		return fmt.Errorf("artifactType is longer than %d bytes", maxMediaType)
	}
	types := map[string]string{}
	for where, desc := range d.descriptors() {
		if err := CheckDescriptor(*desc); err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		desc.MediaType = once(types, desc.MediaType)
	}
	return nil
}

// CheckDescriptor checks a descriptor from outside by the rules of image-spec
// descriptor.md: a media type, a digest of a registered algorithm (safe to use
// in a path afterwards), a size that is neither negative nor above [MaxBlob],
// and bounded annotations. Embedded data isn't compared with the digest here.
// Of urls any number will do: where a blob is doesn't make the image a bad one.
func CheckDescriptor(desc ocispec.Descriptor) error {
	if err := checkMediaType(desc.MediaType); err != nil {
		return err
	}
	if err := blobdigest.Validate(desc.Digest); err != nil {
		return err
	}
	switch {
	case desc.Size < 0:
		return fmt.Errorf("size %d is negative", desc.Size)
	case desc.Size > MaxBlob:
		return fmt.Errorf("size %d is above the limit of %d bytes", desc.Size, int64(MaxBlob))
	}
	return checkAnnotations(desc.Annotations)
}

func checkMediaType(mediaType string) error {
	switch {
	case mediaType == "":
		return errors.New("no mediaType")
	case len(mediaType) > maxMediaType:
		return fmt.Errorf("mediaType is longer than %d bytes", maxMediaType)
	}
	for _, r := range mediaType {
		if r <= ' ' || r > '~' {
			return fmt.Errorf("mediaType %q holds %q", mediaType, r)
		}
	}
	return nil
}

func checkAnnotations(annotations map[string]string) error {
	if len(annotations) > MaxAnnotations {
		return fmt.Errorf("%d annotations; the limit is %d", len(annotations), MaxAnnotations)
	}
	n := 0
	for k, v := range annotations {
		n += len(k) + len(v)
	}
	if n > MaxAnnotationBytes {
		return fmt.Errorf("%d bytes of annotations; the limit is %d", n, MaxAnnotationBytes)
	}
	return nil
}
