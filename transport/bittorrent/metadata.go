package bittorrent

import (
	"context"
	"crypto/sha1" // what BEP 3 names torrents by
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/waybill-project/waybill/transport/bittorrent/peer"
)

const (
	// MaxMetadata is how large the metadata that peers send may be, in bytes.
	MaxMetadata = 16 << 20
	// metadataPiece is how much of it is in one message (BEP 9).
	metadataPiece = 16 << 10
	// metadataWindow is how many pieces a peer is asked for at once.
	metadataWindow = 32
	// metadataPatience is how long a peer may take for the next piece before
	// another one is asked, metadataTurn the same for all of them where there is
	// another one. It is asked for the rest then when all others were.
	metadataPatience, metadataTurn = 4 * time.Second, 5 * time.Second
	// metadataKept is how large metadata may be for a part of them to be kept
	// while another peer is asked, in bytes.
	metadataKept = 1 << 20
	// metadataServed is how often a connection may have all of the metadata.
	metadataServed = 3
)

// metadata is what a torrent is, as its peers know it: the extension for peers
// to send metadata files (BEP 9). What comes is decoded when it has the right
// hash. All but the hashes is under the node's lock.
type metadata struct {
	v1   *[20]byte
	v2   *[32]byte
	info []byte // once known

	offers []*offer      // peers that have it, to be asked in this order
	served map[*conn]int // pieces
	wake   chan struct{} // there are offers
}

// offer is a peer that says it has the metadata, and what of it came.
type offer struct {
	conn  *conn
	size  int
	bytes []byte // nil before it is asked
	have  []bool
	asked int           // pieces that were asked for, from the first on
	count int           // pieces that came
	event chan struct{} // one came
	no    bool          // the peer refused
}

func newMetadata(l *link) *metadata {
	return &metadata{v1: l.v1, v2: l.v2, served: map[*conn]int{}, wake: make(chan struct{}, 1)}
}

// offered takes note of a peer that says how large the metadata are.
func (m *metadata) offered(c *conn, size int) {
	if m.info != nil || size <= 0 || size > MaxMetadata || c.metadataID == 0 {
		return
	}
	if m.offerOf(c) == nil {
		m.offers = append(m.offers, &offer{conn: c, size: size, event: make(chan struct{}, 1)})
	}
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// disconnected takes note of a peer that is gone.
func (m *metadata) disconnected(c *conn) {
	delete(m.served, c)
	if o := m.offerOf(c); o != nil {
		o.refuse()
		m.strike(o)
	}
}

// offerOf returns what a peer has offered, or nil.
func (m *metadata) offerOf(c *conn) *offer {
	for _, o := range m.offers {
		if o.conn == c {
			return o
		}
	}
	return nil
}

// strike asks a peer no more.
func (m *metadata) strike(o *offer) {
	m.offers = slices.DeleteFunc(m.offers, func(other *offer) bool { return other == o })
}

// metadataMessage takes a message of the extension.
func (c *conn) metadataMessage(payload []byte) error {
	end, err := valueEnd(payload)
	if err != nil {
		return err
	}
	var msg pp.ExtendedMetadataRequestMsg
	if err := unmarshal(payload[:end], &msg); err != nil {
		return err
	}
	m := c.sw.meta
	switch msg.Type {
	case pp.RequestMetadataExtensionMsgType:
		if answer := m.answer(c, msg.Piece); answer != nil && c.metadataID != 0 {
			c.out = peer.AppendExtended(c.out, c.metadataID, answer)
			c.flush()
		}
	case pp.DataMetadataExtensionMsgType:
		m.take(c, msg.Piece, payload[end:])
	case pp.RejectMetadataExtensionMsgType:
		if o := m.offerOf(c); o != nil {
			o.refuse()
		}
	}
	return nil
}

// answer is what a peer that asks for a piece is told, or nil.
func (m *metadata) answer(c *conn, piece int) []byte {
	if piece < 0 || piece >= pieces(len(m.info)) {
		return fmt.Appendf(nil, "d8:msg_typei2e5:piecei%dee", piece)
	}
	if m.served[c]++; m.served[c] > metadataServed*pieces(len(m.info)) {
		return nil
	}
	part := m.info[piece*metadataPiece : min(len(m.info), (piece+1)*metadataPiece)]
	return append(fmt.Appendf(nil, "d8:msg_typei1e5:piecei%de10:total_sizei%dee", piece, len(m.info)), part...)
}

func pieces(size int) int { return int(ceil(int64(size), metadataPiece)) }

// take takes a piece.
func (m *metadata) take(c *conn, piece int, data []byte) {
	o := m.offerOf(c)
	if o == nil || piece < 0 || piece >= o.asked || o.have[piece] {
		return
	}
	at := piece * metadataPiece
	if len(data) != min(metadataPiece, o.size-at) {
		o.refuse()
		return
	}
	copy(o.bytes[at:], data)
	o.have[piece] = true
	o.count++
	o.signal()
}

func (o *offer) refuse() {
	o.no = true
	o.signal()
}

func (o *offer) signal() {
	select {
	case o.event <- struct{}{}:
	default:
	}
}

// findMetadata asks one peer after the other for the metadata.
func (sw *swarm) findMetadata() {
	for {
		o := sw.nextOffer()
		if o == nil {
			select {
			case <-sw.meta.wake:
				continue
			case <-sw.ready: // by a torrent file
				return
			case <-sw.refused:
				return
			case <-sw.ctx.Done():
				return
			}
		}
		info, err := sw.metadataFrom(sw.ctx, o)
		if err == nil {
			sw.learn(info)
			return
		}
		sw.setAside(o)
		sw.node.options.Log.Debug("asking for metadata", "peer", o.conn.addr, "error", err)
	}
}

// nextOffer returns the peer to ask, which becomes the last.
func (sw *swarm) nextOffer() *offer {
	sw.node.mu.Lock()
	defer sw.node.mu.Unlock()
	m := sw.meta
	if len(m.offers) == 0 {
		return nil
	}
	o := m.offers[0]
	m.offers = append(m.offers[1:], o)
	return o
}

// metadataFrom returns the metadata that a peer has, if it sends them in its
// turn.
func (sw *swarm) metadataFrom(ctx context.Context, o *offer) ([]byte, error) {
	turn := time.NewTimer(metadataTurn)
	defer turn.Stop()
	for {
		bytes, err := sw.askMetadata(o)
		if bytes != nil || err != nil {
			return bytes, err
		}
		select {
		case <-o.event:
		case <-time.After(metadataPatience):
			return nil, fmt.Errorf("it sent nothing for %v", metadataPatience)
		case <-turn.C:
			if sw.othersOffer() {
				return nil, fmt.Errorf("it has not sent all within %v", metadataTurn)
			}
		case <-sw.ready:
			return nil, errors.New("they are known by now")
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// setAside takes note that another peer is asked.
func (sw *swarm) setAside(o *offer) {
	sw.node.mu.Lock()
	defer sw.node.mu.Unlock()
	if o.size > metadataKept {
		o.bytes, o.have, o.asked, o.count = nil, nil, 0, 0
	}
}

func (sw *swarm) othersOffer() bool {
	sw.node.mu.Lock()
	defer sw.node.mu.Unlock()
	return len(sw.meta.offers) > 1
}

// askMetadata asks a peer for the next pieces, or returns all of them.
func (sw *swarm) askMetadata(o *offer) ([]byte, error) {
	sw.node.mu.Lock()
	defer sw.node.mu.Unlock()
	if o.bytes == nil {
		o.bytes, o.have = make([]byte, o.size), make([]bool, pieces(o.size))
	}
	switch {
	case o.no || o.conn.closed:
		sw.meta.strike(o)
		return nil, errors.New("it refuses")
	case o.count == len(o.have) && !sw.meta.right(o.bytes):
		sw.meta.strike(o)
		return nil, errors.New("what it sent is not what the infohash is of")
	case o.count == len(o.have):
		return o.bytes, nil
	}
	for ; o.asked < len(o.have) && o.asked < o.count+metadataWindow; o.asked++ {
		o.conn.out = peer.AppendExtended(o.conn.out, o.conn.metadataID, fmt.Appendf(nil, "d8:msg_typei0e5:piecei%dee", o.asked))
	}
	o.conn.flush()
	return nil, nil
}

// right reports whether b is what the infohashes are of.
func (m *metadata) right(b []byte) bool {
	return (m.v1 == nil || sha1.Sum(b) == *m.v1) && (m.v2 == nil || sha256.Sum256(b) == *m.v2)
}
