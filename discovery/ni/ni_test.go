package ni_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/discovery/ni"
)

// hello is what the examples of RFC 6920 §8 are about: "Hello World!".
const hello = "sha256:7f83b1657ff1fc53b92dc18148a1d65dfc2d4b1fa3d677284addd200126d9069"

func TestExamplesOfTheRFC(t *testing.T) {
	if d := digest.NewDigestFromBytes(digest.SHA256, sum("Hello World!")); d != hello {
		t.Fatalf("it is %s", d)
	}
	for in, want := range map[string]ni.URI{
		"ni:///sha-256;f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk":               {Digest: hello},
		"ni://example.com/sha-256;f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk":    {Authority: "example.com", Digest: hello},
		"ni:///sha-256;f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk?ct=text/plain": {Digest: hello, ContentType: "text/plain"},
		"ni:///sha-256;UyaQV-Ev4rdLoHyJJWCi11OHfrYv9E1aGQAlMO2X_-Q": {
			Digest: "sha256:53269057e12fe2b74ba07c892560a2d753877eb62ff44d5a19002530ed97ffe4"},
	} {
		got, err := ni.Parse(in)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v", in, got, err)
		}
		if s := got.String(); s != in {
			t.Errorf("written again: %s, want %s", s, in)
		}
	}
	if p, ok := ni.Path(hello); !ok || p != "/.well-known/ni/sha-256/f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk" {
		t.Errorf("the path is %q, %v", p, ok)
	}
}

func sum(s string) []byte {
	h := sha256.Sum256([]byte(s))
	return h[:]
}

func TestParseMore(t *testing.T) {
	long := digest.SHA512.FromString("x")
	for in, want := range map[string]ni.URI{
		"NI://H.Example:8443/sha-256;f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk":      {Authority: "h.example:8443", Digest: hello},
		"ni://[::1]/sha-256;f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk?x=y&z":         {Authority: "[::1]", Digest: hello},
		ni.URI{Digest: long}.String():                                                  {Digest: long},
		"ni:///sha-256;f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk?ct=image/svg%2Bxml": {Digest: hello, ContentType: "image/svg+xml"},
	} {
		if got, err := ni.Parse(in); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"ni://h.example", "ni://h.example/"} {
		if got, err := ni.ParseSource(in); err != nil || got != (ni.URI{Authority: "h.example"}) || got.String() != "ni://h.example" {
			t.Errorf("%s: got %+v, %v", in, got, err)
		}
		if _, err := ni.Parse(in); err == nil {
			t.Errorf("%s names a hash", in)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	const val = "f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk"
	for in, says := range map[string]string{
		"":                                "scheme",
		"nih:3;532690-57e12f-e2b74b;":     "scheme",
		"https://h/sha-256;" + val:        "scheme",
		"ni:sha-256;" + val:               "want ni:///",
		"ni:/sha-256;" + val:              "want ni:///",
		"ni:///":                          "no hash",
		"ni://":                           "no hash",
		"ni://h?ct=x":                     "no hash",
		"ni:///sha-256":                   "no ';'",
		"ni:///sha-256;":                  "0 bytes",
		"ni:///sha-256;AAAA":              "3 bytes",
		"ni:///sha-256;" + val + "=":      "padding",
		"ni:///sha-256;" + val[:42] + "l": "base64url", // its last bits aren't zero
		"ni:///sha-256;" + strings.ReplaceAll(val, "_", "/"):       "base64url",
		"ni:///sha-256-128;f4OxZX_x_FO5LcGBSKHWXQ":                 "truncated",
		"ni:///sha-256-32;f4OxZQ":                                  "truncated",
		"ni:///sha-512;" + val:                                     "32 bytes",
		"ni:///SHA-256;" + val:                                     "unknown algorithm",
		"ni:///sha256;" + val:                                      "unknown algorithm",
		"ni:///blake3;" + val:                                      "unknown algorithm",
		"ni:///../sha-256;" + val:                                  "unknown algorithm",
		"ni://ann:s3cret@h/sha-256;" + val:                         "credentials",
		"ni://:80/sha-256;" + val:                                  "port without",
		"ni:///sha-256;" + val + "#x":                              "fragment",
		"ni:///sha-256;" + val + "?ct=a&ct=b":                      "more than once",
		"ni:///sha-256;" + val + "?ct=a%0Ab":                       "content type",
		"ni:///sha-256;" + val + "?ct=" + strings.Repeat("a", 256): "limit is 255",
		"ni:///sha-256;" + val + "?%zz":                            "query",
		"ni:///sha-256;" + strings.Repeat("A", 1024):               "limit is 1024",
		"ni://h:x/": "RFC 3986",
	} {
		got, err := ni.Parse(in)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %+v, %v; want %q", in, got, err, says)
		}
	}
}

func TestDigestsWithoutAName(t *testing.T) {
	for _, d := range []digest.Digest{
		"", "sha256:x", "blake3:" + digest.Digest(hello[7:]), "sha256:../" + digest.Digest(hello[10:]), "md5:d41d8cd98f00b204e9800998ecf8427e",
	} {
		if p, ok := ni.Path(d); ok || ni.Named(d) {
			t.Errorf("%s: %q", d, p)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("ni://example.com/sha-256;f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk?ct=text/plain")
	f.Add("ni://h")
	f.Add("ni:///sha-256-32;f4OxZQ")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ni.ParseSource(s)
		if err != nil {
			return
		}
		again, err := ni.ParseSource(u.String())
		if err != nil || again != u {
			t.Errorf("%q: %+v is written %q and read %+v, %v", s, u, u, again, err)
		}
		if u.Digest != "" && !ni.Named(u.Digest) {
			t.Errorf("%q: %+v", s, u)
		}
	})
}

func ExamplePath() {
	u, err := ni.Parse("ni:///sha-256;f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk")
	if err != nil {
		fmt.Println(err)
		return
	}
	path, _ := ni.Path(u.Digest)
	fmt.Println(path)
	// Output: /.well-known/ni/sha-256/f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk
}
