package bittorrent

import "sync"

// How many bytes are fetched ahead of ranges: to begin with, and at most.
const (
	aheadStart = 4 << 20
	aheadMost  = 16 << 20
)

// ahead is what is fetched beyond the end of the range opened last, while one
// is open, because the next is likely to begin there: the library's pipeline of
// requests starts anew, with one per round trip, whenever nothing is left to ask
// for. How much it is doubles when the next range does begin there and halves
// when it doesn't, down to nothing, until ranges follow each other again.
type ahead struct {
	mu     sync.Mutex
	owner  *body // the range opened last
	open   int   // ranges of the torrent
	length int64 // in bytes; 0 while it isn't worth it
	from   int64 // the end of the owner's range; -1 before the first
	limit  int64 // the end of its file
	held   map[int]*piece
}

// opened takes note of a new range of file.
func (a *ahead) opened(sw *swarm, b *body, file entry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	start, most := a.bounds(sw)
	switch follows := a.owner != nil && b.pos >= a.from && b.pos < a.from+max(a.length, start); {
	case a.owner == nil:
		a.length = start
	case follows:
		a.length = min(max(2*a.length, start), most)
	default:
		if a.length /= 2; a.length < sw.pieceLength {
			a.length = 0
		}
	}
	a.open++
	a.owner, a.from, a.limit = b, b.end, file.offset+file.length
}

// bounds returns how much may be fetched ahead: two pieces at least, and a
// quarter of the memory at most.
func (a *ahead) bounds(sw *swarm) (start, most int64) {
	most = min(max(aheadMost, 2*sw.pieceLength), sw.mem.limit/4)
	if most < sw.pieceLength {
		return 0, 0
	}
	return min(max(aheadStart, 2*sw.pieceLength), most), most
}

// fetch wants what is ahead of b, where b is the range opened last. b has asked
// for all of its own.
func (a *ahead) fetch(sw *swarm, b *body) {
	a.mu.Lock()
	if a.owner != b || a.open == 0 {
		a.mu.Unlock()
		return
	}
	begin := int(ceil(a.from, sw.pieceLength)) // the piece that the end is in is b's
	end := int(ceil(min(a.from+a.length, a.limit), sw.pieceLength))
	var changed []int
	for i, p := range a.held {
		if i < begin || i >= end || sw.mem.lost(p) {
			changed = append(changed, a.let(sw, i))
		}
	}
	for i := begin; i < end; i++ {
		if a.held[i] != nil {
			continue
		}
		p := sw.mem.acquireAhead(sw, i)
		if p == nil {
			break
		}
		if a.held == nil {
			a.held = map[int]*piece{}
		}
		a.held[i] = p
		changed = append(changed, i)
	}
	a.mu.Unlock()
	sw.apply(changed)
}

// let gives a piece back and returns its index.
func (a *ahead) let(sw *swarm, index int) int {
	sw.mem.releaseAhead(a.held[index])
	delete(a.held, index)
	return index
}

// closed takes note of the end of a range. Nothing is fetched when none is
// open.
func (a *ahead) closed(sw *swarm) {
	a.mu.Lock()
	a.open--
	last := a.open == 0
	a.mu.Unlock()
	if last {
		a.yield(sw)
	}
}

// yield makes room for what a range needs now.
func (a *ahead) yield(sw *swarm) {
	a.mu.Lock()
	var changed []int
	for i := range a.held {
		changed = append(changed, a.let(sw, i))
	}
	a.mu.Unlock()
	sw.apply(changed)
}

// acquireAhead is acquire for nobody yet.
func (m *memory) acquireAhead(sw *swarm, index int) *piece {
	p := m.acquire(sw, index, nil, false)
	if p == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	p.ahead++
	return p
}

// releaseAhead takes back an acquireAhead.
func (m *memory) releaseAhead(p *piece) {
	m.mu.Lock()
	p.ahead--
	m.mu.Unlock()
	m.release(p, false)
}
