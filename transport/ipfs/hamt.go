package ipfs

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/bits"

	unixfspb "github.com/ipfs/boxo/ipld/unixfs/pb"
	"github.com/ipfs/go-cid"
	"github.com/spaolacci/murmur3"
)

const (
	// hashMurmur3 is the only hash function of HAMT directories
	// (murmur3-x64-64 in the multicodec table).
	hashMurmur3 = 0x22
	// maxFanout is the widest shard, as in boxo.
	maxFanout = 1024
	// hashBits is how long the hash of a name is, and so the end of all
	// descents.
	hashBits = 64
)

// readShard takes what a HAMT shard says of itself.
func (n *node) readShard(d *unixfspb.Data) error {
	if d.GetHashType() != hashMurmur3 {
		return fmt.Errorf("a directory sharded by hash function 0x%x; only murmur3 is known", d.GetHashType())
	}
	fanout := d.GetFanout()
	if fanout < 8 || fanout > maxFanout || bits.OnesCount64(fanout) != 1 {
		return fmt.Errorf("a shard of width %d, not a power of two from 8 to %d", fanout, maxFanout)
	}
	n.fanout = int(fanout)
	for _, l := range n.links {
		if len(l.name) < n.prefix() {
			return errors.New("a shard's link with too short a name")
		}
	}
	return nil
}

// prefix is how many hexadecimal digits stand before the names in a shard's
// links: the slot.
func (n *node) prefix() int { return len(fmt.Sprintf("%X", n.fanout-1)) }

// find returns the link that leads from a directory to name, through its
// shards if need be.
func (s *session) find(ctx context.Context, n *node, name string) (cid.Cid, bool, error) {
	if n.kind == directory {
		for _, l := range n.links {
			if l.name == name {
				return l.cid, true, nil
			}
		}
		return cid.Undef, false, nil
	}
	hash, left := murmur3.Sum64([]byte(name)), hashBits
	for {
		width := bits.TrailingZeros(uint(n.fanout))
		if left < width {
			return cid.Undef, false, errors.New("a sharded directory that is deeper than its hash is long")
		}
		left -= width
		slot := fmt.Sprintf("%0*X", n.prefix(), hash>>left&(1<<width-1))
		below, found := cid.Undef, false
		for _, l := range n.links {
			if l.name == slot+name {
				return l.cid, true, nil
			}
			if l.name == slot {
				below, found = l.cid, true
			}
		}
		if !found {
			return cid.Undef, false, nil
		}
		var err error
		if n, err = s.subshard(ctx, n, below); err != nil {
			return cid.Undef, false, err
		}
	}
}

// subshard returns the shard that a shard's link leads to.
func (s *session) subshard(ctx context.Context, n *node, c cid.Cid) (*node, error) {
	sub, err := s.node(ctx, c)
	if err != nil {
		return nil, err
	}
	if sub.kind != shard || sub.fanout != n.fanout {
		return nil, fmt.Errorf("node %s: not a shard of width %d as the one above", c, n.fanout)
	}
	return sub, nil
}

// errEmptyShard says that a shard below another has nothing in it. Nobody makes
// such, and a few of them, each linked to from everywhere in the one above, are
// a directory that has no entries and yet no end.
var errEmptyShard = errors.New("a shard of a directory with nothing in it")

// list yields the entries of a directory, through all its shards.
func (s *session) list(ctx context.Context, n *node) iter.Seq2[link, error] {
	return func(yield func(link, error) bool) {
		if n.kind == shard && len(n.links) == 0 {
			return // an empty directory
		}
		s.listShard(ctx, n, 0, yield)
	}
}

// listShard yields the entries of a directory or shard and reports whether to
// go on. used is how many bits of the hash the shards above have used.
func (s *session) listShard(ctx context.Context, n *node, used int, yield func(link, error) bool) bool {
	if n.kind == directory {
		for _, l := range n.links {
			if !yield(l, nil) {
				return false
			}
		}
		return true
	}
	if len(n.links) == 0 {
		return yield(link{}, errEmptyShard)
	}
	used += bits.TrailingZeros(uint(n.fanout))
	for _, l := range n.links {
		if len(l.name) > n.prefix() {
			l.name = l.name[n.prefix():]
			if !yield(l, nil) {
				return false
			}
			continue
		}
		if used >= hashBits {
			return yield(link{}, errors.New("a sharded directory that is deeper than its hash is long"))
		}
		sub, err := s.subshard(ctx, n, l.cid)
		if err != nil {
			return yield(link{}, err)
		}
		if !s.listShard(ctx, sub, used, yield) {
			return false
		}
	}
	return true
}
