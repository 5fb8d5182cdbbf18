package bittorrent

import (
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"
)

// A peer that knows the fast extension rejects what it is asked for while it
// chokes this side (BEP 6), unless it has let this side in and the word of that is
// still on its way. transmission sends such words once or twice a second, half a
// second sooner where rejections wait with them, and with them what it was asked for
// since it decided. So peers are asked for a few blocks before they say that they may
// be.
const (
	// earlyBurst is how many blocks are asked for with every beat.
	earlyBurst = 8
	// earlyMost is for how many a peer is asked in all: libtorrent hangs up on who is
	// told fifty times that it won't.
	earlyMost = 40
)

// early is what a peer was asked for while it chokes this side. No block counts as
// requested for that.
type early struct {
	asked map[blockID]bool // and neither rejected nor sent
	n     int              // asked for since it began to choke
}

// askEarly asks a peer that chokes this side for some of what is wanted, where
// nobody else sends anything.
func (c *conn) askEarly() {
	e := &c.early
	n := min(earlyBurst, earlyMost-e.n)
	if n <= 0 || !c.choking || !c.fast || c.closed || c.others() {
		return
	}
	c.sw.order(func(p *piece, _ int) bool {
		if !c.mayHave(p.index) || p.alone || !c.sw.hashKnown(p.index) {
			return true
		}
		for b := 0; b < len(p.slots) && n > 0; b++ {
			id := blockID{p.index, b}
			if s := &p.slots[b]; s.here || s.asked > 0 || e.asked[id] {
				continue
			}
			if e.asked == nil {
				e.asked = map[blockID]bool{}
			}
			e.asked[id] = true
			e.n++
			n--
			c.out = appendBlock(c.out, pp.Request, p.index, b, p.blockSize(b))
		}
		return n > 0
	})
}

// mayHave reports whether the peer has a piece, or hasn't said yet what it has.
func (c *conn) mayHave(index int) bool { return !c.heard || c.has.contains(index) }

// letIn takes the peer's word that it sends what it is asked for. What it was asked
// for early and has not rejected by now, it sends.
func (c *conn) letIn(now time.Time) {
	c.choking = false
	for id := range c.early.asked {
		p := c.sw.pieces[id.index]
		if p == nil || p.alone || !c.mayAsk(p) || p.slots[id.block].here {
			c.cancelled++
			c.out = appendBlock(c.out, pp.Cancel, id.index, id.block, int(min(block, c.sw.pieceSize(id.index)-int64(id.block)*block)))
			continue
		}
		if _, asked := c.requests[id]; asked {
			continue // once more, since the peer allowed the piece
		}
		c.expect(p, id.block, now)
		// One that the peer has dropped is asked for again once it answers later ones.
		r := c.requests[id]
		r.since = now.Add(-overtaken)
		c.requests[id] = r
	}
	c.early = early{}
	c.fill()
}
