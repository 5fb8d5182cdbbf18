package waybill_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/waybill"
)

const casVectorsDir = specDir + "/vectors/cas-over-http"

// TestCASURLVectors: spec/cas-over-http.md §2.
func TestCASURLVectors(t *testing.T) {
	var vectors []struct {
		Template, Base string
		Digest         digest.Digest
		URL            string // null: refused
	}
	readJSON(t, filepath.Join(casVectorsDir, "urls.json"), &vectors)
	for _, v := range vectors {
		t.Run(v.Template+" "+v.Digest.Algorithm().String(), func(t *testing.T) {
			d := &waybill.Document{Carriers: []waybill.Carrier{{Protocol: waybill.ProtocolCASTemplate, URI: v.Template}}}
			places, err := d.Places(waybill.From{Base: v.Base})
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for e, err := range places.Routes(ocispec.Descriptor{Digest: v.Digest, Size: -1}) {
				if err != nil {
					t.Error(err)
				}
				got = e.URI
			}
			if got != v.URL {
				t.Errorf("got %q, want %q", got, v.URL)
			}
		})
	}
}

// TestCASDigestVectors: the four ways to write a hash in spec/cas-over-http.md §3
// and §5 are one hash.
func TestCASDigestVectors(t *testing.T) {
	var vectors []struct {
		Content                   []byte
		Zeros                     int
		Digest                    digest.Digest
		NI, WellKnown, ReprDigest string
	}
	readJSON(t, filepath.Join(casVectorsDir, "digests.json"), &vectors)
	for _, v := range vectors {
		t.Run(v.NI, func(t *testing.T) {
			content := append(v.Content, make([]byte, v.Zeros)...)
			if got := digest.FromBytes(content); got != v.Digest {
				t.Fatalf("digest is %s, want %s", got, v.Digest)
			}
			sum, err := hex.DecodeString(v.Digest.Encoded())
			if err != nil {
				t.Fatal(err)
			}
			if got := decode(t, base64.RawURLEncoding, v.NI, "ni:///sha-256;", ""); !bytes.Equal(got, sum) {
				t.Errorf("ni is of %x", got)
			}
			if got := decode(t, base64.RawURLEncoding, v.WellKnown, "/.well-known/ni/sha-256/", ""); !bytes.Equal(got, sum) {
				t.Errorf("well-known is of %x", got)
			}
			if got := decode(t, base64.StdEncoding, v.ReprDigest, "sha-256=:", ":"); !bytes.Equal(got, sum) {
				t.Errorf("Repr-Digest is of %x", got)
			}
		})
	}
}

// decode returns the hash between prefix and suffix.
func decode(t *testing.T, enc *base64.Encoding, s, prefix, suffix string) []byte {
	t.Helper()
	if !strings.HasPrefix(s, prefix) || !strings.HasSuffix(s, suffix) {
		t.Fatalf("%q isn't %s…%s", s, prefix, suffix)
	}
	b, err := enc.Strict().DecodeString(strings.TrimSuffix(strings.TrimPrefix(s, prefix), suffix))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
