package bittorrent

import (
	"container/list"
	"slices"
	"sync"
	"time"
)

const (
	// block is what peers are asked for at once (BEP 3, BEP 52).
	block = 16 << 10
	// untouched is how long a reader must have left a piece alone before it
	// may be taken away from it for others who wait. It is fetched again then.
	untouched = 2 * time.Second
)

// memory is the pieces there are room for, of all torrents. Its lock is never
// held while the library is called, which calls the storage with its own lock
// held.
type memory struct {
	limit int64

	mu   sync.Mutex
	used int64
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

// piece is the memory for one piece of a torrent, from when a range wants it
// until it is evicted. Its fields are under the memory's lock; buf may be read
// without it where complete or pinned.
type piece struct {
	sw    *swarm
	index int
	size  int64

	buf    []byte   // nil until a block comes
	blocks []uint64 // bitmap of those that came
	got    int      // how many of them

	wants, first int  // ranges that want it, and that want it before others
	ahead        int  // those of wants that are no range's; see the type ahead
	pins         int  // library calls that use buf
	complete     bool // and verified
	evicted      bool
	touched      time.Time
	done         chan struct{} // closed when complete or evicted
	elem         *list.Element // in idle
}

func newMemory(limit int64) *memory {
	m := &memory{limit: limit, wanted: map[*piece]struct{}{}, changed: make(chan struct{})}
	m.idle.Init()
	return m
}

// enter and leave count open ranges.
func (m *memory) enter() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bodies++
}

func (m *memory) leave(b *body) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bodies--
	if i := slices.Index(m.queue, b); i >= 0 {
		m.queue = slices.Delete(m.queue, i, i+1)
	}
	m.notify()
}

// share is how many bytes one range may have in flight.
func (m *memory) share() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.limit / int64(max(1, m.bodies))
}

// waitRoom returns a channel that is closed when there may be room.
func (m *memory) waitRoom() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

func (m *memory) notify() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// acquire returns a piece that b wants from now on. need says that b can't go
// on without it: then b queues where there is no room, and others don't read
// ahead before it got some. It returns nil where there is none yet.
func (m *memory) acquire(sw *swarm, index int, b *body, need bool) *piece {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := sw.pieces[index]
	if p == nil {
		if len(m.queue) > 0 && m.queue[0] != b || !m.makeRoom(sw.pieceSize(index), need) {
			if need && !slices.Contains(m.queue, b) {
				m.queue = append(m.queue, b)
			}
			return nil
		}
		p = &piece{sw: sw, index: index, size: sw.pieceSize(index), done: make(chan struct{})}
		m.used += p.size
		sw.pieces[index] = p
	}
	if i := slices.Index(m.queue, b); i >= 0 {
		m.queue = slices.Delete(m.queue, i, i+1)
		m.notify()
	}
	if p.elem != nil {
		m.idle.Remove(p.elem)
		p.elem = nil
	}
	m.wanted[p] = struct{}{}
	p.wants++
	if need {
		p.first++
	}
	p.touched = time.Now()
	return p
}

// urge makes p, which a range wants, the one it needs now.
func (m *memory) urge(p *piece) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p.first++
}

// release takes back an acquire.
func (m *memory) release(p *piece, needed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p.wants--
	if needed {
		p.first--
	}
	if p.wants == 0 && !p.evicted {
		delete(m.wanted, p)
		p.elem = m.idle.PushBack(p)
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

// evict frees a piece, unless the library uses it: reads or writes it, or is
// about to hash it.
func (m *memory) evict(p *piece) {
	if p.pins > 0 || p.full() && !p.complete {
		return
	}
	m.free(p)
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
	p.sw.recycle(p.buf)
	p.buf = nil
	m.notify()
}

// drop frees all pieces of a torrent that the library has let go.
func (m *memory) drop(sw *swarm) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range sw.pieces {
		m.free(p)
	}
}

func (p *piece) full() bool { return p.got == int(ceil(p.size, block)) }

// mark notes that the blocks of [off, off+n) came.
func (p *piece) mark(off, n int64) {
	for i := off / block; i*block < off+n; i++ {
		if bit := uint64(1) << (i % 64); p.blocks[i/64]&bit == 0 {
			p.blocks[i/64] |= bit
			p.got++
		}
	}
}
