package layout

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/transport"
)

// annotationImageName is where containerd and Docker write the full name of an
// image, beside its tag in org.opencontainers.image.ref.name.
const annotationImageName = "io.containerd.image.name"

// maxListed bounds how many refs an error lists.
const maxListed = 20

// Entries returns the descriptors in an index.json, in its order. n is for errors.
func Entries(n name.Name, content []byte) ([]ocispec.Descriptor, error) {
	index, err := image.Parse(ocispec.MediaTypeImageIndex, content)
	if err != nil {
		return nil, transport.Errorf(transport.ErrPermanent, n.String(), "%s: %w", ocispec.ImageIndexFile, err)
	}
	return index.Manifests, nil
}

// Found is an image that was found in a layout.
type Found struct {
	// Descriptor is the image's.
	ocispec.Descriptor
	// Index is the content of the index.json it stands in. It is nil where it stands
	// in none.
	Index []byte
}

// Find returns the image that n means in a layout with the index.json index: see
// [Select]. A digest that doesn't stand in it may be that of a manifest or index
// deeper in the layout, which read returns by its path in the layout.
func Find(n name.Name, index []byte, read func(file string) ([]byte, error)) (Found, error) {
	entries, err := Entries(n, index)
	if err != nil {
		return Found{}, err
	}
	desc, err := Select(entries, n)
	if n.Digest == "" || !errors.Is(err, transport.ErrNotFound) {
		return Found{desc, index}, err
	}
	file, err := BlobPath(n.Digest)
	if err != nil {
		return Found{}, transport.Errorf(transport.ErrPermanent, n.String(), "%w", err)
	}
	content, err := read(file)
	if err != nil {
		return Found{}, err
	}
	desc, err = describe(n, content)
	return Found{Descriptor: desc}, err
}

// describe returns the descriptor of a manifest or index whose content was
// found under n.Digest, after checking that it has that digest.
func describe(n name.Name, content []byte) (ocispec.Descriptor, error) {
	d, err := blobdigest.FromBytes(n.Digest.Algorithm(), content)
	if err == nil && d != n.Digest {
		err = fmt.Errorf("the content has digest %s", d)
	}
	var mediaType string
	if err == nil {
		mediaType, err = image.DetectMediaType(image.Bytes(content))
	}
	if err != nil {
		return ocispec.Descriptor{}, transport.Errorf(transport.ErrPermanent, n.String(), "%s: %w", n.Digest, err)
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: n.Digest, Size: int64(len(content))}, nil
}

// Ref returns the ref of an entry of an index.json: its
// org.opencontainers.image.ref.name or, where it has none, its
// io.containerd.image.name.
func Ref(desc ocispec.Descriptor) string {
	if ref := desc.Annotations[ocispec.AnnotationRefName]; ref != "" {
		return ref
	}
	return desc.Annotations[annotationImageName]
}

// Select returns the entry, of those in a layout's index.json, that n means, by the
// first of these that n has:
//
//   - its digest;
//   - the ref "@N": the N-th entry, counting from 0;
//   - its ref: the entry whose org.opencontainers.image.ref.name or
//     io.containerd.image.name is that very string, else the one whose name is
//     the same registry reference written otherwise ("alpine" and
//     "docker.io/library/alpine:latest");
//   - nothing: the only entry, or the only image that all entries are, those
//     apart that are an artifact without a ref: what somebody attached to it.
//
// None is [transport.ErrNotFound]; several different ones are
// [transport.ErrPermanent]; both errors list the refs there are.
func Select(entries []ocispec.Descriptor, n name.Name) (ocispec.Descriptor, error) {
	var found []ocispec.Descriptor
	switch {
	case n.Digest != "":
		found = matching(entries, func(d ocispec.Descriptor) bool { return d.Digest == n.Digest })
	case strings.HasPrefix(n.Ref, "@"):
		i, err := strconv.Atoi(n.Ref[1:])
		if err != nil || i < 0 || i >= len(entries) {
			return ocispec.Descriptor{}, transport.Errorf(transport.ErrNotFound, n.String(), "no entry %s; there are %d, counting from @0", n.Ref, len(entries))
		}
		return entries[i], nil
	case n.Ref != "":
		found = matchingRef(entries, n.Ref)
	default:
		found = matching(entries, func(d ocispec.Descriptor) bool { return d.ArtifactType == "" || Ref(d) != "" })
		if len(found) == 0 {
			found = entries
		}
	}
	switch distinct(found) {
	case 0:
		return ocispec.Descriptor{}, transport.Errorf(transport.ErrNotFound, n.String(), "no such image; %s", list(entries))
	case 1:
		return found[0], nil
	}
	mark := ":"
	if n.Kind == name.Place {
		mark = "#"
	}
	return ocispec.Descriptor{}, transport.Errorf(transport.ErrPermanent, n.String(), "that could be several images; add %sREF or @DIGEST: %s", mark, list(found))
}

func matchingRef(entries []ocispec.Descriptor, ref string) []ocispec.Descriptor {
	exact := matching(entries, func(d ocispec.Descriptor) bool {
		return d.Annotations[ocispec.AnnotationRefName] == ref || d.Annotations[annotationImageName] == ref
	})
	if len(exact) > 0 {
		return exact
	}
	want := normal(ref)
	if want == "" {
		return nil
	}
	return matching(entries, func(d ocispec.Descriptor) bool {
		return normal(d.Annotations[annotationImageName]) == want || normal(d.Annotations[ocispec.AnnotationRefName]) == want
	})
}

// normal returns the full form of a registry reference, or "" for what is
// none.
func normal(ref string) string {
	n, err := name.Parse(ref)
	if err != nil || n.Kind != name.Registry {
		return ""
	}
	return n.String()
}

func matching(entries []ocispec.Descriptor, ok func(ocispec.Descriptor) bool) []ocispec.Descriptor {
	var found []ocispec.Descriptor
	for _, d := range entries {
		if ok(d) {
			found = append(found, d)
		}
	}
	return found
}

func distinct(entries []ocispec.Descriptor) int {
	seen := map[digest.Digest]bool{}
	for _, d := range entries {
		seen[d.Digest] = true
	}
	return len(seen)
}

// list says what there is to choose from.
func list(entries []ocispec.Descriptor) string {
	if len(entries) == 0 {
		return "there are none"
	}
	refs := make([]string, 0, len(entries))
	for _, d := range entries {
		ref := Ref(d)
		switch {
		case ref == "":
			ref = "@" + d.Digest.String()
		case len(ref) > 128:
			ref = strconv.Quote(ref[:128]) + "…"
		default:
			ref = strconv.Quote(ref)
		}
		refs = append(refs, ref)
	}
	refs = slices.Compact(refs)
	s := "there is " + strings.Join(refs[:min(len(refs), maxListed)], ", ")
	if len(refs) > maxListed {
		s += fmt.Sprintf(" and %d more", len(refs)-maxListed)
	}
	return s
}
