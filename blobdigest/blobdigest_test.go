package blobdigest_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/blobdigest"
)

func ExampleParse() {
	_, err := blobdigest.Parse("sha256:0BA904eae8773b70c75333db4de2f3ac45a8ad4ddba1b242f0b3cfc199391dd8")
	fmt.Println(err)
	// Output:
	// digest "sha256:0BA904eae8773b70c75333db4de2f3ac45a8ad4ddba1b242f0b3cfc199391dd8", character 9: malformed digest: upper-case hex; write it in lower case
}

func TestParse(t *testing.T) {
	h64, h128 := strings.Repeat("0a", 32), strings.Repeat("0a", 64)
	tests := []struct {
		name, in string
		want     error
		says     string
	}{
		{"sha256", "sha256:" + h64, nil, ""},
		{"sha512", "sha512:" + h128, nil, ""},
		{"blake3", "blake3:" + h64, nil, ""},
		{"empty", "", blobdigest.ErrMalformed, "no colon"},
		{"no colon", h64, blobdigest.ErrMalformed, "no colon"},
		{"no algorithm", ":" + h64, blobdigest.ErrUnsupported, "use sha256"},
		{"sha384 is not registered", "sha384:" + h64[:32] + h64, blobdigest.ErrUnsupported, "sha384"},
		{"upper-case algorithm", "SHA256:" + h64, blobdigest.ErrUnsupported, "SHA256"},
		{"upper-case hex", "sha256:A" + h64[1:], blobdigest.ErrMalformed, "character 8"},
		{"short", "sha256:" + h64[1:], blobdigest.ErrMalformed, "63 hex digits"},
		{"long", "sha256:" + h64 + "0", blobdigest.ErrMalformed, "65 hex digits"},
		{"sha512 of sha256 length", "sha512:" + h64, blobdigest.ErrMalformed, "where sha512 has 128"},
		{"empty hex", "sha256:", blobdigest.ErrMalformed, "0 hex digits"},
		{"path in hex", "sha256:../../../../etc/passwd", blobdigest.ErrMalformed, "'.'"},
		{"path in algorithm", "../sha256:" + h64, blobdigest.ErrUnsupported, "../sha256"},
		{"slash instead of colon", "sha256/" + h64, blobdigest.ErrMalformed, "no colon"},
		{"second colon", "sha256:" + h64 + ":1", blobdigest.ErrMalformed, "character 72"},
		{"NUL", "sha256:\x00" + h64[1:], blobdigest.ErrMalformed, "character 8"},
		{"newline after", "sha256:" + h64 + "\n", blobdigest.ErrMalformed, "character 72"},
		{"huge", strings.Repeat("x", 1<<20) + ":", blobdigest.ErrUnsupported, "…"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := blobdigest.Parse(tt.in)
			if tt.want == nil {
				if err != nil || string(got) != tt.in {
					t.Fatalf("Parse = %q, %v", got, err)
				}
				return
			}
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("error %v: want %v saying %q", err, tt.want, tt.says)
			}
			if len(err.Error()) > 1000 {
				t.Errorf("error is %d bytes long", len(err.Error()))
			}
		})
	}
}

// The empty input's digests, from FIPS 180-4 and the BLAKE3 paper.
func TestNewHash(t *testing.T) {
	empty := map[digest.Algorithm]string{
		blobdigest.SHA256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		blobdigest.SHA512: "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce" +
			"47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
		blobdigest.BLAKE3: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
	}
	for alg, want := range empty {
		h, err := blobdigest.NewHash(alg)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != want {
			t.Errorf("%s of nothing = %s, want %s", alg, got, want)
		}
		d, err := blobdigest.FromBytes(alg, nil)
		if err != nil || d.Encoded() != want {
			t.Errorf("FromBytes(%s) = %s, %v", alg, d, err)
		}
	}
	for _, alg := range []digest.Algorithm{"", "sha384", "md5", "SHA256"} {
		if _, err := blobdigest.NewHash(alg); !errors.Is(err, blobdigest.ErrUnsupported) {
			t.Errorf("NewHash(%q): %v", alg, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("sha256:" + strings.Repeat("0a", 32))
	f.Add("blake3:" + strings.Repeat("F", 64))
	f.Add("sha512:../../x")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := blobdigest.Parse(s)
		if err != nil {
			return
		}
		p := path.Join("blobs", string(d.Algorithm()), d.Encoded())
		if path.Dir(path.Dir(p)) != "blobs" || strings.ToLower(s) != s {
			t.Errorf("%q is not safe in a path: %s", s, p)
		}
		if _, err := blobdigest.NewHash(d.Algorithm()); err != nil {
			t.Error(err)
		}
	})
}
