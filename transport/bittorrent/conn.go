package bittorrent

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/torrent/bencode"
	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/waybill-project/waybill/transport/bittorrent/peer"
	"github.com/waybill-project/waybill/transport/netclass"
)

const (
	// maxConns is how many peers of a torrent are connected at most.
	maxConns = 40
	// maxAllowed is how many pieces a peer may allow before it lets one in (BEP
	// 6).
	maxAllowed = 64
	// maxHandshake is the longest extended handshake that is read, in bytes.
	maxHandshake = 16 << 10
	// maxExchanged is how many peers are taken from one message of peer
	// exchange.
	maxExchanged = 200
)

// Which numbers this side has for extension messages (BEP 10).
const (
	extHandshake = 0
	extMetadata  = 1
	extPEX       = 2
)

// conn is a connection to a peer of a swarm. All but what peer.Conn holds is
// under the node's lock.
type conn struct {
	*peer.Conn
	sw     *swarm
	addr   netip.AddrPort
	id     [20]byte
	own    bool // this side made it
	since  time.Time
	closed bool // it is asked nothing any more
	out    []byte

	// What the peer can and has.
	fast, extended bool
	metadataID     byte // its number for messages of ut_metadata, or 0
	has            pieceSet
	heard          bool         // it has said what it has
	sized          int          // the length of its bitfield in bytes, if it sent one
	queue          int          // requests it queues
	choking        bool         // it lets this side wait
	allowed        map[int]bool // pieces it sends although it is choking
	early          early

	// What it was asked for.
	requests   map[blockID]request
	cancelled  int  // requests taken back that it may still answer
	interested bool // it was told that this side is
	snubbed    bool // it took too long
	throttled  int  // it would send, and this side waits for its own limit
	depth      int  // how many requests it is to have
	limit      int  // what that may be since it rejected some, or 0
	rate       float64
	received   int64 // bytes since measured
	measured   time.Time
	lastBlock  time.Time
	served     time.Time // when the last that it answered was asked
	kept       time.Time // alive, last

	// What it asks for.
	up uploads
}

func newConn(sw *swarm, pc *peer.Conn, hello peer.Hello, addr netip.AddrPort, own bool, now time.Time) *conn {
	return &conn{
		Conn: pc, sw: sw, addr: addr, id: hello.ID, own: own, since: now,
		fast: hello.Extensions.SupportsFast(), extended: hello.Extensions.SupportsExtended(),
		queue: defaultQueue, choking: true, allowed: map[int]bool{},
		requests: map[blockID]request{}, depth: min(pipelineStart, defaultQueue), measured: now, lastBlock: now, kept: now,
		up: uploads{more: make(chan struct{}, 1)},
	}
}

// attach makes a connection one of the swarm's, unless there is one with that
// peer, or there are enough, and serves it. It returns when it is over.
func (sw *swarm) attach(pc *peer.Conn, hello peer.Hello, addr netip.AddrPort, own bool) error {
	c := newConn(sw, pc, hello, addr, own, time.Now())
	if err := sw.admit(c); err != nil {
		pc.Close()
		pc.Wait()
		return err
	}
	err := c.serve()
	c.Close()
	sw.node.mu.Lock()
	c.closed = true
	delete(sw.conns, c)
	c.lose()
	sw.meta.disconnected(c)
	sw.fillAll()
	sw.node.mu.Unlock()
	c.up.wait()
	pc.Wait()
	return err
}

var errDuplicate = errors.New("connected to that peer already")

// admit adds c to the swarm and says what is to be said first.
func (sw *swarm) admit(c *conn) error {
	n := sw.node
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case sw.gone:
		return errors.New("the torrent was left")
	case c.id == n.id:
		if a := sw.addrs[c.addr]; a != nil {
			a.own = true
		}
		return errors.New("that peer is this program")
	case n.isBanned(c.addr.Addr()):
		return errors.New("banned")
	}
	for other := range sw.conns {
		if other.id != c.id || other.closed {
			continue
		}
		// Both sides may have dialled at once, and both are to keep the same
		// connection: the one that the peer with the larger ID made.
		larger := string(n.id[:]) > string(c.id[:])
		if other.own == c.own || other.own == larger {
			return errDuplicate
		}
		other.drop("connected twice")
	}
	if len(sw.conns) >= maxConns {
		return errors.New("enough peers are connected")
	}
	sw.conns[c] = struct{}{}
	sw.vain = false
	c.greet()
	return nil
}

// greet says what this side has, can and wants.
func (c *conn) greet() {
	sw := c.sw
	c.out = sw.appendHave(c.out, c.fast)
	if c.extended {
		c.out = peer.AppendExtended(c.out, extHandshake, sw.extendedHandshake())
	}
	c.interest()
	c.askEarly()
	c.flush()
}

// interest says, where anything is read, that this side is interested, long
// before it asks: peers decide every ten seconds whom they let in.
func (c *conn) interest() {
	if c.sw.wanted && !c.interested {
		c.interested = true
		c.out = peer.Append(c.out, pp.Interested, nil)
	}
}

// extendedHandshake is what this side can (BEP 10).
func (sw *swarm) extendedHandshake() []byte {
	h := pp.ExtendedHandshakeMessage{
		M: map[pp.ExtensionName]pp.ExtensionNumber{pp.ExtensionNameMetadata: extMetadata},
		V: "Waybill", Reqq: maxUploadQueue, Port: sw.node.port(),
	}
	if !sw.node.options.NoPEX && !sw.private {
		h.M[pp.ExtensionNamePex] = extPEX
	}
	h.MetadataSize = len(sw.meta.info)
	return bencode.MustMarshal(h)
}

// serve takes messages until the connection ends.
func (c *conn) serve() error {
	for {
		m, err := c.Read()
		if err != nil {
			return err
		}
		if m.Type == pp.Piece && !m.KeepAlive {
			if err := c.throttle(len(m.Payload)); err != nil {
				return err
			}
		}
		c.sw.node.mu.Lock()
		if !c.closed {
			err = c.handle(m)
		}
		c.sw.node.mu.Unlock()
		if err != nil {
			c.sw.node.options.Log.Debug("a peer broke the protocol", "peer", c.addr, "error", err)
			return err
		}
	}
}

// throttle waits until so many bytes may have been received.
func (c *conn) throttle(n int) error {
	limit := c.sw.node.download
	if limit == nil {
		return nil
	}
	mu := &c.sw.node.mu
	mu.Lock()
	c.throttled++
	mu.Unlock()
	err := limit.WaitN(c.sw.ctx, n)
	mu.Lock()
	c.throttled--
	mu.Unlock()
	return err
}

// drop ends the connection. The node's lock is held; what follows is done by
// whoever reads from it.
func (c *conn) drop(why string) {
	if c.closed {
		return
	}
	c.closed = true
	c.lose()
	c.Close()
	c.sw.node.options.Log.Debug("peer dropped", "peer", c.addr, "why", why)
}

// ban implements [supplier]: no peer at its address is connected to again.
func (c *conn) ban(why string) {
	n := c.sw.node
	n.banned[c.addr.Addr()] = struct{}{}
	n.options.Log.Info("peer banned", "peer", c.addr, "why", why)
	for _, sw := range n.byHash {
		for other := range sw.conns {
			if other.addr.Addr() == c.addr.Addr() {
				other.drop("banned")
			}
		}
	}
}

// handle does what a message asks for. An error ends the connection.
func (c *conn) handle(m peer.Message) error {
	if m.KeepAlive {
		return nil
	}
	switch m.Type {
	case pp.Choke:
		c.choked()
	case pp.Unchoke:
		c.letIn(time.Now())
	case pp.Interested:
		c.up.interested = true
		c.offer()
	case pp.NotInterested:
		c.up.interested = false
	case pp.Have, pp.HaveAll, pp.HaveNone, pp.Bitfield:
		return c.told(m)
	case pp.AllowedFast:
		if len(c.allowed) < maxAllowed && m.Index < MaxPieces {
			c.allowed[int(m.Index)] = true
			c.fill()
		}
	case pp.Piece:
		c.take(m)
	case pp.Reject:
		c.refused(m)
	case pp.Request:
		return c.requested(m)
	case pp.Cancel:
		c.up.cancel(m)
	case pp.Extended:
		return c.extension(m)
	case pp.HashRequest, pp.Hashes, pp.HashReject:
		return c.hashes(m)
	}
	return nil
}

// choked takes back what the peer was asked for and won't send now.
func (c *conn) choked() {
	if c.choking {
		return // some say so again for each request
	}
	c.choking = true
	c.lose()
	c.cancelled = 0
	c.sw.fillAll()
}

// told takes what a peer says that it has.
func (c *conn) told(m peer.Message) error {
	switch m.Type {
	case pp.Have:
		if m.Index >= MaxPieces {
			return fmt.Errorf("it has piece %d, beyond the limit", m.Index)
		}
		c.has.add(int(m.Index))
	case pp.HaveAll:
		c.has = pieceSet{all: true}
	case pp.HaveNone:
		c.has = pieceSet{}
	case pp.Bitfield:
		c.has, c.sized = pieceSet{bits: append([]byte(nil), m.Payload...)}, len(m.Payload)
	}
	c.heard = true
	if c.sw.known() && !c.fits() {
		return errors.New("its pieces are not the torrent's")
	}
	c.fill()
	return nil
}

// fits reports whether what the peer has is of this torrent.
func (c *conn) fits() bool {
	return c.has.fits(c.sw.count) && (c.sized == 0 || c.sized == int(ceil(int64(c.sw.count), 8)))
}

// extension takes an extension message (BEP 10). Its content is decoded only
// once it is known to be no deeper than the decoder can recurse.
func (c *conn) extension(m peer.Message) error {
	switch m.Extension {
	case extHandshake:
		return c.shook(m.Payload)
	case extMetadata:
		return c.metadataMessage(m.Payload)
	case extPEX:
		if !c.sw.node.options.NoPEX && !c.sw.private {
			return c.exchanged(m.Payload)
		}
	}
	return nil
}

// shook takes a peer's extended handshake.
func (c *conn) shook(payload []byte) error {
	if len(payload) > maxHandshake {
		return fmt.Errorf("an extended handshake of %d bytes, more than the limit of %d", len(payload), maxHandshake)
	}
	if err := checkDepth(payload); err != nil {
		return err
	}
	var h pp.ExtendedHandshakeMessage
	if err := unmarshal(payload, &h); err != nil {
		return err
	}
	if h.Reqq > 0 {
		c.queue = max(1, min(h.Reqq, pipelineMax+spareQueue)-spareQueue)
		if c.rate == 0 {
			c.depth = pipelineStart
		}
		c.depth = min(c.depth, c.queue)
	}
	c.metadataID = byte(h.M[pp.ExtensionNameMetadata])
	c.sw.meta.offered(c, h.MetadataSize)
	return nil
}

// exchanged takes the peers that peer exchange (BEP 11) names.
func (c *conn) exchanged(payload []byte) error {
	if err := checkDepth(payload); err != nil {
		return err
	}
	msg, err := pp.LoadPexMsg(payload)
	if err != nil {
		return err
	}
	var peers []netip.AddrPort
	for _, added := range slices.Concat([]krpc.NodeAddr(msg.Added), []krpc.NodeAddr(msg.Added6)) {
		if p, ok := addrPort(added.IP, added.Port); ok && len(peers) < maxExchanged {
			peers = append(peers, p)
		}
	}
	c.sw.addPeers(peers, netclass.Of(c.addr.Addr()))
	return nil
}

// unmarshal decodes what a peer sent; that something follows is no error.
func unmarshal(b []byte, v any) error {
	err := bencode.Unmarshal(b, v)
	var trailing bencode.ErrUnusedTrailingBytes
	if errors.As(err, &trailing) {
		return nil
	}
	return err
}
