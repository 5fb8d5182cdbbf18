package oci_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery/oci"
)

// publishedVectors reads those of a file of spec/vectors/oci-discovery that stand
// in the publication.
func publishedVectors[T any](t *testing.T, file string, isPublished func(T) bool) []T {
	t.Helper()
	content, err := os.ReadFile("../../spec/vectors/oci-discovery/" + file)
	must(t, err)
	var all []T
	must(t, json.Unmarshal(content, &all))
	all = slices.DeleteFunc(all, func(v T) bool { return !isPublished(v) })
	if len(all) == 0 {
		t.Fatalf("%s has nothing that was published", file)
	}
	return all
}

type publishedDocument struct {
	What, Document, Name, Error string
	Published                   bool
	CASEngines                  []string
}

type publishedIndex struct {
	What, Index, Name, Error string
	Published                bool
	Found                    []struct {
		Digest     digest.Digest
		CASEngines []string
	}
}

// publishedPlaces are where the published documents lead for example.com/app#1.0, by
// the template in them.
var publishedPlaces = map[string]string{
	"https://{host}/ref/{name}":                  "example.com/ref/example.com%2Fapp%231.0",
	"https://{host}/oci-index/{path}":            "example.com/oci-index/app",
	"https://{host}/oci-image/{path}/index.json": "example.com/oci-image/app/index.json",
}

// TestPublishedDocuments serves the publication's discovery documents and its
// indexes over https, each of the former with each of the latter, and asks what a
// name means.
func TestPublishedDocuments(t *testing.T) {
	documents := publishedVectors(t, "ref-engines.json", func(v publishedDocument) bool { return v.Published })
	indexes := publishedVectors(t, "indexes.json", func(v publishedIndex) bool {
		return v.Published && v.Name == "example.com/app#1.0"
	})
	for _, doc := range documents {
		for _, index := range indexes {
			t.Run(doc.What+", "+index.What, func(t *testing.T) {
				w := newWorld(t, "example.com")
				w.wellKnown("example.com", doc.Document)
				for template, at := range publishedPlaces {
					if strings.Contains(doc.Document, `"`+template+`"`) {
						w.page(at, ocispec.MediaTypeImageIndex, index.Index)
					}
				}
				answer, err := w.resolve(t, index.Name)
				if doc.Error != "" {
					if err == nil {
						t.Errorf("got %+v", answer)
					}
					w.wasNoted(t, oci.WellKnown, doc.Error)
					return
				}
				index.check(t, answer, err)
				if templatesOf(answer.CASEngines) != strings.Join(doc.CASEngines, " ") {
					t.Errorf("the host's CAS engines are %s", templatesOf(answer.CASEngines))
				}
			})
		}
	}
}

// TestPublishedIndexTemplate is the example of index-template.md.
func TestPublishedIndexTemplate(t *testing.T) {
	for _, index := range publishedVectors(t, "indexes.json", func(v publishedIndex) bool { return v.Published && strings.HasPrefix(v.What, "index-template.md") }) {
		t.Run(index.What, func(t *testing.T) {
			w := newWorld(t, "a.b.example.com")
			w.wellKnown("a.b.example.com", refEngines([]string{"https://{host}/ref/{host}/{path}"}, nil))
			w.page("a.b.example.com/ref/a.b.example.com/c%2Fd", ocispec.MediaTypeImageIndex, index.Index)
			answer, err := w.resolve(t, index.Name)
			index.check(t, answer, err)
		})
	}
}

// check holds an answer against what the publication has.
func (v publishedIndex) check(t *testing.T, answer oci.Answer, err error) {
	t.Helper()
	if (err == nil) != (len(v.Found) > 0) {
		t.Fatalf("got %+v, %v", answer, err)
	}
	var got, want []string
	for _, c := range answer.Candidates {
		got = append(got, string(c.Descriptor.Digest)+" "+templatesOf(c.CASEngines))
	}
	for _, f := range v.Found {
		want = append(want, string(f.Digest)+" "+strings.Join(f.CASEngines, " "))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func templatesOf(engines []oci.Engine) string {
	var all []string
	for _, e := range engines {
		all = append(all, e.Template)
	}
	return strings.Join(all, " ")
}

// TestPublishedXDG has the publication's local document lead to indexes on https
// servers: to the longest expression's first, as its rule says.
func TestPublishedXDG(t *testing.T) {
	for _, v := range publishedVectors(t, "regexp-ref-engines.json", func(v publishedDocument) bool { return v.Published && strings.HasPrefix(v.What, "XDG") }) {
		t.Run(v.What, func(t *testing.T) {
			w := newWorld(t, "a.example.com", "b.example.com")
			w.config(t, w.env["XDG_CONFIG_HOME"], v.Document)
			w.page("a.example.com/oci-ref/a.example.com%2Fapp%231.0", ocispec.MediaTypeImageIndex, indexOf(entryOf(1, "1.0")))
			w.page("a.example.com/ref/a.example.com%2Fapp%231.0", ocispec.MediaTypeImageIndex, indexOf(entryOf(2, "1.0")))
			w.page("b.example.com/ref/b.example.com%2Fapp%231.0", ocispec.MediaTypeImageIndex, indexOf(entryOf(3, "1.0")))
			want := map[string][]int64{"a.example.com/app#1.0": {1}, "b.example.com/app#1.0": {3}}[v.Name]
			if v.Error != "" {
				v.Name = "a.example.com/app#1.0"
			}
			answer, err := w.resolve(t, v.Name)
			if !slices.Equal(sizes(answer), want) || (err == nil) != (want != nil) {
				t.Errorf("got %v, %v; want %v", sizes(answer), err, want)
			}
			if v.Error != "" {
				w.wasNoted(t, "ref-engine-discovery.json", v.Error)
			}
		})
	}
}
