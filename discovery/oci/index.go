package oci

import (
	"encoding/json"
	"errors"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/internal/strictjson"
)

// index is what is read from an index.
type index struct {
	manifests []ocispec.Descriptor
	cas       []entry         // the index's own CAS engines
	on        map[int][]entry // those on manifests, by their number
}

// parseIndex reads an index as strictly as any (package image), and then the
// CAS engines in it. mediaType is its Content-Type; where that says nothing
// the content decides. Engines on manifests that wanted isn't true of are
// passed over.
func parseIndex(mediaType string, content []byte, wanted func(ocispec.Descriptor) bool, note func(string)) (*index, error) {
	if isGeneric(mediaType) {
		mediaType = ""
	}
	doc, err := image.Parse(mediaType, content)
	if err != nil {
		return nil, err
	}
	if !doc.IsIndex() {
		return nil, errors.New("a manifest where an index is wanted")
	}
	x := &index{manifests: doc.Manifests, on: map[int][]entry{}}
	return x, x.readEngines(content, wanted, note)
}

// readEngines reads the CAS engines from what is known to be an index.
func (x *index) readEngines(content []byte, wanted func(ocispec.Descriptor) bool, note func(string)) error {
	r, err := newReader(content)
	if err != nil {
		return err
	}
	return r.Object(func(key string) error {
		switch key {
		case "casEngines":
			return readEngines(r, &x.cas, key, ProtocolCASTemplate, note)
		case "manifests":
			return r.Array(key, image.MaxDescriptors, func(i int) error {
				if i >= len(x.manifests) || !wanted(x.manifests[i]) {
					return r.Skip()
				}
				return x.readManifest(r, i, note)
			})
		}
		return r.Skip()
	})
}

func (x *index) readManifest(r *strictjson.Reader, i int, note func(string)) error {
	first, err := r.Token()
	if err != nil || first != json.Delim('{') {
		return err
	}
	return r.Members(func(key string) error {
		if key != "casEngines" {
			return r.Skip()
		}
		var list []entry
		err := readEngines(r, &list, fmt.Sprintf("manifests[%d].%s", i, key), ProtocolCASTemplate, note)
		if len(list) > 0 {
			x.on[i] = list
		}
		return err
	})
}

// isCalled reports whether an index's entry is the one a name speaks of: called
// as its fragment, or as all of it. Without a fragment every entry is.
func (n Name) isCalled(desc ocispec.Descriptor) bool {
	if n.Fragment == "" {
		return true
	}
	called := desc.Annotations[ocispec.AnnotationRefName]
	return called == n.Fragment || called == n.String()
}
