package bittorrent

import (
	"container/list"
	"slices"
	"time"
)

const (
	// block is what peers are asked for at once (BEP 3, BEP 52).
	block = 16 << 10
	// untouched is how long a reader must have left a piece alone before it
	// may be taken away from it for others who wait. It is fetched again then.
	untouched = 2 * time.Second
)

// memory is the pieces there are room for, of all torrents. It is under the
// node's lock.
type memory struct {
	limit int64
	used  int64
	// wanted are the pieces some range wants, idle the others, the one that
	// was left first in front.
	wanted map[*piece]struct{}
	idle   list.List
	// queue are the ranges that wait for room for the one piece they need.
	queue []*body
	// bodies is how many ranges are open: each gets its share.
	bodies int
	// changed is closed and replaced whenever there may be room.
	changed chan struct{}
}

func newMemory(limit int64) *memory {
	m := &memory{limit: limit, wanted: map[*piece]struct{}{}, changed: make(chan struct{})}
	m.idle.Init()
	return m
}

// leave takes note of the end of a range.
func (m *memory) leave(b *body) {
	m.bodies--
	m.unqueue(b)
	m.notify()
}

// share is how many bytes one range may have in flight.
func (m *memory) share() int64 { return m.limit / int64(max(1, m.bodies)) }

func (m *memory) notify() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// unqueue reports whether b was waiting for room. It doesn't any more.
func (m *memory) unqueue(b *body) bool {
	i := slices.Index(m.queue, b)
	if i < 0 {
		return false
	}
	m.queue = slices.Delete(m.queue, i, i+1)
	return true
}

// acquire returns a piece that b wants from now on. need says that b can't go
// on without it: then b queues where there is no room, and others don't read
// ahead before it got some. It returns nil where there is none yet.
func (m *memory) acquire(sw *swarm, index int, b *body, need bool) *piece {
	p := sw.pieces[index]
	if p == nil {
		if len(m.queue) > 0 && m.queue[0] != b || !m.makeRoom(sw.pieceSize(index), need) {
			if need && !slices.Contains(m.queue, b) {
				m.queue = append(m.queue, b)
			}
			return nil
		}
		p = newPiece(sw, index)
		m.used += p.size
		sw.pieces[index] = p
	}
	if m.unqueue(b) {
		m.notify()
	}
	if p.elem != nil {
		m.idle.Remove(p.elem)
		p.elem = nil
	}
	m.wanted[p] = struct{}{}
	p.wants++
	p.touched = time.Now()
	return p
}

// release takes back an acquire.
func (m *memory) release(p *piece) {
	p.wants--
	if p.wants == 0 && !p.evicted {
		delete(m.wanted, p)
		p.elem = m.idle.PushBack(p)
		p.sw.cancel(p)
		m.notify()
	}
}

// makeRoom evicts pieces until there is room for size bytes: such as nobody
// wants, whole ones first, and in need such as are fetched ahead or their readers
// left alone.
func (m *memory) makeRoom(size int64, need bool) bool {
	for _, whole := range []bool{true, false} {
		for e := m.idle.Front(); e != nil && m.used+size > m.limit; {
			p := e.Value.(*piece)
			e = e.Next()
			if p.complete == whole {
				m.evict(p)
			}
		}
	}
	if need && m.used+size > m.limit {
		for p := range m.wanted {
			if m.used+size > m.limit && p.complete && (p.wants == p.ahead || time.Since(p.touched) > untouched) {
				m.evict(p)
			}
		}
	}
	return m.used+size <= m.limit
}

// evict frees a piece that nobody reads or hashes just now.
func (m *memory) evict(p *piece) {
	if p.pins == 0 {
		m.free(p)
	}
}

func (m *memory) free(p *piece) {
	delete(p.sw.pieces, p.index)
	delete(m.wanted, p)
	if p.elem != nil {
		m.idle.Remove(p.elem)
		p.elem = nil
	}
	m.used -= p.size
	p.evicted = true
	if !p.complete {
		close(p.done)
	}
	if p.pins == 0 {
		p.sw.recycle(p.buf)
	}
	p.buf = nil
	m.notify()
}

// drop frees all pieces of a torrent that is left.
func (m *memory) drop(sw *swarm) {
	for _, p := range sw.pieces {
		m.free(p)
	}
}
