package oci_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery"
	"github.com/waybill-project/waybill/discovery/oci"
	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/locate"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/netclass"
)

// indexWith is an index with engines of its own, and those of its entries.
func indexWith(own any, entries ...map[string]any) string {
	index := map[string]any{"schemaVersion": 2, "manifests": entries}
	if own != nil {
		index["casEngines"] = own
	}
	return encode(index)
}

// readWithin walks an index and returns the locators of it and of each entry, by
// the entries' sizes; 0 is its own.
func readWithin(t *testing.T, content string, x *image.Extension) map[int64]locate.Locator {
	t.Helper()
	got := map[int64]locate.Locator{}
	keep := func(n int64, read any) {
		if l, ok := read.(locate.Locator); ok {
			got[n] = l
		} else if read != nil {
			t.Errorf("read a %T", read)
		}
	}
	root := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromString(content), Size: int64(len(content))}
	fetch := func(context.Context, image.Node) (image.Content, error) { return image.Bytes([]byte(content)), nil }
	for n, err := range image.Walk(t.Context(), root, fetch, image.WalkOptions{Platform: image.AllPlatforms(), Extension: x}) {
		if err != nil {
			t.Fatal(err)
		}
		if n.Document != nil {
			keep(0, n.Document.Extension)
			continue
		}
		keep(n.Descriptor.Size, n.Extension)
	}
	return got
}

// blobEntry is an entry of an index that the walk doesn't look into.
func blobEntry(size int, casEngines any) map[string]any {
	e := entryOf(size, "")
	e["mediaType"] = "application/octet-stream"
	if casEngines != nil {
		e["casEngines"] = casEngines
	}
	return e
}

func TestWithin(t *testing.T) {
	const known = oci.ProtocolCASTemplate
	content := indexWith(
		engines(known, "https://all.example/{encoded}", "relative/{digest}", "https://{host}/x/{encoded}"),
		blobEntry(1, engines(known, "https://one.example/{algorithm}/{encoded:2}/{encoded}", "https://10.0.0.1/{encoded}", "https://one.example/{algorithm}/{encoded:2}/{encoded}")),
		blobEntry(2, nil),
		blobEntry(3, engines(known, "file:///{digest}", "http://plain.example/{digest}", "https://u:p@x.example/{digest}")),
		blobEntry(4, "https://x.example/{digest}"),
		blobEntry(5, engines("docker", "https://x.example/{digest}")),
	)
	var notes []discovery.Note
	named, err := oci.Parse("named.example/app#1")
	if err != nil {
		t.Fatal(err)
	}
	got := readWithin(t, content, oci.Within(named, func(n discovery.Note) { notes = append(notes, n) }))

	blob := ocispec.Descriptor{Digest: digest.FromString("x")}
	hex := blob.Digest.Encoded()
	for of, want := range map[int64][]string{
		0: {"https://all.example/" + hex, "https://named.example/x/" + hex},
		1: {"https://one.example/sha256/" + hex[:2] + "/" + hex, "https://10.0.0.1/" + hex},
		2: nil, 3: nil, 4: nil, 5: nil,
	} {
		var uris []string
		if l := got[of]; l != nil {
			for r, err := range l.Locate(t.Context(), blob) {
				if err != nil {
					t.Fatal(err)
				}
				uris = append(uris, r.URI)
				if r.Remote.Floor() != netclass.Public || r.Remote == 0 || r.Priority != locate.RemotePriority || r.Source == "" ||
					r.Origin != "casEngines of index "+string(digest.FromString(content)) {
					t.Errorf("of %d: route %+v", of, r)
				}
			}
		}
		if !slices.Equal(uris, want) {
			t.Errorf("of %d: %q, want %q", of, uris, want)
		}
	}
	says := []string{
		`casEngines[1]: "relative/`, `manifests[2].casEngines[0]: "file:`, `manifests[2].casEngines[1]: "http:`,
		"manifests[2].casEngines[2]: ", "manifests[3].casEngines: ", `manifests[4].casEngines[0]: unknown protocol "docker"`,
	}
	for _, want := range says {
		if !slices.ContainsFunc(notes, func(n discovery.Note) bool { return n.Ignored && strings.HasPrefix(n.Text, want) }) {
			t.Errorf("no note begins with %q", want)
		}
	}
	if len(notes) != len(says) {
		t.Errorf("notes %+v", notes)
	}
}

// However much of it there is, the rest of the index is as good, and few notes are
// made, each once.
func TestWithinHostile(t *testing.T) {
	many := engines("x", slices.Repeat([]string{"https://x.example/{digest}"}, oci.MaxEntries)...)
	entries := []map[string]any{
		blobEntry(1, engines(oci.ProtocolCASTemplate, "https://good.example/{digest}")),
		blobEntry(2, engines(oci.ProtocolCASTemplate, "https://x.example/"+strings.Repeat("a", 1<<20)+"{digest}")),
		blobEntry(3, engines(oci.ProtocolCASTemplate, slices.Repeat([]string{"https://x.example/{digest}"}, 1000)...)),
		blobEntry(4, json.RawMessage(strings.Repeat("[", 20)+strings.Repeat("]", 20))),
	}
	for i := range 1000 {
		entries = append(entries, blobEntry(10+i, many))
	}
	var notes []discovery.Note
	x := oci.Within(oci.Name{}, func(n discovery.Note) { notes = append(notes, n) })
	content := indexWith(nil, entries...)
	for range 2 {
		got := readWithin(t, content, x)
		if len(got) != 1 || got[1] == nil {
			t.Errorf("%d locators", len(got))
		}
	}
	if len(notes) != oci.MaxNotes+1 {
		t.Errorf("%d notes, want %d and one that says so", len(notes), oci.MaxNotes)
	}
	for i, want := range []string{"manifests[1].casEngines: 1048", "manifests[2].casEngines: ", "manifests[3].casEngines[0]: "} {
		if !strings.HasPrefix(notes[i].Text, want) {
			t.Errorf("note %d: %+v", i, notes[i])
		}
	}
	for _, n := range notes {
		if len(n.Text) > 400 {
			t.Errorf("a note of %d bytes", len(n.Text))
		}
	}
}

func FuzzWithin(f *testing.F) {
	f.Add(encode(engines(oci.ProtocolCASTemplate, "https://x.example/{algorithm}/{encoded:2}/{encoded}")))
	f.Add(`[{"protocol":"oci-cas-template-v1","uri":"//10.0.0.1/{digest}"},1,null]`)
	f.Fuzz(func(t *testing.T, value string) {
		blob := ocispec.Descriptor{Digest: digest.FromString("x")}
		read := oci.Within(oci.Name{}, nil).Read(image.Value{Path: "casEngines", JSON: []byte(value), Size: int64(len(value))})
		if read == nil {
			return
		}
		for r, err := range read.(locate.Locator).Locate(t.Context(), blob) {
			if err == nil && (!strings.HasPrefix(r.URI, "https://") || r.Remote != transport.RemotePublic) {
				t.Errorf("route %+v", r)
			}
		}
	})
}
