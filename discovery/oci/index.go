package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery"
	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/internal/strictjson"
	"github.com/waybill-project/waybill/transport/netclass"
	"github.com/waybill-project/waybill/uritmpl"
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

// IndexEngines are the CAS engines that stand in an index.
type IndexEngines struct {
	// All may hold any blob of the index.
	All []Engine
	// Of may hold the blobs of the manifest with that digest.
	Of map[digest.Digest][]Engine
}

// EnginesIn returns the CAS engines in an index that was read otherwise, such as
// one within an index. like is an [Engine] without a template: its Base, Name,
// From and Remote are those of the index, and its Floor that of the host the
// index came from. note, which may be nil, is told of entries that can't be
// used. What is no index, or malformed, is an error.
func EnginesIn(content []byte, like Engine, note func(discovery.Note)) (IndexEngines, error) {
	n := notes{where: like.From, note: note}
	defer n.end()
	x, err := parseIndex("", content, func(ocispec.Descriptor) bool { return true }, n.add)
	if err != nil {
		return IndexEngines{}, fmt.Errorf("%s: %w", like.From, err)
	}
	set := engineSet{}
	floor := func(u *url.URL) netclass.Class {
		if !like.Remote || like.Base != nil && uritmpl.Origin(u) == uritmpl.Origin(like.Base) {
			return like.Floor
		}
		return netclass.Public
	}
	engines := IndexEngines{All: set.add(nil, x.cas, like, floor, n.add), Of: map[digest.Digest][]Engine{}}
	for i, desc := range x.manifests {
		if made := set.add(engines.Of[desc.Digest], x.on[i], like, floor, n.add); len(made) > 0 {
			engines.Of[desc.Digest] = made
		}
	}
	return engines, nil
}
