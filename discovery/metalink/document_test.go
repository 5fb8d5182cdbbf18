package metalink_test

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/discovery/metalink"
)

// example is that of RFC 5854 §1.2, with a sha-256 hash that descriptors may use.
const example = `<?xml version="1.0" encoding="UTF-8"?>
<metalink xmlns="urn:ietf:params:xml:ns:metalink">
  <published>2009-05-15T12:23:23Z</published>
  <file name="example.ext">
    <size>14471447</size>
    <identity>Example</identity>
    <version>1.0</version>
    <language>en</language>
    <description>A description of the example file for download.</description>
    <hash type="md5">d41d8cd98f00b204e9800998ecf8427e</hash>
    <hash type="sha-256">F0AD929CD259957E160EA442EB80986B5F01DF2CBDB6B43A5F9CCA5AAD6ACC5F</hash>
    <pieces length="10000000" type="sha-256">
      <hash>2b3b3bf87c8a6d7e4e2d1c5a5ee3e0cf5e6c2f3f9a3a4a5b5c5d5e5f60616263</hash>
      <hash>2b3b3bf87c8a6d7e4e2d1c5a5ee3e0cf5e6c2f3f9a3a4a5b5c5d5e5f60616264</hash>
    </pieces>
    <url location="de" priority="1">ftp://ftp.example.com/example.ext</url>
    <url location="fr" priority="1">http://example.com/example.ext</url>
    <metaurl mediatype="torrent" priority="2">http://example.com/example.ext.torrent</metaurl>
    <url> https://example.org/example.ext
    </url>
  </file>
  <file name="example2.ext">
    <size>14471447</size>
    <hash type="sha-256">2f548ce50c459a0270e85a7d63b2383c5523f2e2f2c4b3c6d6e6a7b7c7d7e7f7</hash>
    <url location="de" priority="1">ftp://ftp.example.com/example2.ext</url>
    <x:url xmlns:x="urn:other">ftp://other.example.com/</x:url>
  </file>
</metalink>`

func TestParse(t *testing.T) {
	files, err := metalink.Parse([]byte(example), func(n string) { t.Errorf("noted %s", n) })
	if err != nil || len(files) != 2 {
		t.Fatalf("got %+v, %v", files, err)
	}
	f := files[0]
	if f.Name != "example.ext" || f.Size != 14471447 || len(f.Digests) != 1 ||
		f.Digests[0] != "sha256:f0ad929cd259957e160ea442eb80986b5f01df2cbdb6b43a5f9cca5aad6acc5f" {
		t.Errorf("got %+v", f)
	}
	if want := []metalink.URL{
		{URI: "ftp://ftp.example.com/example.ext", Priority: 1, Location: "de"},
		{URI: "http://example.com/example.ext", Priority: 1, Location: "fr"},
		{URI: "https://example.org/example.ext", Priority: metalink.LeastPriority},
	}; !slices.Equal(f.URLs, want) {
		t.Errorf("got %+v", f.URLs)
	}
	if len(f.MetaURLs) != 1 || f.MetaURLs[0].MediaType != "torrent" || f.MetaURLs[0].Priority != 2 {
		t.Errorf("got %+v", f.MetaURLs)
	}
	if p := f.Pieces; p == nil || p.Length != 10_000_000 || len(p.Hashes) != 2 ||
		hex.EncodeToString(p.Hashes[1])[56:] != "60616264" || !p.Cover(f.Size) || p.Cover(10_000_000) || p.Cover(20_000_001) {
		t.Errorf("got %+v", f.Pieces)
	}
	if f := files[1]; f.Pieces != nil || len(f.URLs) != 1 {
		t.Errorf("got %+v", f)
	}
}

// in is a metalink around the content of one file.
func in(file string) string {
	return `<metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="f">` + file + `</file></metalink>`
}

func TestParseRefuses(t *testing.T) {
	piece := "<hash>" + strings.Repeat("ab", 32) + "</hash>"
	for name, tt := range map[string]struct{ content, says string }{
		"nothing":                  {"", "no element"},
		"no XML":                   {"{}", "no element"},
		"in the middle":            {in("")[:70], "not XML"},
		"not closed":               {`<metalink xmlns="urn:ietf:params:xml:ns:metalink"><file>`, "not XML"},
		"version 3":                {`<metalink version="3.0" xmlns="http://www.metalinker.org/"/>`, "want metalink of urn:"},
		"no namespace":             {`<metalink/>`, "want metalink of urn:"},
		"two roots":                {in("") + in(""), "second root"},
		"entities":                 {`<!DOCTYPE m [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>` + in("<url>&b;</url>"), "document type declaration"},
		"an external entity":       {`<!DOCTYPE m SYSTEM "file:///etc/passwd">` + in(""), "document type declaration"},
		"an entity of its own":     {in("<url>&b;</url>"), "not XML"},
		"another encoding":         {`<?xml version="1.0" encoding="utf-7"?>` + in(""), "not XML"},
		"nested":                   {in(strings.Repeat("<a>", 20)), "limit of 16"},
		"nested in another space":  {in(strings.Repeat("<a xmlns='x'>", 20)), "limit of 16"},
		"attributes":               {in("<url" + repeat(` a%d="x"`, 40) + "/>"), "limit is 32"},
		"a long attribute":         {in(`<url name="` + strings.Repeat("a", 9000) + `"/>`), "limit is 8192"},
		"a long text":              {in("<url>" + strings.Repeat("a", 9000) + "</url>"), "limit of 8192"},
		"a long text in pieces":    {in("<url>" + strings.Repeat("a<!-- -->", 9000) + "</url>"), "limit of 8192"},
		"an element in a url":      {in("<url>a<b/></url>"), "element where text"},
		"many files":               {strings.Replace(in(""), `<file name="f"></file>`, strings.Repeat("<file/>", 1001), 1), "limit of 1000"},
		"many urls":                {in(strings.Repeat("<url>u</url>", 501)), "limit of 500"},
		"many hashes":              {in(strings.Repeat(`<hash type="sha-256">`+strings.Repeat("ab", 32)+`</hash>`, 501)), "limit of 500"},
		"a size that is none":      {in("<size>-1</size>"), "no size"},
		"a size beyond all":        {in("<size>99999999999999999999</size>"), "no size"},
		"two sizes":                {in("<size>1</size><size>1</size>"), "second one"},
		"pieces without a length":  {in(`<pieces type="sha-256">` + piece + `</pieces>`), "no length"},
		"pieces of length 0":       {in(`<pieces type="sha-256" length="0">` + piece + `</pieces>`), "no length"},
		"pieces of another length": {in(`<pieces type="sha-256" length="1"><hash>ab</hash></pieces>`), "no sha-256 hash"},
		"pieces twice":             {in(strings.Repeat(`<pieces type="sha-256" length="1">`+piece+`</pieces>`, 2)), "twice"},
		"10 MB":                    {in(strings.Repeat(" ", 10<<20)), "limit is 4194304"},
	} {
		t.Run(name, func(t *testing.T) {
			files, err := metalink.Parse([]byte(tt.content), nil)
			if err == nil || !strings.Contains(err.Error(), tt.says) || len(err.Error()) > 300 || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %+v, %v; want %q", files, err, tt.says)
			}
		})
	}
}

func repeat(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// What is wrong with one entry costs that entry.
func TestParseSkips(t *testing.T) {
	var notes []string
	files, err := metalink.Parse([]byte(in(`
		<size>10</size>
		<hash type="sha-256">xyz</hash> <hash type="sha-256">ab</hash> <hash>x</hash> <hash type="sha-1">x</hash>
		<pieces type="sha-1" length="x"><hash>x</hash></pieces>
		<pieces type="sha-256" length="3"><hash>`+strings.Repeat("ab", 32)+`</hash></pieces>
		<url priority="0">a</url> <url priority="1000000">b</url> <url priority="x">c</url> <url priority="7">d</url>`)),
		func(n string) { notes = append(notes, n) })
	if err != nil || len(files) != 1 {
		t.Fatalf("got %+v, %v", files, err)
	}
	f := files[0]
	if len(f.Digests) != 0 || f.Pieces != nil || len(f.URLs) != 1 || f.URLs[0].URI != "d" {
		t.Errorf("got %+v", f)
	}
	if len(notes) != 6 {
		t.Errorf("noted %q", notes)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte(in(`<pieces type="sha-256" length="1"><hash>ab</hash></pieces>`)))
	f.Add([]byte(`<!DOCTYPE m [<!ENTITY a "a">]>`))
	f.Fuzz(func(t *testing.T, content []byte) {
		files, err := metalink.Parse(content, nil)
		if err != nil {
			return
		}
		for _, file := range files {
			if file.Size < -1 || len(file.URLs)+len(file.MetaURLs) > metalink.MaxURLs || file.Pieces != nil && file.Pieces.Length <= 0 {
				t.Errorf("%q: %+v", content, file)
			}
		}
	})
}
