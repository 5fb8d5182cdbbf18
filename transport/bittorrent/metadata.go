package bittorrent

import (
	"context"
	"crypto/sha1" // what BEP 3 names torrents by
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anacrolix/torrent"
	"github.com/anacrolix/torrent/bencode"
	pp "github.com/anacrolix/torrent/peer_protocol"
)

const (
	// MaxMetadata is how large the metadata that peers send may be, in bytes.
	MaxMetadata = 16 << 20
	// metadataPiece is how much of it is in one message (BEP 9).
	metadataPiece = 16 << 10
	// metadataWindow is how many pieces a peer is asked for at once.
	metadataWindow = 32
	// metadataPatience is how long a peer may take for the next piece before
	// another one is asked.
	metadataPatience = 4 * time.Second
	// metadataServed is how often a connection may have all of the metadata.
	metadataServed = 3
)

// metadata is what a torrent is, as its peers know it: the extension for peers
// to send metadata files (BEP 9). It is done here and not by the library, which
// (v1.61.0) decodes what came, recursively, before it knows that it has the
// right hash, and believes sizes and indices that end the program.
type metadata struct {
	v1   *[20]byte
	v2   *[32]byte
	info atomic.Pointer[[]byte] // once known

	mu      sync.Mutex
	offers  []*offer // peers that have it, to be asked in this order
	current *assembly
	served  map[*torrent.PeerConn]int // pieces
	wake    chan struct{}             // there are offers
}

// offer is a peer that says it has the metadata.
type offer struct {
	conn *torrent.PeerConn
	size int
}

// assembly is metadata on their way from one peer.
type assembly struct {
	offer
	bytes []byte
	have  []bool
	asked int           // pieces that were asked for, from the first on
	count int           // pieces that came
	event chan struct{} // one came
	no    bool          // the peer refused
}

func newMetadata(l *link) *metadata {
	return &metadata{v1: l.v1, v2: l.v2, served: map[*torrent.PeerConn]int{}, wake: make(chan struct{}, 1)}
}

// handleMetadata takes the extension out of the library's hands, for a new connection.
// Like all callbacks it is called with the library's lock held.
func handleMetadata(conn *torrent.PeerConn) {
	own := torrent.LocalLtepProtocolMap{}
	for i, name := range conn.LocalLtepProtocolMap.Index {
		if name != pp.ExtensionNameMetadata {
			own.Index = append(own.Index, name)
			if i < conn.LocalLtepProtocolMap.NumBuiltin {
				own.NumBuiltin++
			}
		}
	}
	own.Index = append(own.Index, pp.ExtensionNameMetadata)
	conn.LocalLtepProtocolMap = &own
}

// metadataOf returns the metadata of the torrent that a connection is for, or
// nil.
func (n *node) metadataOf(conn *torrent.PeerConn) *metadata {
	m, _ := n.metadata.Load(conn.Torrent())
	found, _ := m.(*metadata)
	return found
}

// shook is called with a peer's extended handshake (BEP 10).
func (n *node) shook(conn *torrent.PeerConn, h *pp.ExtendedHandshakeMessage) {
	spareQueue(conn, h)
	size := h.MetadataSize
	h.MetadataSize = 0 // none of the library's business
	m := n.metadataOf(conn)
	if m == nil || m.info.Load() != nil || size <= 0 || size > MaxMetadata || h.M[pp.ExtensionNameMetadata] == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.ContainsFunc(m.offers, func(o *offer) bool { return o.conn == conn }) {
		m.offers = append(m.offers, &offer{conn, size})
	}
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// disconnected is called when a connection is closed.
func (n *node) disconnected(conn *torrent.PeerConn) {
	m := n.metadataOf(conn)
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.served, conn)
	m.offers = slices.DeleteFunc(m.offers, func(o *offer) bool { return o.conn == conn })
	if m.current != nil && m.current.conn == conn {
		m.current.refuse()
	}
}

// told is called for every extension message.
func (n *node) told(e torrent.PeerConnReadExtensionMessageEvent) {
	name, _, err := e.PeerConn.LocalLtepProtocolMap.LookupId(e.ExtensionNumber)
	m := n.metadataOf(e.PeerConn)
	if err != nil || name != pp.ExtensionNameMetadata || m == nil {
		return
	}
	// No longer than four blocks, so that no nesting is too deep to decode.
	var msg pp.ExtendedMetadataRequestMsg
	err = bencode.Unmarshal(e.Payload, &msg)
	var trailing bencode.ErrUnusedTrailingBytes
	if err != nil && !errors.As(err, &trailing) {
		return
	}
	switch msg.Type {
	case pp.RequestMetadataExtensionMsgType:
		if answer := m.answer(e.PeerConn, msg.Piece); answer != nil {
			select {
			case n.outbox <- letter{e.PeerConn, answer}:
			default: // too many ask
			}
		}
	case pp.DataMetadataExtensionMsgType:
		m.take(e.PeerConn, msg.Piece, e.Payload[len(e.Payload)-trailing.NumUnusedBytes:])
	case pp.RejectMetadataExtensionMsgType:
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.current != nil && m.current.conn == e.PeerConn {
			m.current.refuse()
		}
	}
}

// letter is an extension message to be sent without the library's lock.
type letter struct {
	to      *torrent.PeerConn
	payload []byte
}

// post sends letters until the node is closed.
func (n *node) post() {
	for {
		select {
		case <-n.ctx.Done():
			return
		case l := <-n.outbox:
			_ = l.to.WriteExtendedMessage(pp.ExtensionNameMetadata, l.payload) // the peer may be gone
		}
	}
}

// answer is what a peer that asks for a piece is told, or nil.
func (m *metadata) answer(conn *torrent.PeerConn, piece int) []byte {
	info := m.info.Load()
	if info == nil || piece < 0 || piece >= pieces(len(*info)) {
		return fmt.Appendf(nil, "d8:msg_typei2e5:piecei%dee", piece)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.served[conn]++; m.served[conn] > metadataServed*pieces(len(*info)) {
		return nil
	}
	part := (*info)[piece*metadataPiece : min(len(*info), (piece+1)*metadataPiece)]
	return append(fmt.Appendf(nil, "d8:msg_typei1e5:piecei%de10:total_sizei%dee", piece, len(*info)), part...)
}

func pieces(size int) int { return int(ceil(int64(size), metadataPiece)) }

// take takes a piece.
func (m *metadata) take(conn *torrent.PeerConn, piece int, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.current
	if a == nil || a.conn != conn || piece < 0 || piece >= a.asked || a.have[piece] {
		return
	}
	at := piece * metadataPiece
	if len(data) != min(metadataPiece, a.size-at) {
		a.refuse()
		return
	}
	copy(a.bytes[at:], data)
	a.have[piece] = true
	a.count++
	a.signal()
}

func (a *assembly) refuse() {
	a.no = true
	a.signal()
}

func (a *assembly) signal() {
	select {
	case a.event <- struct{}{}:
	default:
	}
}

// findMetadata asks one peer after the other for the metadata, and gives those that are
// what the infohash is of to the library.
func (sw *swarm) findMetadata(ctx context.Context) {
	m := sw.meta
	for {
		o := m.next()
		if o == nil {
			select {
			case <-m.wake:
				continue
			case <-sw.ready: // by a torrent file
				return
			case <-ctx.Done():
				return
			}
		}
		info, err := m.from(ctx, o)
		if err != nil {
			sw.node.options.Log.Debug("asking for metadata", "peer", o.conn.RemoteAddr.String(), "error", err)
			continue
		}
		if err := sw.learn(info); err != nil {
			sw.reject(err)
		}
		return
	}
}

// learn takes metadata with the right hash.
func (sw *swarm) learn(info []byte) error {
	if err := checkDepth(info); err != nil {
		return err
	}
	if err := sw.t.SetInfoBytes(info); err != nil {
		return err
	}
	sw.meta.info.Store(&info)
	return nil
}

// next returns the peer to ask, which becomes the last.
func (m *metadata) next() *offer {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.offers) == 0 {
		return nil
	}
	o := m.offers[0]
	m.offers = append(m.offers[1:], o)
	return o
}

// from returns the metadata that a peer has.
func (m *metadata) from(ctx context.Context, o *offer) ([]byte, error) {
	a := &assembly{offer: *o, bytes: make([]byte, o.size), have: make([]bool, pieces(o.size)), event: make(chan struct{}, 1)}
	m.mu.Lock()
	m.current = a
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.current = nil
	}()
	for {
		ask, done, refused := m.ask(a)
		switch {
		case refused:
			m.strike(o)
			return nil, errors.New("it refuses")
		case done && !m.right(a.bytes):
			m.strike(o)
			return nil, errors.New("what it sent is not what the infohash is of")
		case done:
			return a.bytes, nil
		}
		for _, piece := range ask {
			if err := o.conn.WriteExtendedMessage(pp.ExtensionNameMetadata, fmt.Appendf(nil, "d8:msg_typei0e5:piecei%dee", piece)); err != nil {
				m.strike(o)
				return nil, err
			}
		}
		select {
		case <-a.event:
		case <-time.After(metadataPatience):
			return nil, fmt.Errorf("it sent nothing for %v", metadataPatience)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// ask returns which pieces to ask for now, and whether all came or none will.
func (m *metadata) ask(a *assembly) (now []int, done, refused bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for ; a.asked < len(a.have) && a.asked < a.count+metadataWindow; a.asked++ {
		now = append(now, a.asked)
	}
	return now, a.count == len(a.have), a.no
}

// strike asks a peer no more.
func (m *metadata) strike(o *offer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.offers = slices.DeleteFunc(m.offers, func(other *offer) bool { return other == o })
}

// right reports whether b is what the infohashes are of.
func (m *metadata) right(b []byte) bool {
	return (m.v1 == nil || sha1.Sum(b) == *m.v1) && (m.v2 == nil || sha256.Sum256(b) == *m.v2)
}
