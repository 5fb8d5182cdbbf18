package bittorrent

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/waybill-project/waybill/transport/bittorrent/peer"
)

// maxUploadQueue is how many requests of a peer wait at most.
const maxUploadQueue = 500

// uploads is what a peer asks for. Every peer that is interested is let in, as
// long as there is something to seed: [Options].MaxUpload is shared by all. It is
// under the node's lock.
type uploads struct {
	interested bool
	letIn      bool // it isn't choked
	queue      []peer.Message
	more       chan struct{}
	task       sync.WaitGroup
}

func (u *uploads) wait() { u.task.Wait() }

// cancel takes back a request.
func (u *uploads) cancel(m peer.Message) {
	u.queue = slices.DeleteFunc(u.queue, func(r peer.Message) bool {
		return r.Index == m.Index && r.Begin == m.Begin && r.Length == m.Length
	})
}

// appendHave appends what this side has to give: what it seeds.
func (sw *swarm) appendHave(out []byte, fast bool) []byte {
	if len(sw.verified) == 0 {
		if fast {
			return peer.Append(out, pp.HaveNone, nil)
		}
		return out
	}
	if fast && len(sw.verified) == sw.count {
		return peer.Append(out, pp.HaveAll, nil)
	}
	have := pieceSet{bits: make([]byte, ceil(int64(sw.count), 8))}
	for i := range sw.verified {
		have.add(i)
	}
	return peer.Append(out, pp.Bitfield, have.bits)
}

// announcePiece tells peers of a piece that is seeded from now on.
func (sw *swarm) announcePiece(index int) {
	for c := range sw.conns {
		c.out = peer.Append(c.out, pp.Have, nil, uint32(index))
		c.offer()
		c.flush()
	}
}

// offer lets the peer in, if it wants something and there is something.
func (c *conn) offer() {
	if !c.up.interested || c.up.letIn || len(c.sw.verified) == 0 || c.closed {
		return
	}
	c.up.letIn = true
	c.out = peer.Append(c.out, pp.Unchoke, nil)
	c.flush()
	c.up.task.Go(c.upload)
}

// requested takes a request.
func (c *conn) requested(m peer.Message) error {
	sw := c.sw
	if !sw.known() || m.Length == 0 || m.Length > peer.MaxBlock || int64(m.Index) >= int64(sw.count) ||
		int64(m.Begin)+int64(m.Length) > min(sw.pieceLength, sw.length-int64(m.Index)*sw.pieceLength) {
		return fmt.Errorf("it asked for %d bytes at %d of piece %d", m.Length, m.Begin, m.Index)
	}
	if !c.up.letIn || !sw.verified[int(m.Index)] || len(c.up.queue) >= maxUploadQueue {
		c.reject(m)
		return nil
	}
	m.Payload = nil
	c.up.queue = append(c.up.queue, m)
	select {
	case c.up.more <- struct{}{}:
	default:
	}
	return nil
}

// reject says that a block won't be sent, where the peer understands that.
func (c *conn) reject(m peer.Message) {
	if c.fast {
		c.out = peer.Append(c.out, pp.Reject, nil, m.Index, m.Begin, m.Length)
		c.flush()
	}
}

// upload sends what the peer asks for until the connection is closed.
func (c *conn) upload() {
	n := c.sw.node
	buf := make([]byte, 0, peer.MaxBlock)
	var out []byte
	for {
		m, ok := c.nextUpload()
		if !ok {
			select {
			case <-c.up.more:
				continue
			case <-c.Closed():
				return
			}
		}
		if n.upload != nil && n.upload.WaitN(c.sw.ctx, int(m.Length)) != nil {
			return
		}
		buf = buf[:m.Length]
		if err := c.sw.readContent(int64(m.Index)*c.sw.pieceLength+int64(m.Begin), buf); err != nil {
			n.options.Log.Debug("seeding", "error", err)
			n.mu.Lock()
			c.reject(m)
			n.mu.Unlock()
			continue
		}
		out = peer.Append(out[:0], pp.Piece, buf, m.Index, m.Begin)
		if c.SendSlowly(out) != nil {
			return
		}
		n.mu.Lock()
		c.sw.counts.uploaded += int64(m.Length)
		n.mu.Unlock()
	}
}

func (c *conn) nextUpload() (m peer.Message, ok bool) {
	c.sw.node.mu.Lock()
	defer c.sw.node.mu.Unlock()
	if len(c.up.queue) == 0 {
		return m, false
	}
	m = c.up.queue[0]
	c.up.queue = c.up.queue[1:]
	return m, true
}

// errGone says that content isn't seeded any more.
var errGone = errors.New("it is not seeded any more")
