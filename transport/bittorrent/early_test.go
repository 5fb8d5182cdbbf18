package bittorrent

import (
	"math/rand/v2"
	"testing"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/waybill-project/waybill/transport/bittorrent/peer"
)

// TestEarly: a peer that chokes this side is asked for a few blocks, which nobody
// counts on until it lets this side in.
func TestEarly(t *testing.T) {
	t.Parallel()
	sw, content := testSwarm(t, rand.New(rand.NewPCG(7, 7)), 10, 20*block)
	n := sw.node
	c := testConn(t, sw, 1)
	c.depth = 1000
	b := sw.open(t.Context(), "x", sw.files[0], 0, sw.files[0].length)
	defer sw.closeBody(b)

	message := func(m peer.Message) {
		t.Helper()
		locked(n, func() {
			must(t, c.handle(m))
			checkRequests(t, sw)
		})
	}
	blockOf := func(id blockID) peer.Message {
		at := int64(id.index)*sw.pieceLength + int64(id.block)*block
		return peer.Message{Type: pp.Piece, Index: uint32(id.index), Begin: uint32(id.block * block), Payload: content[at : at+block]}
	}
	locked(n, func() {
		for range 20 {
			c.tend(time.Now())
			checkRequests(t, sw)
		}
		if len(c.early.asked) != earlyMost || len(c.requests) != 0 {
			t.Errorf("asked for %d blocks, %d of them counted on", len(c.early.asked), len(c.requests))
		}
		for id := range c.early.asked {
			if id.index > earlyMost/20 {
				t.Errorf("asked for block %v, and others are wanted sooner", id)
			}
		}
	})

	// It allows a piece that it was asked for, and is asked once more.
	message(peer.Message{Type: pp.AllowedFast, Index: 1})

	// It rejects one, sends one, and says that the others may be waited for.
	message(peer.Message{Type: pp.Reject, Index: 0, Begin: 0, Length: block})
	message(blockOf(blockID{0, 1}))
	if s := sw.pieces[0].slots; s[0].here || !s[1].here {
		t.Error("the block that was sent isn't here, or the one that was rejected is")
	}
	message(peer.Message{Type: pp.Unchoke})
	locked(n, func() {
		// All that is held is asked for now: what was early not once more.
		if len(c.early.asked) != 0 || len(c.requests) < earlyMost-1 {
			t.Errorf("%d blocks are still early, %d are asked for", len(c.early.asked), len(c.requests))
		}
		for id, s := range sw.pieces[0].slots {
			if !s.here && s.asked != 1 {
				t.Errorf("block %d is asked for %d times", id, s.asked)
			}
		}
	})

	// As long as somebody sends, who chokes isn't asked.
	other := testConn(t, sw, 2)
	locked(n, func() {
		other.tend(time.Now())
		if len(other.early.asked) != 0 {
			t.Errorf("asked for %d blocks that another sends", len(other.early.asked))
		}
	})
}
