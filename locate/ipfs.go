package locate

import (
	"context"
	"encoding/base32"
	"encoding/hex"
	"iter"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
	"github.com/waybill-project/waybill/transport"
)

// MaxIPFSBlock is the size of the largest blob whose CID is known from its digest,
// in bytes: gateways and peers pass on no larger block.
const MaxIPFSBlock = 2 << 20

// multihashes are the codes of the digests' hash functions, with the length of
// the hash (the multicodec table).
var multihashes = map[digest.Algorithm][]byte{
	blobdigest.SHA256: {0x12, 32},
	blobdigest.SHA512: {0x13, 64},
	blobdigest.BLAKE3: {0x1e, 32},
}

// IPFS is the locator of small blobs in IPFS: the CID (version 1, codec raw) of a
// blob that was put there as one block holds the blob's digest. Of blobs larger
// than [MaxIPFSBlock] it knows nothing; one of unknown size may be as small.
//
// Which gateways and routers are asked is for the transport of ipfs: to know. They
// learn what is looked for: it is for users to choose this.
func IPFS() Locator {
	return Func(func(_ context.Context, desc ocispec.Descriptor) iter.Seq2[transport.Route, error] {
		return func(yield func(transport.Route, error) bool) {
			if desc.Size > MaxIPFSBlock {
				return
			}
			if cid, ok := rawCID(desc.Digest); ok {
				yield(transport.Route{URI: "ipfs://" + cid, Source: "ipfs:", Priority: RemotePriority, Origin: "its digest as a CID"}, nil)
			}
		}
	})
}

// rawCID returns the CIDv1 of the block with a digest, in base32.
func rawCID(d digest.Digest) (string, bool) {
	if blobdigest.Validate(d) != nil {
		return "", false
	}
	hash, err := hex.DecodeString(d.Encoded())
	if err != nil {
		return "", false
	}
	const version, raw = 0x01, 0x55
	cid := append([]byte{version, raw}, multihashes[d.Algorithm()]...)
	return "b" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(append(cid, hash...))), true
}
