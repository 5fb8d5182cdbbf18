package waybill_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/waybill"
)

// sound returns a document with something in every member.
func sound() *waybill.Document {
	const size = int64(len("hello world"))
	pieces, err := waybill.HashPieces(strings.NewReader("hello world"), size, "sha256", waybill.MinPieceLength)
	if err != nil {
		panic(err)
	}
	return &waybill.Document{
		Issued: time.Date(2026, 1, 1, 1, 0, 0, 5e8, time.FixedZone("", 3600)), Expires: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), Sequence: 7,
		Consignments: []waybill.Consignment{{
			Digest: digestA, Size: size, Pieces: pieces,
			Aliases: []waybill.Alias{{Kind: "btih", Value: strings.Repeat("a", 40), File: `quoted "ü" <&>.tar`}},
			Routes:  []waybill.Route{{URI: "https://b.example/x?a=1&b=2", Priority: 2, Geo: "de"}, {URI: "https://a.example/x", Priority: 1}},
		}},
		Carriers: []waybill.Carrier{{Protocol: "oci-distribution-v1", URI: "https://mirror.example", Repository: "team/app"}},
	}
}

func TestMarshal(t *testing.T) {
	d := sound()
	got, err := d.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"carriers":[{"protocol":"oci-distribution-v1","repository":"team/app","uri":"https://mirror.example"}],` +
		`"consignments":[{"aliases":[{"file":"quoted \"ü\" <&>.tar","kind":"btih","value":"` + strings.Repeat("a", 40) + `"}],` +
		`"digest":"` + digestA + `","pieces":{"algorithm":"sha256","data":"uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=",` +
		`"digest":"` + string(d.Consignments[0].Pieces.Digest) + `","length":16384},` +
		`"routes":[{"priority":1,"uri":"https://a.example/x"},{"geo":"de","priority":2,"uri":"https://b.example/x?a=1&b=2"}],"size":11}],` +
		`"expires":"2026-02-01T00:00:00Z","issued":"2026-01-01T00:00:00.5Z","mediaType":"application/vnd.waybill.v1+json","sequence":7}`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if d.Consignments[0].Routes[0].Priority != 2 {
		t.Error("Marshal changed the document's order")
	}
}

// TestMarshalIsDeterministic: the order of lists makes no difference.
func TestMarshalIsDeterministic(t *testing.T) {
	for _, content := range vectorFiles(t, "valid") {
		d, err := waybill.Parse(content)
		if err != nil {
			t.Fatal(err)
		}
		want, err := d.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(d.Consignments)
		slices.Reverse(d.Carriers)
		for _, c := range d.Consignments {
			slices.Reverse(c.Routes)
			slices.Reverse(c.Aliases)
		}
		if got, err := d.Marshal(); err != nil || string(got) != string(want) {
			t.Errorf("got\n%s, %v\nwant\n%s", got, err, want)
		}
	}
}

// TestValidate: what Parse would refuse isn't written either.
func TestValidate(t *testing.T) {
	con := func(d *waybill.Document) *waybill.Consignment { return &d.Consignments[0] }
	tests := []struct {
		name   string
		change func(d *waybill.Document)
		kind   error
		where  string
	}{
		{"no time", func(d *waybill.Document) { d.Issued = time.Time{} }, waybill.ErrInvalid, "/issued"},
		{"no end", func(d *waybill.Document) { d.Expires = time.Time{} }, waybill.ErrInvalid, "/expires"},
		{"negative sequence", func(d *waybill.Document) { d.Sequence = -1 }, waybill.ErrInvalid, "/sequence"},
		{"large sequence", func(d *waybill.Document) { d.Sequence = 1 << 53 }, waybill.ErrInvalid, "/sequence"},
		{"no digest", func(d *waybill.Document) { con(d).Digest = "" }, waybill.ErrInvalid, "/consignments/0/digest"},
		{"size", func(d *waybill.Document) { con(d).Size = 1<<50 + 1 }, waybill.ErrInvalid, "/consignments/0/size"},
		{"twice", func(d *waybill.Document) { d.Consignments = append(d.Consignments, *con(d)) }, waybill.ErrInvalid, "/consignments/1/digest"},
		{"consignments", func(d *waybill.Document) {
			d.Consignments = make([]waybill.Consignment, waybill.MaxConsignments+1)
		}, waybill.ErrLimit, "/consignments"},
		{"carriers", func(d *waybill.Document) { d.Carriers = make([]waybill.Carrier, waybill.MaxCarriers+1) }, waybill.ErrLimit, "/carriers"},
		{"aliases", func(d *waybill.Document) { con(d).Aliases = make([]waybill.Alias, waybill.MaxAliases+1) }, waybill.ErrLimit, "/consignments/0/aliases"},
		{"routes", func(d *waybill.Document) { con(d).Routes = make([]waybill.Route, waybill.MaxRoutes+1) }, waybill.ErrLimit, "/consignments/0/routes"},
		{"empty route", func(d *waybill.Document) { con(d).Routes[1] = waybill.Route{} }, waybill.ErrInvalid, "/consignments/0/routes/1/uri"},
		{"priority", func(d *waybill.Document) { con(d).Routes[1].Priority = 0 }, waybill.ErrInvalid, "/consignments/0/routes/1/priority"},
		{"protocol", func(d *waybill.Document) { d.Carriers[0].Protocol = "a b" }, waybill.ErrInvalid, "/carriers/0/protocol"},
		{"carrier's priority", func(d *waybill.Document) { d.Carriers[0].Priority = -1 }, waybill.ErrInvalid, "/carriers/0/priority"},
		{"long URI", func(d *waybill.Document) { d.Carriers[0].URI = strings.Repeat("x", waybill.MaxURI+1) }, waybill.ErrLimit, "/carriers/0/uri"},
		{"line separator", func(d *waybill.Document) { con(d).Aliases[0].File = "a\u2028b" }, waybill.ErrInvalid, "/consignments/0/aliases/0/file"},
		{"file not UTF-8", func(d *waybill.Document) { con(d).Aliases[0].File = "a\xff" }, waybill.ErrInvalid, "/consignments/0/aliases/0/file"},
		{"long file", func(d *waybill.Document) { con(d).Aliases[0].File = strings.Repeat("x", waybill.MaxFile+1) }, waybill.ErrLimit, "/consignments/0/aliases/0/file"},
		{"piece", func(d *waybill.Document) { con(d).Pieces.Data[3] ^= 1 }, waybill.ErrPieces, "/consignments/0/pieces/digest"},
		{"no pieces", func(d *waybill.Document) { con(d).Pieces.Data = nil }, waybill.ErrInvalid, "/consignments/0/pieces"},
		{"4 MiB", func(d *waybill.Document) {
			for len(d.Carriers) < waybill.MaxCarriers {
				d.Carriers = append(d.Carriers, waybill.Carrier{Protocol: "p", URI: strings.Repeat("x", waybill.MaxURI)})
			}
			for range 1000 {
				c := waybill.Consignment{Digest: digest.FromString(strconv.Itoa(len(d.Consignments)))}
				for range 20 {
					c.Routes = append(c.Routes, waybill.Route{URI: strings.Repeat("x", 200), Priority: 1})
				}
				d.Consignments = append(d.Consignments, c)
			}
		}, waybill.ErrLimit, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := sound()
			tt.change(d)
			content, err := d.Marshal()
			if !errors.Is(err, tt.kind) || content != nil {
				t.Fatalf("got %v, want %v", err, tt.kind)
			}
			if got := placeOf(t, err); got.Where != tt.where {
				t.Errorf("got %v, want it at %s", err, tt.where)
			}
			checkLine(t, err)
		})
	}
}

// TestErrorsHoldNoSecrets: a password in a refused URI, or a presigned query,
// isn't repeated.
func TestErrorsHoldNoSecrets(t *testing.T) {
	for _, uri := range []string{
		"https://user:hunter2@a.example/x", "https://user:hunter2@[::1", "ftp://user:hunter2@a.example", "//user:hunter2@a.example",
		"file:///x?signature=hunter2", "magnet:?xt=hunter2", "https://a.example/{encoded}?k=hunter2&v={nothing}", "https://a.example:hunter2@/{encoded",
	} {
		d := sound()
		d.Carriers = []waybill.Carrier{{Protocol: waybill.ProtocolCASTemplate, URI: uri}, {Protocol: waybill.ProtocolIPFSGateway, URI: uri}}
		d.Consignments[0].Routes = []waybill.Route{{URI: uri, Priority: 1}}
		places, err := d.Places(waybill.From{Base: "https://base:hunter2@b.example/?x=hunter2"})
		if err != nil {
			t.Fatal(err)
		}
		var all []error
		for err := range places.Refused() {
			all = append(all, err)
		}
		for _, err := range places.Routes(ocispec.Descriptor{Digest: digestA, Size: 11}) {
			if err != nil {
				all = append(all, err)
			}
		}
		if len(all) < 2 {
			t.Errorf("%s: refused %d times", uri, len(all))
		}
		for _, err := range all {
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v", err)
			}
		}
	}
}

func TestPlacesBase(t *testing.T) {
	tests := []struct{ name, base, uri, want string }{
		{"a path", "https://b.example/a/b.json", "c", "https://b.example/a/c"},
		{"after a presigned redirect", "https://b.example/a/b.json?signature=x", "c", "https://b.example/a/c"},
		{"with credentials", "https://user:hunter2@b.example/a/", "c", "https://b.example/a/c"},
		{"with a user at an SSH host", "sftp://user@b.example/a/", "c", "sftp://user@b.example/a/c"},
		{"up and beyond", "https://b.example/a/b.json", "../../../c", "https://b.example/c"},
		{"another host, same scheme", "https://b.example/a/b.json", "//c.example/d", "https://c.example/d"},
		{"no base", "", "c", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := &waybill.Document{Consignments: []waybill.Consignment{{Digest: digestA, Routes: []waybill.Route{{URI: tt.uri, Priority: 1}}}}}
			places, err := d.Places(waybill.From{Base: tt.base})
			if err != nil {
				t.Fatal(err)
			}
			for e, err := range places.Routes(ocispec.Descriptor{Digest: digestA, Size: -1}) {
				if e.URI != tt.want || (err == nil) != (tt.want != "") {
					t.Errorf("got %q, %v; want %q", e.URI, err, tt.want)
				}
			}
		})
	}
	for _, base := range []string{"relative", "mailto:a@b.example", "https://[::1", ":", "/a/b"} {
		if _, err := new(waybill.Document).Places(waybill.From{Base: base}); err == nil {
			t.Errorf("base %q was taken", base)
		}
	}
}

// TestRoutesEndEarly: who has enough need not hear the rest.
func TestRoutesEndEarly(t *testing.T) {
	d := sound()
	d.Consignments[0].Routes = append(d.Consignments[0].Routes, waybill.Route{URI: "file:///x", Priority: 3})
	d.Consignments[0].Aliases = append(d.Consignments[0].Aliases, waybill.Alias{Kind: "x", Value: "y"})
	places, err := d.Places(waybill.From{})
	if err != nil {
		t.Fatal(err)
	}
	desc := ocispec.Descriptor{Digest: digestA, Size: 11}
	for stop := range 5 {
		n := 0
		for range places.Routes(desc) {
			if n++; n > stop {
				break
			}
		}
		if want := min(stop+1, 4); n != want {
			t.Errorf("%d entries, want %d", n, want)
		}
	}
	for range places.Aliases(desc) {
		break
	}
	for _, err := range places.Routes(ocispec.Descriptor{Digest: "../../etc/passwd"}) {
		if err == nil {
			t.Error("a route for what is no digest")
		}
	}
	if _, ok, err := places.Pieces(ocispec.Descriptor{Digest: digestA, Size: 12}); ok || !errors.Is(err, waybill.ErrRefused) {
		t.Errorf("pieces of a blob of another size: %v, %v", ok, err)
	}
}

func TestPlacesConcurrently(t *testing.T) {
	places, err := sound().Places(waybill.From{})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				for _, err := range places.Routes(ocispec.Descriptor{Digest: digestA, Size: 11}) {
					if err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
}

func TestSourceIsTheCarriers(t *testing.T) {
	d := &waybill.Document{Carriers: []waybill.Carrier{
		{Protocol: waybill.ProtocolCASTemplate, URI: "https://a.example/{encoded}"},
		{Protocol: waybill.ProtocolCASTemplate, URI: "{algorithm}/{encoded}"},
		{Protocol: waybill.ProtocolCASTemplate, URI: "../cas/{digest}"},
		{Protocol: waybill.ProtocolDistribution, URI: "https://a.example/", Repository: "b/c"},
		{Protocol: waybill.ProtocolSSHLayout, URI: "sftp://a.example/b"},
	}}
	places, err := d.Places(waybill.From{Base: "https://b.example/x/y.json"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"https://a.example/{encoded}", "https://b.example/x/{algorithm}/{encoded}", "https://b.example/cas/{digest}", "https://a.example/b/c", "sftp://a.example/b"}
	for _, dgst := range []digest.Digest{digestA, digest.FromString("another")} {
		var got []string
		for e, err := range places.Routes(ocispec.Descriptor{Digest: dgst, Size: -1}) {
			if err != nil {
				t.Error(err)
			}
			got = append(got, e.Source)
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestManifest(t *testing.T) {
	content, err := sound().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	subject := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromString("index"), Size: 5, Annotations: map[string]string{"a": "b"}}
	b, err := waybill.Manifest(content, subject)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := waybill.Manifest(content, subject); err != nil || string(again) != string(b) {
		t.Errorf("made twice: %s, %v", again, err)
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	if m.Subject.Annotations != nil || m.SchemaVersion != 2 || m.MediaType != ocispec.MediaTypeImageManifest {
		t.Errorf("manifest is %s", b)
	}
	layer, err := waybill.CheckManifest(m, subject.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if string(layer.Data) != string(content) || layer.Digest != digest.FromBytes(content) || layer.Size != int64(len(content)) {
		t.Errorf("layer is %+v", layer)
	}

	if _, err := waybill.Manifest([]byte("{}"), subject); !errors.Is(err, waybill.ErrInvalid) {
		t.Errorf("manifest of no waybill: %v", err)
	}
	if _, err := waybill.Manifest(content, ocispec.Descriptor{}); err == nil {
		t.Error("manifest without subject")
	}
	large := head + `,"x":"` + strings.Repeat("x", waybill.MaxEmbedded) + `"}`
	b, err = waybill.Manifest([]byte(large), subject)
	if err != nil || len(b) > 2000 {
		t.Errorf("a large document's manifest has %d bytes, %v", len(b), err)
	}
}

func TestCheckManifestRefuses(t *testing.T) {
	content, err := sound().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	subject := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digestA, Size: 5}
	tests := []struct {
		name   string
		change func(m *ocispec.Manifest)
		kind   error
	}{
		{"another artifact", func(m *ocispec.Manifest) { m.ArtifactType = "application/spdx+json" }, waybill.ErrNotManifest},
		{"an image", func(m *ocispec.Manifest) { m.ArtifactType = "" }, waybill.ErrNotManifest},
		{"with a config", func(m *ocispec.Manifest) { m.Config.MediaType = ocispec.MediaTypeImageConfig }, waybill.ErrNotManifest},
		{"no layer", func(m *ocispec.Manifest) { m.Layers = nil }, waybill.ErrNotManifest},
		{"two layers", func(m *ocispec.Manifest) { m.Layers = append(m.Layers, m.Layers[0]) }, waybill.ErrNotManifest},
		{"a layer of something", func(m *ocispec.Manifest) { m.Layers[0].MediaType = ocispec.MediaTypeImageLayer }, waybill.ErrNotManifest},
		{"a large layer", func(m *ocispec.Manifest) { m.Layers[0].Size = waybill.MaxDocument + 1 }, waybill.ErrLimit},
		{"no subject", func(m *ocispec.Manifest) { m.Subject = nil }, waybill.ErrSubject},
		{"another subject", func(m *ocispec.Manifest) { m.Subject.Digest = digest.FromString("x") }, waybill.ErrSubject},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := waybill.Manifest(content, subject)
			if err != nil {
				t.Fatal(err)
			}
			var m ocispec.Manifest
			if err := json.Unmarshal(b, &m); err != nil {
				t.Fatal(err)
			}
			tt.change(&m)
			if _, err := waybill.CheckManifest(m, digestA); !errors.Is(err, tt.kind) {
				t.Errorf("got %v, want %v", err, tt.kind)
			}
		})
	}
}
