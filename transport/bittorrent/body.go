package bittorrent

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/waybill-project/waybill/transport"
)

// maxAhead is how many bytes of a range are asked for before they are read.
const maxAhead = 32 << 20

// body is an open range. Read waits for the piece it is at; what is read is
// copied from memory.
type body struct {
	ctx context.Context
	sw  *swarm
	uri string

	closed    chan struct{}
	closeOnce sync.Once

	// mu is held while pieces are acquired, copied from and released, not
	// while waiting for them.
	mu       sync.Mutex
	pos, end int64 // in the torrent
	held     map[int]*piece
	first    *piece // the one of held that pos is in
}

// open returns the range of file from offset on. The swarm's use by the caller
// becomes the body's.
func (sw *swarm) open(ctx context.Context, uri string, file entry, offset, length int64) *body {
	b := &body{
		ctx: ctx, sw: sw, uri: uri, closed: make(chan struct{}), held: map[int]*piece{},
		pos: file.offset + offset, end: file.offset + offset + length,
	}
	sw.mem.enter()
	sw.ahead.opened(sw, b, file)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.plan() // the library begins to ask while the caller gets to reading
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
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.ended(); err != nil || b.pos == b.end {
		return nil, err
	}
	room := b.sw.mem.waitRoom()
	p := b.current()
	switch {
	case p == nil:
		return room, nil
	case b.sw.mem.whole(p):
		return nil, nil
	}
	return p.done, nil
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
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.ended(); err != nil || b.pos == b.end {
		if err == nil {
			err = io.EOF
		}
		return 0, nil, err
	}
	room := b.sw.mem.waitRoom()
	p := b.current()
	if p == nil {
		return 0, room, nil
	}
	in := b.pos - int64(p.index)*b.sw.pieceLength
	last := min(p.size, b.end-int64(p.index)*b.sw.pieceLength)
	n = b.sw.mem.read(p, dst[:min(int64(len(dst)), last-in)], in)
	if b.pos += int64(n); n > 0 && in+int64(n) == last {
		b.let(p)
		b.plan()
	}
	return n, p.done, nil
}

// read copies from a piece that is complete; otherwise it returns 0.
func (m *memory) read(p *piece, dst []byte, off int64) int {
	m.mu.Lock()
	if !p.complete || p.evicted {
		m.mu.Unlock()
		return 0
	}
	p.pins++ // not to be evicted meanwhile
	buf := p.buf
	m.mu.Unlock()

	n := copy(dst, buf[off:])

	m.mu.Lock()
	defer m.mu.Unlock()
	p.pins--
	p.touched = time.Now()
	return n
}

// current returns the piece that the position is in, or nil where there is no
// room for it yet.
func (b *body) current() *piece {
	p := b.held[b.index()]
	if p != nil && b.sw.mem.lost(p) {
		b.let(p)
		p = nil
	}
	if p == nil {
		b.plan()
		p = b.held[b.index()]
	}
	return p
}

// whole reports whether p can be read.
func (m *memory) whole(p *piece) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return p.complete && !p.evicted
}

func (m *memory) lost(p *piece) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return p.evicted
}

func (b *body) index() int { return int(b.pos / b.sw.pieceLength) }

// plan acquires the pieces from the position on that are to be fetched now:
// the one it is in, and as many after it as this range's share of memory has
// room for.
func (b *body) plan() {
	if b.pos == b.end {
		return
	}
	var changed []int
	ahead, all := min(b.sw.mem.share(), maxAhead), true
	begin := b.index()
	for i := begin; int64(i)*b.sw.pieceLength < b.end; i++ {
		if i > begin && int64(i+1-begin)*b.sw.pieceLength > ahead {
			all = false
			break
		}
		p, need := b.held[i], i == begin
		switch {
		case p == nil:
			if p = b.sw.mem.acquire(b.sw, i, b, need); p == nil {
				b.sw.apply(changed)
				if need {
					b.sw.ahead.yield(b.sw)
				}
				return
			}
			b.held[i] = p
			changed = append(changed, i)
		case need && p != b.first:
			b.sw.mem.urge(p)
			changed = append(changed, i)
		}
		if need {
			b.first = p
		}
	}
	b.sw.apply(changed)
	if all {
		b.sw.ahead.fetch(b.sw, b)
	}
}

// let gives a piece back.
func (b *body) let(p *piece) {
	b.sw.mem.release(p, p == b.first)
	if p == b.first {
		b.first = nil
	}
	delete(b.held, p.index)
	b.sw.apply([]int{p.index})
}

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
		b.mu.Lock()
		defer b.mu.Unlock()
		var indices []int
		for i, p := range b.held {
			b.sw.mem.release(p, p == b.first)
			indices = append(indices, i)
		}
		b.first = nil
		clear(b.held)
		b.sw.mem.leave(b)
		b.sw.ahead.closed(b.sw)
		b.sw.apply(indices)
		b.sw.unuse()
	})
	return nil
}
