package locate_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
	"github.com/waybill-project/waybill/locate"
)

func TestIPFS(t *testing.T) {
	// kubo names "hello world\n" so: ipfs add --cid-version=1
	const hello = "ipfs://bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4"
	content := []byte("hello world\n")
	if got := routes(t, locate.IPFS(), ocispec.Descriptor{Digest: digest.FromBytes(content), Size: int64(len(content))}); !slices.Equal(got, []string{hello}) {
		t.Errorf("got %q", got)
	}
	// A digest that somebody typed has no size.
	if got := routes(t, locate.IPFS(), ocispec.Descriptor{Digest: digest.FromBytes(content), Size: -1}); !slices.Equal(got, []string{hello}) {
		t.Errorf("of unknown size: %q", got)
	}
	for _, algorithm := range []digest.Algorithm{blobdigest.SHA256, blobdigest.SHA512, blobdigest.BLAKE3} {
		d, err := blobdigest.FromBytes(algorithm, content)
		if err != nil {
			t.Fatal(err)
		}
		got := routes(t, locate.IPFS(), ocispec.Descriptor{Digest: d, Size: locate.MaxIPFSBlock})
		if len(got) != 1 {
			t.Fatalf("%s: %q", d, got)
		}
		c, err := cid.Decode(strings.TrimPrefix(got[0], "ipfs://"))
		if err != nil || c.Version() != 1 || c.Type() != cid.Raw || !strings.HasSuffix(c.Hash().HexString(), d.Encoded()) {
			t.Errorf("%s: %v, %v", d, c, err)
		}
	}
	for name, desc := range map[string]ocispec.Descriptor{
		"large":     {Digest: empty.Digest, Size: locate.MaxIPFSBlock + 1},
		"malformed": {Digest: "sha256:../..", Size: 1}, "another algorithm": {Digest: "md5:d41d8cd98f00b204e9800998ecf8427e", Size: 0},
	} {
		if got := routes(t, locate.IPFS(), desc); got != nil {
			t.Errorf("%s: %q", name, got)
		}
	}
}
