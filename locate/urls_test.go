package locate_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/locate"
	"github.com/waybill-project/waybill/transport"
)

// routes collects what a locator says.
func routes(t *testing.T, l locate.Locator, desc ocispec.Descriptor) (uris []string) {
	t.Helper()
	for r, err := range l.Locate(t.Context(), desc) {
		if err != nil {
			t.Errorf("got %v", err)
			continue
		}
		uris = append(uris, r.URI)
	}
	return uris
}

func TestURLs(t *testing.T) {
	var notes []string
	l := locate.URLs(func(n locate.Note) {
		if n.Where != "urls of "+string(empty.Digest) || strings.Contains(n.Text, "\n") {
			t.Errorf("got %+v", n)
		}
		notes = append(notes, n.Text)
	})
	desc := empty
	desc.URLs = []string{
		"https://h.example/a?sig=1", "http://h.example:81/a", "ftp://h.example/d/f.tgz", "ftp://h.example/d/f.tgz;type=i",
		"ipfs://bafkqaaa", "magnet:?xt=urn:btih:1&dn=x#f", "https://h.example/a?sig=1",
		"file:///etc/shadow", "ssh://h.example/x", "sftp://h.example/x", "docker://h.example/x", "exec://x", "data:,x", "oci:/x",
		"https://ann:s3cret@h.example/a?sig=s3cret", "https://ann@h.example/a", "ftp://ann:s3cret@h.example/f",
		"ftp://h.example/d/", "ftp://h.example", "ftp://h.example/f;type=a", "ftp://h.example/f;type=d",
		"https:///a", "https://h.example/a#b", "https://h.example/a b", "https://h.example/\x00", "//h.example/a", "a", "",
		"https://h.example/" + strings.Repeat("a", 10_000), "magnet:?xt=urn:btih:1&x.pe=10.0.0.1:80", "HTTPS://h.example/%zz:s3cret@",
	}
	var got []string
	for r, err := range l.Locate(t.Context(), desc) {
		if err != nil || r.Remote != transport.RemotePublic || r.Origin != "urls of the descriptor" || r.Priority < locate.RemotePriority {
			t.Errorf("got %+v, %v", r, err)
		}
		got = append(got, r.URI)
	}
	want := []string{"https://h.example/a?sig=1", "http://h.example:81/a", "ftp://h.example/d/f.tgz;type=i", "ipfs://bafkqaaa", "magnet:?xt=urn:btih:1&dn=x#f"}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
	refused := desc.URLs[7:]
	if len(notes) != len(refused) {
		t.Fatalf("%d notes for %d refused:\n%s", len(notes), len(refused), strings.Join(notes, "\n"))
	}
	for i, n := range notes {
		if strings.Contains(n, "s3cret") || len(n) > 300 {
			t.Errorf("%s: %s", refused[i], n)
		}
	}
	for i, says := range []string{`scheme "file"`, `scheme "ssh"`, "", "", "", "", "", "credentials", "credentials", "credentials", "directory", "directory", `type "a"`} {
		if !strings.Contains(notes[i], says) {
			t.Errorf("%s: %s", refused[i], notes[i])
		}
	}
}

func TestURLsAreBounded(t *testing.T) {
	var notes []string
	l := locate.URLs(func(n locate.Note) { notes = append(notes, n.Text) })
	desc := empty
	for i := range image.MaxURLs + 10 {
		desc.URLs = append(desc.URLs, fmt.Sprintf("https://h.example/%d", i))
	}
	if n := len(routes(t, l, desc)); n != image.MaxURLs {
		t.Errorf("%d routes", n)
	}
	if len(notes) != 1 || !strings.Contains(notes[0], "the limit is") {
		t.Errorf("notes %q", notes)
	}
	for range l.Locate(t.Context(), desc) {
		break // nobody listens any more
	}
	if got := routes(t, locate.URLs(nil), ocispec.Descriptor{Digest: empty.Digest, URLs: []string{"file:///x"}}); got != nil {
		t.Errorf("got %q", got)
	}
	if got := routes(t, l, empty); got != nil {
		t.Errorf("of no urls: %q", got)
	}
}

func TestNamedInformation(t *testing.T) {
	l, err := locate.NamedInformation("https://h.example", "http://mirror.example:81/")
	if err != nil {
		t.Fatal(err)
	}
	const path = "/.well-known/ni/sha-256/47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
	var got []transport.Route
	for r, err := range l.Locate(t.Context(), empty) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	want := []transport.Route{
		{URI: "https://h.example" + path, Source: "https://h.example/.well-known/ni/", Origin: "well-known of h.example", Priority: locate.RemotePriority},
		{URI: "http://mirror.example:81" + path, Source: "http://mirror.example:81/.well-known/ni/", Origin: "well-known of http://mirror.example:81", Priority: locate.RemotePriority},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
	for _, d := range []digest.Digest{"blake3:" + hex, "sha256:../..", ""} {
		if got := routes(t, l, ocispec.Descriptor{Digest: d}); got != nil {
			t.Errorf("%s: %q", d, got)
		}
	}
	for _, bad := range []string{"h.example", "https://", "ftp://h.example", "https://h.example/x", "https://ann:pw@h.example", "https://h.example?x", "https://h:x"} {
		if _, err := locate.NamedInformation(bad); err == nil || strings.Contains(err.Error(), "pw") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestFromNI(t *testing.T) {
	const value = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
	other := ocispec.Descriptor{Digest: digest.FromString("other")}
	for _, uri := range []string{"ni://h.example:8443", "ni://h.example:8443/", "ni://h.example:8443/sha-256;" + value} {
		l, err := locate.From(uri, "--from")
		if err != nil {
			t.Fatal(err)
		}
		if got := routes(t, l, empty); !slices.Equal(got, []string{"https://h.example:8443/.well-known/ni/sha-256/" + value}) {
			t.Errorf("%s: %q", uri, got)
		}
		if got := routes(t, l, other); len(got) == 1 == strings.Contains(uri, value) {
			t.Errorf("%s, another blob: %q", uri, got)
		}
	}
	for uri, says := range map[string]string{
		"ni:///sha-256;" + value:           "names no host",
		"ni:sha-256;" + value:              "want ni:///",
		"ni://h.example/sha-256-32;f4OxZQ": "truncated",
		"ni://ann:pw@h.example":            "credentials",
	} {
		if _, err := locate.From(uri, ""); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "pw") {
			t.Errorf("%s: %v", uri, err)
		}
	}
}
