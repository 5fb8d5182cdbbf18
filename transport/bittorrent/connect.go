package bittorrent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/waybill-project/waybill/transport/bittorrent/peer"
	"github.com/waybill-project/waybill/transport/netclass"
)

const (
	// maxKnown is how many peers of a torrent are remembered.
	maxKnown = 2000
	// maxDialling is how many of them are being connected to at once.
	maxDialling = 20
	// dialTimeout is how long a peer may take to answer.
	dialTimeout = 6 * time.Second
	// reconnect is how long after a failure a peer is tried again, doubled
	// each time up to reconnectMost; while no peer is connected and somebody
	// waits, up to reconnectSoon.
	reconnect, reconnectSoon, reconnectMost = 500 * time.Millisecond, 2 * time.Second, time.Minute
	// useless is how long a connection to a peer that has nothing is kept while
	// nobody sends anything.
	useless = 4 * time.Second
	// maxIncoming is how many connections that peers made may be in their
	// handshake.
	maxIncoming = 40
)

// address is where a peer is. It is under the node's lock.
type address struct {
	at       netip.AddrPort
	busy     bool // dialled or connected
	own      bool // it turned out to be this program
	attempt  int  // how the next handshake is made; see attempts
	failures int
	last     time.Time // when it was left, or couldn't be reached
	err      error     // why it couldn't be reached the last time
	now      bool      // it is to be tried again at once, in another way
}

// attempts are the ways to make a handshake: in the clear under each name of the
// torrent, then obfuscated.
func (sw *swarm) way(attempt int) (hash [20]byte, obfuscated bool) {
	n := len(sw.hashes)
	return sw.hashes[attempt%n], attempt/n%2 == 1
}

// addPeers takes peers that someone in a network of class by has named. The
// node's lock is held.
func (sw *swarm) addPeers(peers []netip.AddrPort, by netclass.Class) {
	for _, p := range peers {
		if sw.addrs[p] != nil || !sw.node.peers.name(p, by) {
			continue
		}
		if len(sw.addrs) >= maxKnown {
			return
		}
		sw.addrs[p] = &address{at: p}
	}
	sw.dialSome(time.Now())
}

// foundPeers is addPeers for who doesn't hold the lock.
func (sw *swarm) foundPeers(peers []netip.AddrPort, by netclass.Class) {
	sw.node.mu.Lock()
	defer sw.node.mu.Unlock()
	sw.addPeers(peers, by)
}

// lonely reports whether no peer but this one is known.
func (sw *swarm) lonely() bool {
	sw.node.mu.Lock()
	defer sw.node.mu.Unlock()
	if len(sw.conns) > 0 {
		return false
	}
	own := sw.node.port()
	for at, a := range sw.addrs {
		if !a.own && int(at.Port()) != own {
			return false
		}
	}
	return true
}

// dialSome connects to peers as long as there are too few connections. The
// node's lock is held.
func (sw *swarm) dialSome(now time.Time) {
	if sw.gone {
		return
	}
	for _, a := range sw.addrs {
		if len(sw.conns)+sw.dialling >= maxConns || sw.dialling >= maxDialling {
			return
		}
		if !a.busy && !a.own && sw.due(a, now) && !sw.node.isBanned(a.at.Addr()) {
			a.busy, a.now = true, false
			sw.dialling++
			sw.start(func() { sw.dial(a) })
		}
	}
}

// due reports whether a peer is to be tried now.
func (sw *swarm) due(a *address, now time.Time) bool {
	if a.last.IsZero() || a.now {
		return true
	}
	most := reconnectMost
	if len(sw.conns) == 0 && sw.wanted {
		most = reconnectSoon
	}
	return now.Sub(a.last) >= min(reconnect<<min(a.failures, 10), most)
}

// dial connects to a peer and serves the connection.
func (sw *swarm) dial(a *address) {
	n := sw.node
	n.mu.Lock()
	hash, obfuscated := sw.way(a.attempt)
	n.mu.Unlock()
	pc, hello, err := n.reach(sw.ctx, a.at, hash, obfuscated)
	n.mu.Lock()
	sw.dialling--
	n.mu.Unlock()
	reached := err == nil
	if reached {
		err = sw.attach(pc, hello, a.at, true)
	}
	n.options.Log.Debug("peer", "peer", a.at, "connected", reached, "error", err)

	n.mu.Lock()
	defer n.mu.Unlock()
	a.busy, a.last, a.err = false, time.Now(), nil
	if !reached {
		a.err = plain(err)
	}
	switch {
	case reached:
		a.failures = 1
	case errors.Is(err, peer.ErrHandshake):
		a.attempt++
		a.now = a.attempt%(2*len(sw.hashes)) != 0
		a.failures++
	default:
		a.failures++
	}
	sw.dialSome(a.last)
}

// plain returns err without the addresses that whoever reports it names.
func plain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// reach makes a connection to a peer, and the handshake.
func (n *node) reach(ctx context.Context, at netip.AddrPort, hash [20]byte, obfuscated bool) (*peer.Conn, peer.Hello, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	d := net.Dialer{KeepAlive: -1, ControlContext: n.control}
	if n.options.Listen.IsValid() {
		d.LocalAddr = &net.TCPAddr{IP: n.options.Listen.AsSlice()}
	}
	nc, err := d.DialContext(ctx, "tcp", at.String())
	if err != nil {
		return nil, peer.Hello{}, err
	}
	return peer.Initiate(ctx, nc, n.hello(hash), obfuscated)
}

// hello is how this peer introduces itself.
func (n *node) hello(hash [20]byte) peer.Hello {
	return peer.Hello{Extensions: pp.NewPeerExtensionBytes(pp.ExtensionBitLtep, pp.ExtensionBitFast), Hash: hash, ID: n.id}
}

// control refuses, on the address actually dialled, peers that may not be.
func (n *node) control(_ context.Context, _, at string, _ syscall.RawConn) error {
	p, err := netip.ParseAddrPort(at)
	if err != nil {
		return err
	}
	if p = netip.AddrPortFrom(p.Addr().Unmap(), p.Port()); !n.peers.allows(p) {
		return fmt.Errorf("%s: nobody who may has named a peer on this network", p)
	}
	return nil
}

// accept takes connections that peers make, until the listener is closed.
func (n *node) accept() {
	slots := make(chan struct{}, maxIncoming)
	for {
		nc, err := n.listener.Accept()
		if err != nil {
			if n.ctx.Err() != nil {
				return
			}
			time.Sleep(beat) // no descriptors are left
			continue
		}
		from, err := netip.ParseAddrPort(nc.RemoteAddr().String())
		if err != nil || n.options.Public && netclass.Of(from.Addr()) != netclass.Public {
			nc.Close()
			continue
		}
		select {
		case slots <- struct{}{}:
			n.tasks.Go(func() { n.welcome(nc, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), func() { <-slots }) })
		default:
			nc.Close()
		}
	}
}

// welcome answers a peer's handshake and serves the connection. greeted is
// called between the two.
func (n *node) welcome(nc net.Conn, from netip.AddrPort, greeted func()) {
	n.mu.Lock()
	var hashes [][20]byte
	for h := range n.byHash {
		hashes = append(hashes, h)
	}
	n.mu.Unlock()
	var sw *swarm
	pc, hello, err := peer.Accept(n.ctx, nc, hashes, func(theirs peer.Hello) (peer.Hello, bool) {
		n.mu.Lock()
		defer n.mu.Unlock()
		sw = n.byHash[theirs.Hash]
		return n.hello(theirs.Hash), sw != nil && !n.isBanned(from.Addr())
	})
	greeted()
	if err == nil {
		err = sw.attach(pc, hello, from, false)
	}
	n.options.Log.Debug("peer that called", "peer", from, "error", err)
}

// tend looks after the peers until the torrent is left.
func (sw *swarm) tend() {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-sw.ctx.Done():
			return
		case now := <-tick.C:
			sw.node.mu.Lock()
			sw.dropUseless(now)
			for c := range sw.conns {
				c.tend(now)
			}
			sw.askForHashes(now)
			sw.dialSome(now)
			sw.node.mu.Unlock()
		}
	}
}

// dropUseless drops, where something is wanted and nothing comes, connections to
// peers that have no piece at all, for them to be made anew: transmission says so
// while it checks what it has after a start, and doesn't say what it found.
// Where there are enough connections, those go that let this side wait.
func (sw *swarm) dropUseless(now time.Time) {
	if len(sw.bodies) == 0 || sw.idleFor(now) < useless {
		return
	}
	crowded := len(sw.conns) >= maxConns
	for c := range sw.conns {
		if c.up.letIn {
			continue // it has come for what is seeded
		}
		if age := now.Sub(c.since); age > useless && c.has.empty() || crowded && c.choking && age > 2*turn {
			c.drop("it has nothing")
		}
	}
}
