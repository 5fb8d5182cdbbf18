package bittorrent

import (
	"context"
	"crypto/sha1"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/anacrolix/torrent/bencode"
	"github.com/anacrolix/torrent/metainfo"
	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/waybill-project/waybill/transport/bittorrent/peer"
)

// testSwarm is a swarm without sockets, of a torrent of random content.
func testSwarm(t *testing.T, r *rand.Rand, pieces int, pieceLength int64) (*swarm, []byte) {
	t.Helper()
	content := make([]byte, int64(pieces)*pieceLength-777)
	for i := range content {
		content[i] = byte(r.Uint32())
	}
	info := metainfo.Info{Name: "x", PieceLength: pieceLength, Length: int64(len(content))}
	for at := int64(0); at < info.Length; at += pieceLength {
		sum := sha1.Sum(content[at:min(at+pieceLength, info.Length)])
		info.Pieces = append(info.Pieces, sum[:]...)
	}
	o := Options{Log: slog.New(slog.DiscardHandler)}.withDefaults()
	n := &node{
		options: &o, peers: newPolicy(&o), hashers: make(chan struct{}, 2), mem: newMemory(int64(pieces) * pieceLength / 3),
		byHash: map[[20]byte]*swarm{}, banned: map[netip.Addr]struct{}{}, id: [20]byte{1},
	}
	n.ctx, n.cancel = context.WithCancel(t.Context())
	b := bencode.MustMarshal(info)
	hash := sha1.Sum(b)
	sw := newSwarm(n, &link{v1: &hash})
	sw.learn(b)
	if !sw.known() {
		t.Fatal(sw.invalid)
	}
	t.Cleanup(sw.drop)
	return sw, content
}

// testConn attaches a peer that has everything and whose messages are those the
// test makes up.
func testConn(t *testing.T, sw *swarm, id byte) *conn {
	t.Helper()
	ours, theirs := net.Pipe()
	hello := peer.Hello{Hash: sw.hashes[0], ID: [20]byte{'p', id}, Extensions: pp.NewPeerExtensionBytes(pp.ExtensionBitFast)}
	go func() {
		pc, _, err := peer.Accept(t.Context(), theirs, nil, func(peer.Hello) (peer.Hello, bool) { return hello, true })
		for err == nil {
			_, err = pc.Read()
		}
	}()
	pc, got, err := peer.Initiate(t.Context(), ours, peer.Hello{Hash: sw.hashes[0], ID: sw.node.id}, false)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	c := newConn(sw, pc, got, netip.AddrPortFrom(netip.AddrFrom4([4]byte{8, 8, 8, id}), 1), true, now)
	c.depth = 10
	if err := sw.admit(c); err != nil {
		t.Fatal(err)
	}
	sw.node.mu.Lock()
	defer sw.node.mu.Unlock()
	if err := c.handle(peer.Message{Type: pp.HaveAll}); err != nil {
		t.Fatal(err)
	}
	return c
}

// checkRequests holds what pieces say of requests against what peers were asked
// for.
func checkRequests(t *testing.T, sw *swarm) {
	t.Helper()
	type key struct {
		p *piece
		b int
	}
	out := map[key]int{}
	for c := range sw.conns {
		for id, r := range c.requests {
			out[key{r.p, id.block}]++
			if c.closed {
				t.Fatalf("block %v is requested of a peer that is gone", id)
			}
			if r.p.index != id.index {
				t.Fatalf("block %v is said to be of piece %d", id, r.p.index)
			}
		}
	}
	for _, p := range sw.pieces {
		free, missing := 0, 0
		for b, s := range p.slots {
			if n := out[key{p, b}]; n != int(s.asked) {
				t.Fatalf("block %d of piece %d: %d peers were asked, and %d is noted", b, p.index, n, s.asked)
			}
			if !s.here {
				missing++
				if s.asked == 0 {
					free++
				}
			}
		}
		if free != p.free || missing != p.missing {
			t.Fatalf("piece %d: %d blocks missing, %d of them free; noted are %d, %d", p.index, missing, free, p.missing, p.free)
		}
	}
	if sw.mem.used > sw.mem.limit {
		t.Fatalf("%d bytes of pieces, more than the limit of %d", sw.mem.used, sw.mem.limit)
	}
}

// TestNoRequestIsLost: whatever peers and readers do, every wanted block is here,
// requested, or free to be requested; and where one peer sends what it is asked
// for, every range gets its content.
func TestNoRequestIsLost(t *testing.T) {
	t.Parallel()
	const pieces, pieceLength = 40, 5 * block
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 1))
		sw, content := testSwarm(t, r, pieces, pieceLength)
		n := sw.node
		id := byte(1)
		conns := []*conn{testConn(t, sw, id), testConn(t, sw, 2), testConn(t, sw, 3)}
		id = 4
		var bodies []*body
		file := sw.files[0]
		for range 3000 {
			c := conns[r.IntN(len(conns))]
			switch k := r.IntN(100); {
			case k < 4:
				off := r.Int64N(file.length)
				if sw.node.mem.bodies < 6 {
					b := sw.open(t.Context(), "x", file, off, min(1+r.Int64N(10*pieceLength), file.length-off))
					bodies = append(bodies, b)
				}
			case k < 7 && len(bodies) > 0:
				i := r.IntN(len(bodies))
				sw.closeBody(bodies[i])
				close(bodies[i].closed)
				bodies = append(bodies[:i], bodies[i+1:]...)
			case k < 15 && len(bodies) > 0: // read what is there
				bodies[r.IntN(len(bodies))].copy(make([]byte, 2*pieceLength))
			case k < 20:
				locked(n, func() { must(t, c.handle(peer.Message{Type: pp.Choke})) })
			case k < 40:
				locked(n, func() { must(t, c.handle(peer.Message{Type: pp.Unchoke})) })
			case k < 45:
				locked(n, func() {
					for blk := range c.requests {
						must(t, c.handle(peer.Message{Type: pp.Reject, Index: uint32(blk.index), Begin: uint32(blk.block * block), Length: block}))
						break
					}
				})
			case k < 47: // it goes
				locked(n, func() { c.drop("test"); delete(sw.conns, c) })
				id++
				for i := range conns {
					if conns[i] == c {
						conns[i] = testConn(t, sw, id)
					}
				}
			case k < 49: // it was silent
				locked(n, func() { c.tend(time.Now().Add(2 * snubTime)) })
			case k < 52:
				locked(n, func() { c.hurry(time.Now().Add(2 * slowTime)) })
			case k < 54:
				locked(n, func() { must(t, c.handle(peer.Message{Type: pp.AllowedFast, Index: r.Uint32N(pieces)})) })
			case k < 56:
				locked(n, func() { c.tend(time.Now()) })
			default:
				locked(n, func() { answer(t, c, content, r.IntN(50) == 0) })
			}
			locked(n, func() { checkRequests(t, sw) })
		}
		finish(t, sw, bodies, content, id)
	}
}

// finish reads all ranges to their end, with one peer that sends what it is asked
// for.
func finish(t *testing.T, sw *swarm, bodies []*body, content []byte, id byte) {
	t.Helper()
	honest := testConn(t, sw, id+1)
	locked(sw.node, func() { must(t, honest.handle(peer.Message{Type: pp.Unchoke})) })
	buf := make([]byte, 1<<20)
	for began := time.Now(); len(bodies) > 0; {
		if time.Since(began) > 20*time.Second {
			p := bodies[0].first()
			t.Fatalf("%d ranges stall: %d requests, %d cancelled; the first waits for %d blocks, %d of them free", len(bodies), len(honest.requests), honest.cancelled, p.missing, p.free)
		}
		locked(sw.node, func() {
			for range 20 {
				answer(t, honest, content, false)
			}
			for c := range sw.conns {
				now := time.Now()
				if c != honest { // it says nothing any more
					now = now.Add(2 * snubTime)
				}
				c.tend(now)
			}
			checkRequests(t, sw)
		})
		for i := 0; i < len(bodies); i++ {
			b := bodies[i]
			pos := b.pos
			n, _, err := b.copy(buf)
			if string(buf[:n]) != string(content[pos:pos+int64(n)]) {
				t.Fatal("wrong bytes")
			}
			if err != nil { // the end
				sw.closeBody(b)
				bodies = append(bodies[:i], bodies[i+1:]...)
				i--
			}
		}
	}
}

// answer sends a block that the peer was asked for, if any.
func answer(t *testing.T, c *conn, content []byte, wrong bool) {
	for id := range c.requests {
		at := int64(id.index)*c.sw.pieceLength + int64(id.block)*block
		size := c.sw.pieceSize(id.index) - int64(id.block)*block
		payload := append([]byte(nil), content[at:at+min(block, size)]...)
		if wrong {
			payload[0] ^= 1
		}
		must(t, c.handle(peer.Message{Type: pp.Piece, Index: uint32(id.index), Begin: uint32(id.block * block), Payload: payload}))
		return
	}
}

func locked(n *node, f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
