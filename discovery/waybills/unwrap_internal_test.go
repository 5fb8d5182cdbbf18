package waybills

import (
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/waybill"
)

func FuzzUnwrap(f *testing.F) {
	bill := []byte(`{"mediaType":"application/vnd.waybill.v1+json","issued":"2026-01-01T00:00:00Z","expires":"2026-02-01T00:00:00Z","sequence":1}`)
	manifest, err := waybill.Manifest(bill, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("x"), Size: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("", bill)
	f.Add("", manifest)
	f.Add(ocispec.MediaTypeImageManifest, manifest)
	f.Fuzz(func(t *testing.T, mediaType string, content []byte) {
		document, subject, err := unwrap(mediaType, content)
		if err != nil {
			if document != nil || subject != "" {
				t.Errorf("an error, and %q about %s", document, subject)
			}
			return
		}
		if subject != "" && subject.Validate() != nil {
			t.Errorf("it is about %q", subject)
		}
		if subject == "" && string(document) != string(content) {
			t.Errorf("%q was taken out of what is no manifest, %q", document, content)
		}
	})
}
