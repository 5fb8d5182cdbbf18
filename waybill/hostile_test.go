package waybill_test

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/waybill"
)

const (
	head    = `{"mediaType":"application/vnd.waybill.v1+json","issued":"2026-01-01T00:00:00Z","expires":"2026-02-01T00:00:00Z","sequence":1`
	digestA = "sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"
)

// routes returns a document with one consignment of n routes.
func routes(n int, uri string) string {
	list := strings.TrimSuffix(strings.Repeat(fmt.Sprintf(`{"uri":%q,"priority":1},`, uri), n), ",")
	return head + `,"consignments":[{"digest":"` + digestA + `","size":1,"routes":[` + list + `]}]}`
}

// consignments returns a document with n consignments of m routes each.
func consignments(n, m int) string {
	var b strings.Builder
	b.WriteString(head + `,"consignments":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"digest":"sha256:%064x","size":1`, i)
		if m > 0 {
			b.WriteString(`,"routes":[` + strings.TrimSuffix(strings.Repeat(`{"uri":"a","priority":1},`, m), ",") + `]`)
		}
		b.WriteByte('}')
	}
	b.WriteString(`]}`)
	return b.String()
}

func TestHostileDocuments(t *testing.T) {
	tests := []struct {
		name, content string
		kind          error
		says          string
	}{
		{"10 MB", head + `,"x":"` + strings.Repeat("x", 10<<20) + `"}`, waybill.ErrLimit, "more than 4194304 bytes"},
		{"10 MB of spaces", strings.Repeat(" ", 10<<20), waybill.ErrLimit, "more than 4194304 bytes"},
		{"4 MiB of spaces", strings.Repeat(" ", waybill.MaxDocument), waybill.ErrSyntax, "it ends at byte"},
		{"2,000,000 arrays", head + `,"x":` + strings.Repeat("[", 2_000_000), waybill.ErrLimit, "nested deeper than 16"},
		{"500,000 objects", head + `,"x":` + strings.Repeat(`{"a":`, 500_000), waybill.ErrLimit, "nested deeper than 16"},
		{"arrays and nothing else", strings.Repeat("[", waybill.MaxDocument), waybill.ErrInvalid, "an array where an object is wanted"},
		{"100,000 routes", routes(100_000, "https://a.example"), waybill.ErrLimit, "more than 64 routes"},
		{"100,000 consignments", consignments(100_000, 0), waybill.ErrLimit, "more than 4194304 bytes"},
		{"20,000 consignments", consignments(20_000, 0), waybill.ErrLimit, "more than 10000 consignments"},
		{"100,000 carriers", head + `,"carriers":[` + strings.Repeat(`{"protocol":"p","uri":"u"},`, 100_000) + `{}]}`, waybill.ErrLimit, "more than 256 carriers"},
		{"a template of a million characters", head + `,"carriers":[{"protocol":"oci-cas-template-v1","uri":"https://a.example/{encoded}` + strings.Repeat("x", 1_000_000) + `"}]}`, waybill.ErrLimit, "a URI of more than 4096 bytes"},
		{"a URI of a million characters", routes(1, "https://a.example/"+strings.Repeat("x", 1_000_000)), waybill.ErrLimit, "a URI of more than 4096 bytes"},
		{"a number of a million digits", head + `,"carriers":[{"protocol":"p","uri":"u","priority":` + strings.Repeat("9", 1_000_000) + `}]}`, waybill.ErrInvalid, "isn't from 1 to 999999"},
		{"an exponent of a million digits", head + `,"carriers":[{"protocol":"p","uri":"u","priority":1e` + strings.Repeat("9", 1_000_000) + `}]}`, waybill.ErrInvalid, "plain digits"},
		{"a key of a million characters", head + `,"` + strings.Repeat("k", 1_000_000) + `":[}`, waybill.ErrSyntax, "not JSON"},
		{"a key of a million characters twice", head + strings.Repeat(`,"`+strings.Repeat("k", 1_000_000)+`":1`, 2) + `}`, waybill.ErrSyntax, "is there twice"},
		{"a million keys", head + `,"x":{` + manyKeys(300_000) + `}}`, waybill.ErrLimit, "more than 1000 members"},
		{"a digest of a million characters", head + `,"consignments":[{"digest":"sha256:` + strings.Repeat("0", 1_000_000) + `","size":1}]}`, waybill.ErrLimit, "a digest of more than"},
		{"a media type of a million characters", `{"mediaType":"` + strings.Repeat("x", 1_000_000) + `"}`, waybill.ErrLimit, "a media type of more than"},
		{"random bytes", strings.Repeat("\xfe\x00\x81", 1000), waybill.ErrSyntax, "isn't UTF-8"},
		{"NULs", strings.Repeat("\x00", 1000), waybill.ErrSyntax, "not JSON"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			content := []byte(tt.content)
			var err error
			allocated := allocates(func() { _, err = waybill.Parse(content) })
			if !errors.Is(err, tt.kind) {
				t.Fatalf("got %v, want %v", err, tt.kind)
			}
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q in it", err, tt.says)
			}
			checkLine(t, err)
			checkMemory(t, allocated)
		})
	}
}

// manyKeys returns n members with names of their own.
func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"%d":0,`, i)
	}
	return b.String() + `"":0`
}

// TestLargestDocuments: what is just within the limits is read, and takes memory
// in proportion to its size.
func TestLargestDocuments(t *testing.T) {
	tests := map[string]string{
		"consignments":     consignments(waybill.MaxConsignments, 10),
		"routes":           routes(waybill.MaxRoutes, "https://a.example/"+strings.Repeat("x", waybill.MaxURI-len("https://a.example/"))),
		"what is unknown":  head + `,"x":[` + strings.Repeat("[],", waybill.MaxDocument/4) + `0]}`,
		"to the last byte": head + `,"x":"` + strings.Repeat("x", waybill.MaxDocument-len(head)-len(`,"x":""}`)) + `"}`,
	}
	for name, content := range tests {
		t.Run(name, func(t *testing.T) {
			if len(content) > waybill.MaxDocument {
				t.Fatalf("%d bytes", len(content))
			}
			var d *waybill.Document
			var err error
			allocated := allocates(func() { d, err = waybill.Read(strings.NewReader(content)) })
			if err != nil {
				t.Fatal(err)
			}
			checkMemory(t, allocated)
			places, err := d.Places(waybill.From{Base: "https://b.example/"})
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, err := range places.Routes(ocispec.Descriptor{Digest: digestA, Size: 1}) {
				if err != nil {
					t.Fatal(err)
				}
				n++
			}
			if want := map[string]int{"routes": waybill.MaxRoutes}[name]; n != want {
				t.Errorf("%d routes, want %d", n, want)
			}
		})
	}
}

// TestReadStopsAtTheLimit: no more is taken from a body that never ends.
func TestReadStopsAtTheLimit(t *testing.T) {
	body := &endless{}
	_, err := waybill.Read(body)
	if !errors.Is(err, waybill.ErrLimit) {
		t.Errorf("got %v", err)
	}
	if body.read != waybill.MaxDocument+1 {
		t.Errorf("%d bytes were read, want %d", body.read, waybill.MaxDocument+1)
	}
	if _, err := waybill.Read(io.MultiReader(strings.NewReader(head), broken{})); !errors.Is(err, errBroken) {
		t.Errorf("got %v, want the reader's own error", err)
	}
}

type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.read += len(p)
	return len(p), nil
}

var errBroken = errors.New("broken")

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errBroken }

// allocates returns how many bytes f allocates, freed ones too.
func allocates(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// checkMemory checks that reading a document allocated, in all, no more than
// some multiple of the largest one's size. Most of it are tokens that are garbage
// at once.
func checkMemory(t *testing.T, allocated uint64) {
	t.Helper()
	if allocated > 48*waybill.MaxDocument {
		t.Errorf("%d bytes were allocated", allocated)
	}
}

func FuzzParse(f *testing.F) {
	for _, dir := range []string{"valid", "invalid"} {
		for _, content := range vectorFiles(f, dir) {
			f.Add(content)
		}
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		d, err := waybill.Parse(content)
		if err != nil {
			kindOf(t, err)
			checkLine(t, err)
			return
		}
		first, err := d.Marshal()
		if err != nil {
			t.Fatalf("parsed, but can't be written: %v", err)
		}
		if len(first) > len(content) {
			t.Errorf("the canonical form is longer than what was read:\n%s", first)
		}
		again, err := waybill.Parse(first)
		if err != nil {
			t.Fatalf("written, but can't be parsed: %v\n%s", err, first)
		}
		second, err := again.Marshal()
		if err != nil || string(second) != string(first) {
			t.Fatalf("written twice:\n%s\n%s\n%v", first, second, err)
		}
		d.Sort()
		checkSame(t, again, d)
		checkAnswers(t, d)
	})
}

// checkAnswers asks a document for everything it speaks of.
func checkAnswers(t *testing.T, d *waybill.Document) {
	t.Helper()
	places, err := d.Places(waybill.From{Base: "https://base.example/a/b.json"})
	if err != nil {
		t.Fatal(err)
	}
	descs := []ocispec.Descriptor{{Digest: digestA, Size: -1}}
	for _, c := range d.Consignments {
		descs = append(descs, ocispec.Descriptor{Digest: c.Digest, Size: c.Size})
	}
	for _, desc := range descs[:min(len(descs), 4)] {
		last := 0
		for e, err := range places.Routes(desc) {
			if err != nil {
				checkLine(t, err)
				continue
			}
			checkEntry(t, e)
			if e.Priority < last {
				t.Errorf("%s: priority %d after %d", e.Where, e.Priority, last)
			}
			last = e.Priority
		}
		for range places.Aliases(desc) {
		}
		if hints, ok, _ := places.Pieces(desc); ok && hints.Data != nil {
			if _, err := hints.Open(hints.Size, hints.Data); err != nil {
				t.Error(err)
			}
		}
	}
}

func FuzzPlaces(f *testing.F) {
	for _, content := range vectorFiles(f, "valid") {
		d, err := waybill.Parse(content)
		if err != nil {
			f.Fatal(err)
		}
		for _, c := range d.Carriers {
			f.Add(c.Protocol, c.URI, c.Repository, "https://base.example/a/")
		}
		for _, c := range d.Consignments {
			for _, r := range c.Routes {
				f.Add("", r.URI, "", "sftp://user:password@base.example/a/b")
			}
		}
	}
	f.Fuzz(func(t *testing.T, protocol, uri, repository, base string) {
		d := &waybill.Document{
			Issued: time.Unix(0, 0), Expires: time.Unix(1, 0),
			Carriers:     []waybill.Carrier{{Protocol: protocol, URI: uri, Repository: repository}},
			Consignments: []waybill.Consignment{{Digest: digestA, Size: 1, Routes: []waybill.Route{{URI: uri, Priority: 1}}}},
		}
		places, err := d.Places(waybill.From{Base: base})
		if err != nil {
			checkLine(t, err)
			return
		}
		for err := range places.Refused() {
			checkLine(t, err)
		}
		for _, dgst := range []digest.Digest{digestA, digest.FromString(uri)} {
			for e, err := range places.Routes(ocispec.Descriptor{Digest: dgst, Size: 1}) {
				if err != nil {
					checkLine(t, err)
					continue
				}
				checkEntry(t, e)
			}
		}
	})
}
