package bittorrent

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/waybill-project/waybill/transport"
)

const (
	// maxAhead is how many bytes of a range are asked for before they are read.
	maxAhead = 32 << 20
	// maxHeld is the same in pieces.
	maxHeld = 2048
)

// body is an open range. Read waits for the piece it is at; what is read is
// copied from memory.
type body struct {
	ctx context.Context
	sw  *swarm
	uri string

	closed    chan struct{}
	closeOnce sync.Once

	file  int64 // where its file begins in the torrent
	start int64 // of the range, in the torrent

	// Under the node's lock.
	pos, end int64 // in the torrent
	// held are the pieces from the one that pos is in on, without gaps but for
	// those that were evicted: nil.
	held []*piece
	at   int // the index of the first one
}

// open returns the range of file from offset on. The swarm's use by the caller
// becomes the body's.
func (sw *swarm) open(ctx context.Context, uri string, file entry, offset, length int64) *body {
	b := &body{
		ctx: ctx, sw: sw, uri: uri, closed: make(chan struct{}),
		file: file.offset, start: file.offset + offset, pos: file.offset + offset, end: file.offset + offset + length,
	}
	b.at = b.index()
	sw.node.mu.Lock()
	defer sw.node.mu.Unlock()
	sw.mem.bodies++
	sw.bodies = append(sw.bodies, b)
	sw.ahead.opened(sw, b, file)
	sw.needHashes(file)
	b.plan()
	return b
}

// begin waits for the first byte. A peer that has the piece may still let one
// wait for its turn: only when it sends, it has agreed to.
func (b *body) begin() error {
	for {
		wait, err := b.await()
		if wait == nil || err != nil {
			return err
		}
		if err := b.wait(wait); err != nil {
			return err
		}
	}
}

// await returns what to wait for until there is something to read, if not nil.
func (b *body) await() (<-chan struct{}, error) {
	b.sw.node.mu.Lock()
	defer b.sw.node.mu.Unlock()
	if err := b.ended(); err != nil || b.pos == b.end {
		return nil, err
	}
	p, wait := b.current()
	if p != nil {
		wait = nil
	}
	return wait, nil
}

// Read implements io.Reader.
func (b *body) Read(dst []byte) (int, error) {
	for {
		n, wait, err := b.copy(dst)
		if n > 0 || err != nil || len(dst) == 0 {
			return n, err
		}
		if err := b.wait(wait); err != nil {
			return 0, err
		}
	}
}

// copy reads what is there, or returns what to wait for.
func (b *body) copy(dst []byte) (n int, wait <-chan struct{}, err error) {
	mu := &b.sw.node.mu
	mu.Lock()
	defer mu.Unlock()
	if err := b.ended(); err != nil || b.pos == b.end {
		if err == nil {
			err = io.EOF
		}
		return 0, nil, err
	}
	p, wait := b.current()
	if p == nil {
		return 0, wait, nil
	}
	start := int64(p.index) * b.sw.pieceLength
	src := p.buf[b.pos-start : min(p.size, b.end-start)]
	p.pins++
	p.touched = time.Now()
	mu.Unlock()
	n = copy(dst, src)
	mu.Lock()
	p.pins--
	if err := b.ended(); err != nil { // closed meanwhile, by someone else
		return n, nil, err
	}
	b.pos += int64(n)
	if b.pos == start+p.size || b.pos == b.end {
		b.let()
		b.plan()
	}
	return n, nil, nil
}

// current returns the piece that the position is in, whole, or what to wait for:
// it, or room for it.
func (b *body) current() (*piece, <-chan struct{}) {
	room := b.sw.mem.changed
	if len(b.held) == 0 || b.held[0] == nil || b.held[0].evicted {
		b.plan()
	}
	switch p := b.first(); {
	case p == nil:
		return nil, room
	case p.complete:
		return p, nil
	default:
		return nil, p.done
	}
}

// first returns the piece that is needed now, or nil.
func (b *body) first() *piece {
	if len(b.held) == 0 {
		return nil
	}
	return b.held[0]
}

func (b *body) index() int { return int(b.pos / b.sw.pieceLength) }

// plan acquires the pieces from the position on that are to be fetched now:
// the one it is in, and as many after it as this range's share of memory has
// room for.
func (b *body) plan() {
	if b.pos == b.end {
		return
	}
	most := max(1, min(b.sw.mem.share(), maxAhead)/b.sw.pieceLength, 1)
	last := (b.end - 1) / b.sw.pieceLength
	all := true
	for i := 0; int64(b.at+i) <= last; i++ {
		if int64(i) >= min(most, maxHeld) {
			all = false
			break
		}
		if i == len(b.held) {
			b.held = append(b.held, nil)
		}
		if p := b.held[i]; p != nil {
			if !p.evicted {
				continue
			}
			b.held[i] = nil
			b.sw.mem.release(p)
		}
		if b.held[i] = b.sw.mem.acquire(b.sw, b.at+i, b, i == 0); b.held[i] == nil {
			if i == 0 {
				b.sw.ahead.yield(b.sw)
			}
			all = false
			break
		}
	}
	if all {
		b.sw.ahead.fetch(b.sw, b)
	}
	b.sw.fillAll()
}

// let gives the first piece back.
func (b *body) let() {
	if p := b.held[0]; p != nil {
		b.sw.mem.release(p)
	}
	b.held = b.held[1:]
	b.at++
}

// Shorten implements [transport.Shortener]: pieces beyond aren't asked for any
// more.
func (b *body) Shorten(length int64) {
	b.sw.node.mu.Lock()
	defer b.sw.node.mu.Unlock()
	end := max(b.start+length, b.pos)
	if end >= b.end || b.ended() != nil {
		return
	}
	b.end = end
	b.sw.ahead.shortened(b.sw, b)
	keep := 0
	if end > b.pos {
		keep = int((end-1)/b.sw.pieceLength) + 1 - b.at
	}
	for len(b.held) > keep {
		last := len(b.held) - 1
		if p := b.held[last]; p != nil {
			b.sw.mem.release(p)
		}
		b.held = b.held[:last]
	}
	b.sw.fillAll()
}

// Chunks implements [transport.Chunked].
func (b *body) Chunks() (size, first int64) { return b.sw.pieceLength, -b.file }

// wait returns when there may be something to read, or with the reason why
// there won't be.
func (b *body) wait(ready <-chan struct{}) error {
	begun := time.Now()
	for {
		left := b.sw.patience(begun)
		if left <= 0 {
			return b.sw.stalled(b.uri)
		}
		timer := time.NewTimer(left)
		select {
		case <-ready:
			timer.Stop()
			return nil
		case <-timer.C: // there may have been progress meanwhile
		case <-b.ctx.Done():
			timer.Stop()
			return b.ctx.Err()
		case <-b.closed:
			timer.Stop()
			return b.ended()
		case <-b.sw.left:
			timer.Stop()
			return b.ended()
		}
	}
}

// ended returns why the body can't be read any more, if so.
func (b *body) ended() error {
	select {
	case <-b.closed:
		return transport.Errorf(transport.ErrPermanent, b.uri, "read after Close")
	case <-b.sw.left:
		return transport.Errorf(transport.ErrTemporary, b.uri, "the transport was closed")
	default:
		return b.ctx.Err()
	}
}

// Close implements io.Closer: what only this range wanted is not asked for any
// more.
func (b *body) Close() error {
	b.closeOnce.Do(func() {
		close(b.closed)
		b.sw.closeBody(b)
		b.sw.unuse()
	})
	return nil
}

func (sw *swarm) closeBody(b *body) {
	sw.node.mu.Lock()
	defer sw.node.mu.Unlock()
	for len(b.held) > 0 {
		b.let()
	}
	sw.mem.leave(b)
	for i, other := range sw.bodies {
		if other == b {
			sw.bodies = append(sw.bodies[:i], sw.bodies[i+1:]...)
			break
		}
	}
	sw.ahead.closed(sw)
	sw.fillAll()
}
