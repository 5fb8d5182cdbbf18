package bittorrent

// How many bytes are fetched ahead of ranges that follow each other: of the second,
// and at most.
const (
	aheadStart = 4 << 20
	aheadMost  = 16 << 20
)

// ahead is what is fetched beyond the end of the range opened last, while one
// is open, because the next is likely to begin there: peers that answer in
// pulses would be idle between two ranges. It is nothing until a range does begin
// there; how much it is doubles when the next does too, and halves when it doesn't,
// down to nothing. It is under the node's lock.
type ahead struct {
	owner  *body // the range opened last
	length int64 // in bytes; 0 while it isn't worth it
	from   int64 // the end of the owner's range
	limit  int64 // the end of its file
	held   []*piece
}

// opened takes note of a new range of file.
func (a *ahead) opened(sw *swarm, b *body, file entry) {
	start, most := a.bounds(sw)
	switch follows := a.owner != nil && b.pos >= a.from && b.pos < a.from+max(a.length, start); {
	case a.owner == nil: // nothing is known of who reads
	case follows:
		a.length = min(max(2*a.length, start), most)
	default:
		if a.length /= 2; a.length < sw.pieceLength {
			a.length = 0
		}
	}
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
	if a.owner != b || len(sw.bodies) == 0 {
		return
	}
	begin := int(ceil(a.from, sw.pieceLength)) // the piece that the end is in is b's
	end := int(ceil(min(a.from+a.length, a.limit), sw.pieceLength))
	before := a.held
	a.held = nil
	for i := begin; i < end; i++ {
		p := sw.mem.acquire(sw, i, nil, false)
		if p == nil {
			break
		}
		p.ahead++
		a.held = append(a.held, p)
	}
	sw.mem.releaseAhead(before) // afterwards: what is in both was never unwanted
}

// shortened takes note that b ends earlier: what follows is another reader's.
func (a *ahead) shortened(sw *swarm, b *body) {
	if a.owner == b {
		a.length = 0
		a.yield(sw)
	}
}

// closed takes note of the end of a range. Nothing is fetched when none is
// open.
func (a *ahead) closed(sw *swarm) {
	if len(sw.bodies) == 0 {
		a.yield(sw)
	}
}

// yield makes room for what a range needs now.
func (a *ahead) yield(sw *swarm) {
	sw.mem.releaseAhead(a.held)
	a.held = nil
}

func (m *memory) releaseAhead(held []*piece) {
	for _, p := range held {
		p.ahead--
		m.release(p)
	}
}
