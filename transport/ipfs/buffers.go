package ipfs

import (
	"math/bits"
	"sync"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// buffers are leaves that have been read, for others to be read into, so that
// memory is not asked of the kernel again for each.
var buffers sync.Pool // of *[]byte

// buffer returns n bytes with anything in them.
func buffer(n int) []byte {
	if b, ok := buffers.Get().(*[]byte); ok && cap(*b) >= n {
		return (*b)[:n]
	}
	if n == 0 {
		return nil
	}
	return make([]byte, n, 1<<bits.Len(uint(n-1)))
}

// release gives a block back that nobody uses any more. Only leaves are taken:
// other blocks may be in the cache, or in a CID.
func release(c cid.Cid, block []byte) {
	if c.Defined() && c.Prefix().Codec == cid.Raw && c.Prefix().MhType != multihash.IDENTITY && cap(block) > 0 {
		buffers.Put(&block)
	}
}
