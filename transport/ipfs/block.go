package ipfs

import (
	"bytes"
	"container/list"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/blobdigest"
)

const (
	// MaxBlock is the largest block that is read, in bytes: what bitswap and
	// trustless gateways exchange.
	MaxBlock = 2 << 20
	// maxIdentity is the largest block a CID may hold itself, in bytes, as in
	// boxo.
	maxIdentity = 128
	// maxCID bounds the text of a CID.
	maxCID = 256
	// minHash is the shortest hash that is believed, in bytes: a multihash may
	// be cut short, and its content then be forged.
	minHash = 32
)

// errMismatch says that a block is not the one its CID names.
var errMismatch = errors.New("block does not match its CID")

// hashes are the hash functions of CIDs that are believed.
var hashes = map[uint64]bool{
	multihash.IDENTITY:         true,
	multihash.SHA2_256:         true,
	multihash.SHA2_512:         true,
	multihash.BLAKE3:           true,
	multihash.BLAKE2B_MIN + 31: true, // blake2b-256
}

// parseCID reads a CID of something that this package can read.
func parseCID(s string) (cid.Cid, error) {
	if len(s) > maxCID {
		return cid.Undef, fmt.Errorf("a CID of more than %d characters", maxCID)
	}
	c, err := cid.Decode(s)
	if err != nil {
		return cid.Undef, fmt.Errorf("%q is not a CID", s)
	}
	return c, checkCID(c)
}

// checkCID reports why a CID can't be read: its codec is none of UnixFS's, or
// its hash is none to believe.
func checkCID(c cid.Cid) error {
	p := c.Prefix()
	if p.Codec != cid.Raw && p.Codec != cid.DagProtobuf {
		return fmt.Errorf("CID %s has codec 0x%x; only raw and dag-pb (UnixFS) hold files", c, p.Codec)
	}
	switch {
	case !hashes[p.MhType]:
		return fmt.Errorf("CID %s has hash function 0x%x; known are sha2-256, sha2-512, blake2b-256, blake3 and identity", c, p.MhType)
	case p.MhType == multihash.IDENTITY && p.MhLength > maxIdentity:
		return fmt.Errorf("CID %.80s… holds more than %d bytes", c, maxIdentity)
	case p.MhType != multihash.IDENTITY && p.MhLength < minHash:
		return fmt.Errorf("CID %s has a hash of only %d bytes; at least %d are wanted", c, p.MhLength, minHash)
	}
	return nil
}

// inline returns the block that a CID itself holds.
func inline(c cid.Cid) ([]byte, bool) {
	h, err := multihash.Decode(c.Hash())
	if err != nil || h.Code != multihash.IDENTITY {
		return nil, false
	}
	return h.Digest, true
}

// verify returns an error that is errMismatch unless block is the one that c
// names.
func verify(c cid.Cid, block []byte) error {
	h, err := multihash.Decode(c.Hash())
	if err != nil {
		return fmt.Errorf("%w: %w", errMismatch, err)
	}
	if h.Code == multihash.SHA2_256 {
		sum := sha256.Sum256(block)
		if !bytes.Equal(sum[:], h.Digest) {
			return errMismatch
		}
		return nil
	}
	sum, err := multihash.Sum(block, h.Code, h.Length)
	if err != nil {
		return fmt.Errorf("%w: %w", errMismatch, err)
	}
	if !bytes.Equal(sum, c.Hash()) {
		return errMismatch
	}
	return nil
}

// codes are the multihash codes of the registered digest algorithms.
var codes = map[digest.Algorithm]uint64{
	digest.SHA256:     multihash.SHA2_256,
	digest.SHA512:     multihash.SHA2_512,
	blobdigest.BLAKE3: multihash.BLAKE3,
}

// rawCID returns the CID of the block of codec raw that has the given digest.
func rawCID(d digest.Digest) (cid.Cid, error) {
	if err := blobdigest.Validate(d); err != nil {
		return cid.Undef, err
	}
	code, ok := codes[d.Algorithm()]
	if !ok {
		return cid.Undef, fmt.Errorf("no CID has a hash of algorithm %s", d.Algorithm())
	}
	sum, err := hex.DecodeString(d.Encoded())
	if err != nil {
		return cid.Undef, err
	}
	h, err := multihash.Encode(sum, code)
	if err != nil {
		return cid.Undef, err
	}
	return cid.NewCidV1(cid.Raw, h), nil
}

// digestOf returns the digest of a block of codec raw, where its algorithm is
// one that OCI registers.
func digestOf(c cid.Cid) (digest.Digest, bool) {
	h, err := multihash.Decode(c.Hash())
	if err != nil || c.Prefix().Codec != cid.Raw {
		return "", false
	}
	for algorithm, code := range codes {
		if h.Code == code {
			return digest.NewDigestFromBytes(algorithm, h.Digest), true
		}
	}
	return "", false
}

// maxCache is how many bytes of nodes a transport keeps.
const maxCache = 16 << 20

// cache keeps verified blocks that are no leaves of files: directories and the
// upper nodes of files, which every range needs again. The ones used least
// recently go first.
type cache struct {
	mu    sync.Mutex
	bytes int
	used  *list.List // of cached, the one used last in front
	at    map[string]*list.Element
}

type cached struct {
	key   string
	block []byte
}

func newCache() *cache {
	return &cache{used: list.New(), at: map[string]*list.Element{}}
}

func (k *cache) get(c cid.Cid) ([]byte, bool) {
	if c.Prefix().Codec == cid.Raw {
		return nil, false // no leaf is kept, though its hash may be a node's
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.at[string(c.Hash())]
	if e == nil {
		return nil, false
	}
	k.used.MoveToFront(e)
	return e.Value.(cached).block, true
}

func (k *cache) put(c cid.Cid, block []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := string(c.Hash())
	if k.at[key] != nil {
		return
	}
	k.at[key] = k.used.PushFront(cached{key, block})
	k.bytes += len(block)
	for k.bytes > maxCache {
		e := k.used.Back()
		old := k.used.Remove(e).(cached)
		delete(k.at, old.key)
		k.bytes -= len(old.block)
	}
}
