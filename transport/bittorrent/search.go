package bittorrent

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/waybill-project/waybill/transport/netclass"
)

// sources are where a torrent's peers are looked for.
type sources struct {
	mu       sync.Mutex
	trackers []string
	names    []string // of hosts named by URIs
}

// search begins to look for peers as l says, and if isNew as any torrent is
// looked for. The transport's lock is held.
func (n *node) search(sw *swarm, l *link, isNew bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if isNew {
		sw.start(sw.tend)
		sw.start(func() { sw.searchPublicly(sw.ctx) })
		if l.info == nil {
			sw.start(sw.findMetadata)
		}
	}
	var literal []netip.AddrPort
	for _, p := range l.peers {
		if at, err := netip.ParseAddrPort(p); err == nil {
			literal = append(literal, netip.AddrPortFrom(at.Addr().Unmap(), at.Port()))
		} else if sw.sources.add(&sw.sources.names, p) {
			sw.start(func() { sw.resolve(sw.ctx, p) })
		}
	}
	sw.addPeers(literal, netclass.Loopback) // as typed: anywhere
	for _, url := range l.webseeds {
		sw.addWebseed(url)
	}
	if n.options.NoTrackers {
		return
	}
	for _, url := range l.trackers {
		if sw.sources.add(&sw.sources.trackers, url) {
			sw.start(func() { sw.track(sw.ctx, url) })
		}
	}
}

// add appends what is not in list yet and reports whether it did.
func (r *sources) add(list *[]string, s string) bool {
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
