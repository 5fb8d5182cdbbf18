package bittorrent

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/anacrolix/torrent"

	"github.com/waybill-project/waybill/transport/netclass"
)

const (
	// maxReserve is how many peers of a torrent are remembered to connect to
	// again.
	maxReserve = 200
	// reconnect is how long after a torrent has lost its last connection its
	// peers are tried again.
	reconnect = time.Second
	// useless is how long a connection to a peer that has nothing is kept while
	// nobody sends anything.
	useless = 4 * time.Second
)

// reserve are the peers of a torrent that were found by other means than by
// the library, which forgets a peer when the connection to it is lost.
type reserve struct {
	mu       sync.Mutex
	peers    []netip.AddrPort
	trackers []string
	names    []string // of hosts named by URIs
}

// search begins to look for peers as l says, and if isNew as any torrent is
// looked for. The transport's lock is held.
func (n *node) search(sw *swarm, l *link, isNew bool) {
	if isNew {
		var ctx context.Context
		ctx, sw.leave = context.WithCancel(n.ctx)
		sw.ctx = ctx
		sw.tasks.Go(func() {
			if l.info == nil {
				sw.upgrade(ctx)
			}
			sw.reconnect(ctx)
		})
		sw.tasks.Go(func() { sw.searchPublicly(ctx) })
		if l.info == nil {
			sw.tasks.Go(func() { sw.findMetadata(ctx) })
		}
	}
	var literal []netip.AddrPort
	for _, p := range l.peers {
		if peer, err := netip.ParseAddrPort(p); err == nil {
			literal = append(literal, peer)
		} else if sw.reserve.add(&sw.reserve.names, p) {
			sw.tasks.Go(func() { sw.resolve(sw.ctx, p) })
		}
	}
	sw.foundPeers(literal, netclass.Loopback) // as typed: anywhere
	if n.options.NoTrackers {
		return
	}
	for _, url := range l.trackers {
		if sw.reserve.add(&sw.reserve.trackers, url) {
			sw.tasks.Go(func() { sw.track(sw.ctx, url) })
		}
	}
}

// add appends what is not in list yet and reports whether it did.
func (r *reserve) add(list *[]string, s string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(*list, s) || len(*list) >= maxNamed {
		return false
	}
	*list = append(*list, s)
	return true
}

// resolve finds the addresses of a peer named by host.
func (sw *swarm) resolve(ctx context.Context, hostport string) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		sw.node.options.Log.Info("looking up a peer", "peer", hostport, "error", err)
		return
	}
	var peers []netip.AddrPort
	for _, a := range addrs {
		peers = append(peers, netip.AddrPortFrom(a.Unmap(), uint16(number)))
	}
	sw.foundPeers(peers, netclass.Loopback)
}

// foundPeers takes peers that someone in a network of class by has named.
func (sw *swarm) foundPeers(peers []netip.AddrPort, by netclass.Class) {
	r := &sw.reserve
	var add []torrent.PeerInfo
	r.mu.Lock()
	for _, p := range peers {
		if !sw.node.peers.name(p, by) {
			continue
		}
		if !slices.Contains(r.peers, p) && len(r.peers) < maxReserve {
			r.peers = append(r.peers, p)
		}
		add = append(add, peerInfo(p))
	}
	r.mu.Unlock()
	if len(add) > 0 {
		sw.t.AddPeers(add)
	}
}

func peerInfo(p netip.AddrPort) torrent.PeerInfo {
	return torrent.PeerInfo{Addr: net.TCPAddrFromAddrPort(p), Source: torrent.PeerSourceDirect}
}

// lonely reports whether no peer is known.
func (sw *swarm) lonely() bool {
	sw.reserve.mu.Lock()
	defer sw.reserve.mu.Unlock()
	own := sw.node.port()
	return sw.t.Stats().ActivePeers == 0 && !slices.ContainsFunc(sw.reserve.peers, func(p netip.AddrPort) bool { return int(p.Port()) != own })
}

// upgrade makes connections anew when the metadata turn out to be of v2 only:
// the library takes those it made before, by the begin of an infohash it didn't
// know the version of, for connections of v1, over which it doesn't ask for the
// hashes of pieces (BEP 52).
func (sw *swarm) upgrade(ctx context.Context) {
	tick := time.NewTicker(reconnect)
	defer tick.Stop()
	for known := false; !known; {
		select {
		case <-ctx.Done():
			return
		case <-sw.ready:
			known = true
		case <-tick.C:
			sw.again()
		}
	}
	if sw.info.HasV1() {
		return
	}
	for _, conn := range sw.t.PeerConns() {
		sw.node.conns.drop(conn.RemoteAddr.String())
	}
	for sw.t.Stats().ActivePeers > 0 && ctx.Err() == nil {
		time.Sleep(time.Millisecond) // until the library has noticed
	}
	sw.again()
}

// nudge makes the library think again of what to ask its peers for, where
// something is wanted and nothing came for a while: it doesn't by itself when
// the last request to a peer was rejected.
func (sw *swarm) nudge() {
	if time.Since(time.Unix(0, sw.last.Load())) < reconnect {
		return
	}
	waiting := sw.waiting()
	if len(waiting) > 0 && time.Since(time.Unix(0, sw.last.Load())) > useless {
		sw.dropUseless()
	}
	for _, i := range waiting {
		sw.t.Piece(i).SetPriority(torrent.PiecePriorityNone)
		sw.apply([]int{i})
	}
}

// dropUseless drops the connections to peers that said, longer ago than useless,
// that they have no piece at all, for them to be made anew: transmission says so
// while it checks what it has after a start, and doesn't say what it found.
func (sw *swarm) dropUseless() {
	for _, conn := range sw.t.PeerConns() {
		if conn.PeerPieces().IsEmpty() && sw.node.conns.age(conn.RemoteAddr.String()) > useless {
			sw.node.conns.drop(conn.RemoteAddr.String())
		}
	}
}

// waiting returns the pieces that ranges wait for before others.
func (sw *swarm) waiting() []int {
	sw.mem.mu.Lock()
	defer sw.mem.mu.Unlock()
	var all []int
	for i, p := range sw.pieces {
		if p.first > 0 && !p.complete {
			all = append(all, i)
		}
	}
	return all
}

// reconnect tries the peers again that were lost.
func (sw *swarm) reconnect(ctx context.Context) {
	tick := time.NewTicker(reconnect)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		sw.nudge()
		sw.again()
	}
}

// again tries the peers that were found, where none is connected.
func (sw *swarm) again() {
	if s := sw.t.Stats(); s.ActivePeers > 0 || s.HalfOpenPeers > 0 {
		return
	}
	var again []torrent.PeerInfo
	sw.reserve.mu.Lock()
	for _, p := range sw.reserve.peers {
		again = append(again, peerInfo(p))
	}
	sw.reserve.mu.Unlock()
	sw.t.AddPeers(again)
}

// searchPublicly looks for peers in the DHT and on the local network, if the
// torrent isn't private (BEP 27). Of a magnet that is known with its metadata
// only, for which it has to be looked for first.
func (sw *swarm) searchPublicly(ctx context.Context) {
	select {
	case <-sw.ready:
		if sw.private {
			return
		}
	default:
	}
	public, end := context.WithCancel(ctx)
	defer end()
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer end()
	if sw.node.dht != nil {
		tasks.Go(func() { sw.searchDHT(public) })
	}
	if sw.node.lsd != nil {
		tasks.Go(func() { sw.node.lsd.announce(public, sw) })
	}
	select {
	case <-ctx.Done():
		return
	case <-sw.refused:
		return
	case <-sw.ready:
		if sw.private {
			return
		}
	}
	<-ctx.Done()
}
