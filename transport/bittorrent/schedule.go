package bittorrent

import (
	"encoding/binary"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/waybill-project/waybill/transport/bittorrent/peer"
)

const (
	// beat is how often a swarm looks after its peers.
	beat = 200 * time.Millisecond
	// A peer is asked for as much at once as it sends in pipelineTime, within
	// bounds: transmission answers what waits twice a second.
	// Before anything is known of how fast it is, that is pipelineStart, or what
	// it queues.
	pipelineTime                            = 1500 * time.Millisecond
	pipelineMin, pipelineStart, pipelineMax = 32, 512, 2000
	// snubTime is how long a peer that was asked may send nothing until others
	// are asked; snubSoon is the same while others send.
	snubTime, snubSoon = 5 * time.Second, 2 * time.Second
	// snubPause is how long it is asked for nothing then.
	snubPause = time.Second
	// slowTime is how long a block that a reader needs may take until a second
	// peer is asked for it, too.
	slowTime = 700 * time.Millisecond
	// overtaken is by how much later a request must have been made that a peer
	// answers for one before it to be taken as lost.
	overtaken = 500 * time.Millisecond
	// defaultQueue is how many requests a peer is taken to queue that doesn't
	// say so; spareQueue are left free of those that it says: transmission
	// rejects the one that fills it.
	defaultQueue, spareQueue = 250, 8
)

// blockID names a block of a torrent.
type blockID struct{ index, block int }

// request is a block that a peer was asked for.
type request struct {
	p     *piece
	since time.Time
}

// order yields the pieces to be requested, the most urgent first: those that
// readers are at, those after them, and what is ahead. The node's lock is held.
func (sw *swarm) order(yield func(p *piece, rank int) bool) {
	for rank, some := 0, true; some; rank++ {
		some = false
		for _, b := range sw.bodies {
			if rank >= len(b.held) {
				continue
			}
			some = true
			if p := b.held[rank]; p != nil && p.missing > 0 && !yield(p, rank) {
				return
			}
		}
	}
	for _, p := range sw.ahead.held {
		if p.missing > 0 && !yield(p, maxHeld) {
			return
		}
	}
}

// fillAll asks every peer for as much as it may be asked for.
func (sw *swarm) fillAll() {
	for c := range sw.conns {
		c.fill()
	}
	for _, w := range sw.webseeds {
		w.wakeUp()
	}
}

// room is how many more requests the peer may be sent.
func (c *conn) room() int {
	depth := c.depth
	if c.snubbed {
		depth = 1 // to see whether it sends again
		if time.Since(c.lastBlock) < snubPause {
			depth = 0
		}
	}
	return depth - len(c.requests) - c.cancelled
}

// fill asks the peer for blocks.
func (c *conn) fill() {
	room := c.room()
	// A few at a time are not worth a message each, while there is enough to do.
	if room <= 0 || room < c.depth/4 && len(c.requests) > 0 || c.choking && len(c.allowed) == 0 {
		return
	}
	now := time.Now()
	c.sw.order(func(p *piece, rank int) bool {
		if !c.mayAsk(p) {
			return true
		}
		for b := 0; b < len(p.slots) && p.free > 0 && room > 0; b++ {
			if s := &p.slots[b]; !s.here && s.asked == 0 {
				c.request(p, b, now)
				room--
			}
		}
		return room > 0
	})
	c.flush()
}

// mayAsk reports whether the peer has the piece and would send it.
func (c *conn) mayAsk(p *piece) bool {
	return !c.closed && (!c.choking || c.allowed[p.index]) && c.has.contains(p.index) && p.open(c) && c.sw.hashKnown(p.index)
}

// request queues a request.
func (c *conn) request(p *piece, b int, now time.Time) {
	c.expect(p, b, now)
	c.out = appendBlock(c.out, pp.Request, p.index, b, p.blockSize(b))
}

// expect takes note that the peer is asked for a block.
func (c *conn) expect(p *piece, b int, now time.Time) {
	if len(c.requests) == 0 {
		c.lastBlock = now // patience begins
	}
	c.requests[blockID{p.index, b}] = request{p, now}
	p.ask(b, c, now)
}

func appendBlock(out []byte, t pp.MessageType, index, b, size int) []byte {
	return peer.Append(out, t, nil, uint32(index), uint32(b*block), uint32(size))
}

// flush sends what request and others have queued.
func (c *conn) flush() {
	if len(c.out) > 0 {
		c.Send(c.out)
		c.out = c.out[:0]
	}
}

// hurry asks the peer, too, for blocks that readers wait for and that others
// take long to send.
func (c *conn) hurry(now time.Time) {
	if c.choking || c.snubbed {
		return
	}
	room := c.room()
	for _, body := range c.sw.bodies {
		p := body.first()
		if p == nil || p.missing == 0 || p.alone || !c.mayAsk(p) {
			continue
		}
		for b := 0; b < len(p.slots) && room > 0; b++ {
			s := &p.slots[b]
			if _, asked := c.requests[blockID{p.index, b}]; asked || s.here || s.asked != 1 || now.Sub(s.since) < slowTime {
				continue
			}
			c.request(p, b, now)
			room--
		}
	}
	c.flush()
}

// lose takes back what the peer was asked for: others are asked.
func (c *conn) lose() {
	for id, r := range c.requests {
		r.p.unask(id.block)
		delete(c.requests, id)
	}
	c.sw.release(c)
}

// release lets pieces that only one supplier was asked for go to others.
func (sw *swarm) release(s supplier) {
	for _, p := range sw.pieces {
		if p.only == s && p.missing > 0 {
			p.only = nil
			p.reset() // all of its blocks are to come from one
		}
	}
}

// forget takes back one request, which the peer won't answer any more.
func (c *conn) forget(id blockID) bool {
	r, asked := c.requests[id]
	if asked {
		r.p.unask(id.block)
		delete(c.requests, id)
	}
	return asked
}

// cancel tells peers that a piece isn't wanted any more.
func (sw *swarm) cancel(p *piece) {
	if p.complete || p.missing == 0 {
		return
	}
	for c := range sw.conns {
		for b, s := range p.slots {
			if s.asked > 0 {
				c.cancel(p, b)
			}
		}
		c.flush()
	}
}

// cancel tells the peer that a block isn't wanted any more, if it was asked for
// it.
func (c *conn) cancel(p *piece, b int) {
	if !c.forget(blockID{p.index, b}) {
		return
	}
	if c.fast {
		c.cancelled++ // it says that it won't send it, or sends it (BEP 6)
	}
	c.out = appendBlock(c.out, pp.Cancel, p.index, b, p.blockSize(b))
}

// refused takes a peer's word that it won't send a block (BEP 6).
func (c *conn) refused(m peer.Message) {
	id, ok := c.blockOf(m.Index, m.Begin)
	if !ok {
		return
	}
	if c.early.asked[id] {
		delete(c.early.asked, id)
		return
	}
	if !c.forget(id) {
		c.cancelled = max(0, c.cancelled-1)
		return
	}
	c.sw.release(c)
	delete(c.allowed, id.index) // choked, it doesn't allow the piece after all
	if !c.choking {
		// Its queue is full, or it doesn't have the piece any more: it is asked
		// for less, and not at once again.
		c.limit = max(pipelineMin/2, len(c.requests))
		c.depth = min(c.depth, c.limit)
	}
	if len(c.requests) == 0 && !c.choking {
		c.snubbed = true
		c.lastBlock = time.Now()
	}
	c.sw.fillAll()
}

// blockOf returns which block begins at an offset of a piece.
func (c *conn) blockOf(index, begin uint32) (blockID, bool) {
	if !c.sw.known() || int64(index) >= int64(c.sw.count) || begin%block != 0 {
		return blockID{}, false
	}
	return blockID{int(index), int(begin / block)}, int64(begin) < c.sw.pieceSize(int(index))
}

// deliver takes a block that came from a supplier, whose ask was taken back.
func (sw *swarm) deliver(p *piece, b int, content []byte, from supplier) {
	if p.evicted || p.slots[b].here || !p.open(from) {
		sw.counts.wasted += int64(len(content))
		return
	}
	sw.counts.downloaded += int64(len(content))
	p.put(b, content, from)
	sw.progress(time.Now())
	sw.vain = false
	if p.slots[b].asked > 0 { // others are slower
		for c := range sw.conns {
			c.cancel(p, b)
			c.flush()
		}
	}
	if p.missing == 0 {
		sw.verify(p)
	}
}

// take takes a block that a peer sent.
func (c *conn) take(m peer.Message) {
	sw, now := c.sw, time.Now()
	id, ok := c.blockOf(m.Index, m.Begin)
	if !ok {
		c.drop("it sent a block that is none")
		return
	}
	if r := c.requests[id]; r.since.After(c.served) {
		c.served = r.since
	}
	delete(c.early.asked, id)
	asked := c.forget(id)
	if !asked {
		c.cancelled = max(0, c.cancelled-1)
	}
	p := sw.pieces[id.index]
	switch {
	case p == nil || p.alone && !asked:
		sw.counts.wasted += int64(len(m.Payload))
	case len(m.Payload) != p.blockSize(id.block):
		c.drop("it sent a block of another length than it was asked for")
		return
	default:
		sw.deliver(p, id.block, m.Payload, c)
	}
	c.lastBlock = now
	c.received += int64(len(m.Payload))
	if c.snubbed {
		c.snubbed = false
	}
	c.fill()
}

// measure sets how much the peer is asked for at once.
func (c *conn) measure(now time.Time) {
	passed := now.Sub(c.measured)
	if passed < beat/2 {
		return
	}
	rate := float64(c.received) / passed.Seconds()
	c.received, c.measured = 0, now
	if c.rate == 0 && rate == 0 {
		return // it has sent nothing yet
	}
	c.rate = max(rate, 0.9*c.rate) // some send in pulses
	c.depth = min(max(int(c.rate*pipelineTime.Seconds()/block), pipelineMin), pipelineMax, c.queue)
	if c.limit > 0 {
		c.depth = min(c.depth, c.limit)
		c.limit += max(1, c.limit/16)
	}
}

// tend looks after one peer: who takes too long is asked no more for now.
func (c *conn) tend(now time.Time) {
	c.measure(now)
	quiet := now.Sub(c.lastBlock)
	switch {
	case c.throttled > 0: // by this side
		c.lastBlock = now
	case len(c.requests) > 0 && (quiet > snubTime || quiet > snubSoon && c.others()):
		c.snubbed = true
		for id, r := range c.requests {
			c.out = appendBlock(c.out, pp.Cancel, id.index, id.block, r.p.blockSize(id.block))
		}
		c.lose()
		c.lastBlock = now
		c.flush()
		c.sw.fillAll()
	case quiet > 2*beat:
		c.cancelled = 0 // whoever didn't answer a cancel by now, won't
	}
	if now.Sub(c.kept) > keepAlive {
		c.kept = now
		c.out = binary.BigEndian.AppendUint32(c.out, 0)
	}
	c.remind(now)
	c.askEarly()
	c.flush()
	c.fill()
	c.hurry(now)
}

// remind asks the peer once more for blocks that readers wait for, where it has
// answered what it was asked much later: transmission says up to ten seconds late
// that it rejects a request.
func (c *conn) remind(now time.Time) {
	if c.choking || c.snubbed {
		return
	}
	for _, body := range c.sw.bodies {
		p := body.first()
		if p == nil || p.missing == 0 {
			continue
		}
		for b := range p.slots {
			id := blockID{p.index, b}
			if r, asked := c.requests[id]; asked && c.served.Sub(r.since) > overtaken {
				c.forget(id)
				c.request(p, b, now)
			}
		}
	}
}

// others reports whether there are other peers that may be asked.
func (c *conn) others() bool {
	for other := range c.sw.conns {
		if other != c && !other.choking && !other.snubbed && !other.closed {
			return true
		}
	}
	return false
}

// keepAlive is how often a peer is sent something at least (BEP 3).
const keepAlive = 90 * time.Second
