package bittorrent

import (
	"crypto/sha1" // what BEP 3 has
	"encoding/hex"
	"hash"
	"slices"

	"github.com/anacrolix/torrent/merkle"
)

// suspect is a block of a piece whose hash was wrong, and who sent it.
type suspect struct {
	sum  [sha1.Size]byte
	from supplier
}

// verify hashes a piece that is all here. The node's lock is held.
func (sw *swarm) verify(p *piece) {
	p.pins++
	buf, check := p.buf, sw.checker(p.index)
	sw.start(func() {
		sw.node.hashers <- struct{}{}
		right := check(buf)
		<-sw.node.hashers
		sw.node.mu.Lock()
		defer sw.node.mu.Unlock()
		p.pins--
		switch {
		case p.evicted: // with the torrent
		case right:
			p.complete = true
			p.clear()
			close(p.done)
		default:
			p.wrong()
			sw.fillAll()
		}
	})
}

// clear finds out, of a piece that is right now, who sent what was wrong with it
// before.
func (p *piece) clear() {
	for b, s := range p.suspects {
		if s.from != nil && s.sum != sha1.Sum(p.block(b)) {
			s.from.ban("a block of it made a piece wrong")
		}
	}
	p.suspects, p.alone, p.only = nil, false, nil
	for b := range p.slots {
		p.slots[b].from = nil
	}
}

func (p *piece) block(b int) []byte { return p.buf[b*block : b*block+p.blockSize(b)] }

// wrong makes the piece be fetched again: where one alone has sent it, from
// others; else from one alone, to find out whose block was wrong.
func (p *piece) wrong() {
	p.sw.counts.downloaded -= p.size
	p.sw.counts.wasted += p.size
	from := p.slots[0].from
	single := !slices.ContainsFunc(p.slots, func(s slot) bool { return s.from != from })
	if !single && p.suspects == nil {
		p.suspects = make([]suspect, len(p.slots))
		for b, s := range p.slots {
			p.suspects[b] = suspect{sha1.Sum(p.block(b)), s.from}
		}
	}
	p.reset()
	p.alone, p.only = !single || p.suspects != nil, nil
	if single {
		from.ban("it sent a wrong piece")
	}
}

// checker returns what reports whether a piece has the hash that the torrent
// says. The node's lock is held now, and needn't be then.
func (sw *swarm) checker(index int) func(content []byte) bool {
	if sw.info.HasV1() {
		return func(content []byte) bool {
			want := sw.info.Pieces[index*sha1.Size : (index+1)*sha1.Size]
			h := sha1.New()
			h.Write(content)
			// Of hybrids, the v1 hash is that of the padding, too (BEP 47).
			pad(h, min(sw.pieceLength, sw.length-int64(index)*sw.pieceLength)-int64(len(content)))
			return string(h.Sum(nil)) == string(want)
		}
	}
	want, ok := sw.hashV2(index)
	return func(content []byte) bool { return ok && sw.pieceRoot(index, content) == want }
}

var zeros [block]byte

func pad(h hash.Hash, n int64) {
	for n > 0 {
		k := min(n, int64(len(zeros)))
		h.Write(zeros[:k])
		n -= k
	}
}

// pieceRoot is the root of the part of its file's Merkle tree that a piece is
// (BEP 52).
func (sw *swarm) pieceRoot(index int, content []byte) [32]byte {
	h := merkle.NewHash()
	h.Write(content) // a hash takes everything
	f, _ := sw.fileAt(int64(index) * sw.pieceLength)
	if f.length <= sw.pieceLength {
		return [32]byte(h.Sum(nil))
	}
	return [32]byte(h.SumMinLength(nil, int(sw.pieceLength)))
}

// rootOf decodes a file's pieces root.
func rootOf(f entry) (root [32]byte) {
	b, err := hex.DecodeString(f.root)
	if err == nil {
		copy(root[:], b)
	}
	return root
}
