package bittorrent

import (
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/anacrolix/torrent/merkle"
	"github.com/anacrolix/torrent/metainfo"
	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/waybill-project/waybill/transport/bittorrent/peer"
)

const (
	// hashesAtOnce is how many hashes a peer is asked for with one message (BEP
	// 52).
	hashesAtOnce = 512
	// hashPatience is how long a peer may take for all hashes of a file before
	// another one is asked.
	hashPatience = 3 * time.Second
)

// layer is the hashes of the pieces of a file, of a v2 torrent: the layer of the
// file's Merkle tree whose nodes are as large as a piece (BEP 52). A torrent file
// has them; of a magnet, peers are asked.
type layer struct {
	file   entry
	hashes [][32]byte // once known

	asked  *conn // who is asked for them
	since  time.Time
	got    [][32]byte
	chunks map[uint32]bool // that are to come, by their first index
	no     map[*conn]bool  // who doesn't have them
}

// layered reports whether a file has pieces whose hashes aren't in the metadata.
func (sw *swarm) layered(f entry) bool { return !sw.info.HasV1() && f.length > sw.pieceLength }

// hashKnown reports whether a piece can be verified.
func (sw *swarm) hashKnown(index int) bool {
	if sw.info.HasV1() {
		return true
	}
	_, ok := sw.hashV2(index)
	return ok
}

// hashV2 returns the hash of a piece of a v2 torrent, if it is known.
func (sw *swarm) hashV2(index int) ([32]byte, bool) {
	at := int64(index) * sw.pieceLength
	f, ok := sw.fileAt(at)
	if !ok || f.length <= sw.pieceLength {
		return rootOf(f), ok
	}
	l := sw.layers[rootOf(f)]
	if l == nil || l.hashes == nil {
		return [32]byte{}, false
	}
	return l.hashes[(at-f.offset)/sw.pieceLength], true
}

// needHashes begins to ask for the hashes of a file, unless they are known.
func (sw *swarm) needHashes(f entry) {
	if sw.layered(f) && sw.layers[rootOf(f)] == nil {
		sw.layers[rootOf(f)] = &layer{file: f}
		sw.askForHashes(time.Now())
	}
}

// addLayers takes the hashes that a torrent file has.
func (sw *swarm) addLayers(layers map[string]string) error {
	sw.node.mu.Lock()
	defer sw.node.mu.Unlock()
	for _, f := range sw.files {
		root := rootOf(f)
		compact, ok := layers[string(root[:])]
		if !ok || f.length <= sw.pieceLength {
			continue
		}
		hashes, err := merkle.CompactLayerToSliceHashes(compact)
		if err != nil {
			return err
		}
		if !sw.isLayer(f, hashes) {
			return fmt.Errorf("those of %q are not what its pieces root is of", f.path)
		}
		sw.layers[root] = &layer{file: f, hashes: hashes}
	}
	return nil
}

// isLayer reports whether hashes are those of a file's pieces.
func (sw *swarm) isLayer(f entry, hashes [][32]byte) bool {
	return int64(len(hashes)) == ceil(f.length, sw.pieceLength) &&
		merkle.RootWithPadHash(append([][32]byte(nil), hashes...), sw.padHash()) == rootOf(f)
}

// padHash is that of a piece beyond the end of a file.
func (sw *swarm) padHash() [32]byte { return metainfo.HashForPiecePad(sw.pieceLength) }

// baseLayer is the number of layers below that of pieces.
func (sw *swarm) baseLayer() uint32 {
	return uint32(bits.TrailingZeros64(uint64(sw.pieceLength / block)))
}

// askForHashes asks a peer for the hashes of each file that lacks them and that
// nobody is asked for.
func (sw *swarm) askForHashes(now time.Time) {
	for _, l := range sw.layers {
		if l.hashes != nil || l.asked != nil && !l.asked.closed && now.Sub(l.since) < hashPatience {
			continue
		}
		l.asked = nil
		for c := range sw.conns {
			if !c.closed && !l.no[c] && !c.has.empty() {
				c.askForHashes(l, now)
				break
			}
		}
		if l.asked == nil {
			l.no = nil // whoever refused is asked again
		}
	}
}

// askForHashes asks one peer for all hashes of a file: that some of them were
// wrong is then known by their root, and who sent them.
func (c *conn) askForHashes(l *layer, now time.Time) {
	n := int(ceil(l.file.length, c.sw.pieceLength))
	l.asked, l.since, l.chunks = c, now, map[uint32]bool{}
	l.got = make([][32]byte, 1<<bits.Len(uint(n-1)))
	if l.no == nil {
		l.no = map[*conn]bool{}
	}
	l.no[c] = true // until it sends them
	for at := 0; at < n; at += hashesAtOnce {
		r := peer.HashRange{Root: rootOf(l.file), Base: c.sw.baseLayer(), Index: uint32(at)}
		r.Length = uint32(1 << bits.Len(uint(min(hashesAtOnce, n-at)-1)))
		r.Length = max(r.Length, 2)
		l.chunks[r.Index] = true
		c.out = peer.AppendHashes(c.out, pp.HashRequest, r, nil)
	}
	c.flush()
}

// hashes takes a message about hashes.
func (c *conn) hashes(m peer.Message) error {
	if !c.sw.known() || !c.sw.info.HasV2() {
		return errors.New("it speaks of hashes that the torrent doesn't have")
	}
	if m.Type == pp.HashRequest {
		c.answerHashes(m.Hashes)
		return nil
	}
	l := c.sw.layers[m.Hashes.Root]
	if l == nil || l.asked != c || m.Hashes.Base != c.sw.baseLayer() || m.Hashes.Proof != 0 || !l.chunks[m.Hashes.Index] {
		return nil // late
	}
	if m.Type == pp.HashReject {
		l.asked = nil
		c.sw.askForHashes(time.Now())
		return nil
	}
	n := len(m.Payload) / 32
	if len(m.Payload)%32 != 0 || n != int(m.Hashes.Length) || n > hashesAtOnce {
		return errors.New("it sent another number of hashes than it says")
	}
	for i := range n {
		if at := int(m.Hashes.Index) + i; at < len(l.got) {
			copy(l.got[at][:], m.Payload[32*i:])
		}
	}
	delete(l.chunks, m.Hashes.Index)
	if len(l.chunks) == 0 {
		c.gotLayer(l)
	}
	return nil
}

// gotLayer takes all hashes of a file.
func (c *conn) gotLayer(l *layer) {
	got := l.got[:ceil(l.file.length, c.sw.pieceLength)]
	l.asked, l.got = nil, nil
	if !c.sw.isLayer(l.file, got) {
		c.ban("it sent hashes that the torrent doesn't have")
		return
	}
	l.hashes, l.no = got, nil
	c.sw.fillAll()
}

// answerHashes sends the hashes of pieces, if they are known and need no proof:
// if all of a file's are asked for at once, or without.
func (c *conn) answerHashes(r peer.HashRange) {
	l := c.sw.layers[r.Root]
	most := uint32(0)
	if l != nil {
		most = uint32(1 << bits.Len(uint(max(1, len(l.hashes))-1)))
	}
	proofs := int(r.Proof) - (bits.Len32(r.Length) - 2) // hashes of other nodes that are asked for, too
	if l == nil || l.hashes == nil || r.Base != c.sw.baseLayer() || r.Length == 0 || r.Length > hashesAtOnce ||
		r.Index > most || r.Length > most-r.Index || proofs > 0 && r.Proof > 0 {
		c.out = peer.AppendHashes(c.out, pp.HashReject, r, nil)
		c.flush()
		return
	}
	hashes := make([][32]byte, r.Length)
	for i := range hashes {
		if at := int(r.Index) + i; at < len(l.hashes) {
			hashes[i] = l.hashes[at]
		} else {
			hashes[i] = c.sw.padHash()
		}
	}
	c.out = peer.AppendHashes(c.out, pp.Hashes, r, hashes)
	c.flush()
}
