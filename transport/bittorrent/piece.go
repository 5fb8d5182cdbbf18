package bittorrent

import (
	"container/list"
	"time"
)

// piece is the memory for one piece of a torrent, from when a range wants it
// until it is evicted. Its fields are under the node's lock; buf may be read
// without it where the piece is pinned and nothing is missing.
//
// Every block of it is here, or requested of a supplier that is there, or else
// free: to be requested.
type piece struct {
	sw    *swarm
	index int
	size  int64

	buf     []byte // nil until a block comes
	slots   []slot // one for each block
	missing int    // blocks that are not here
	free    int    // those of them that nobody was asked for

	// only is who alone is asked for the blocks, where that is to be found out
	// who sent a wrong one; alone says that it is, and by whom may still be open.
	alone    bool
	only     supplier
	suspects []suspect

	wants    int  // ranges that want it
	ahead    int  // those of wants that are no range's; see the type ahead
	pins     int  // who reads or hashes buf
	complete bool // and verified
	evicted  bool
	touched  time.Time
	done     chan struct{} // closed when complete or evicted
	elem     *list.Element // in idle
}

// slot is what there is of a block.
type slot struct {
	here  bool
	asked int8      // suppliers that were asked and neither sent nor refused it
	since time.Time // when the last one was
	from  supplier  // who sent it
}

// supplier is who may send blocks: a peer, or a web seed.
type supplier interface {
	// ban makes it one that is never asked again.
	ban(why string)
}

func newPiece(sw *swarm, index int) *piece {
	p := &piece{sw: sw, index: index, size: sw.pieceSize(index), done: make(chan struct{})}
	p.slots = make([]slot, ceil(p.size, block))
	p.missing, p.free = len(p.slots), len(p.slots)
	return p
}

// blockSize is the length of a block in bytes.
func (p *piece) blockSize(b int) int { return int(min(block, p.size-int64(b)*block)) }

// ask takes note that a supplier is asked for a block.
func (p *piece) ask(b int, s supplier, now time.Time) {
	slot := &p.slots[b]
	if slot.asked == 0 && !slot.here {
		p.free--
	}
	slot.asked++
	slot.since = now
	if p.alone {
		p.only = s
	}
}

// unask takes an ask back: the block came, or won't.
func (p *piece) unask(b int) {
	slot := &p.slots[b]
	if slot.asked--; slot.asked == 0 && !slot.here {
		p.free++
	}
}

// put takes a block, which isn't here, from a supplier.
func (p *piece) put(b int, content []byte, from supplier) {
	if p.buf == nil {
		p.buf = p.sw.buffer(p.size)
	}
	copy(p.buf[int64(b)*block:], content)
	slot := &p.slots[b]
	if slot.asked == 0 {
		p.free--
	}
	slot.here, slot.from = true, from
	p.missing--
}

// reset forgets all blocks.
func (p *piece) reset() {
	for b := range p.slots {
		slot := &p.slots[b]
		if slot.here {
			slot.here, slot.from = false, nil
			p.missing++
			if slot.asked == 0 {
				p.free++
			}
		}
	}
}

// open reports whether a supplier may be asked for blocks of p.
func (p *piece) open(s supplier) bool {
	return p.missing > 0 && (!p.alone || p.only == nil || p.only == s)
}
