package bittorrent

import (
	"net/netip"
	"sync"

	"github.com/anacrolix/torrent"
	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/waybill-project/waybill/transport/netclass"
)

// maxNarrow bounds how many peers on narrow networks are remembered.
const maxNarrow = 10_000

// policy decides which peers may be connected to; see [Options].AllowPeer.
type policy struct {
	own func(netip.AddrPort) bool

	mu sync.Mutex
	// narrow are the peers that are not on the internet and were named by
	// someone who may.
	narrow map[netip.AddrPort]struct{}
}

func newPolicy(own func(netip.AddrPort) bool) *policy {
	return &policy{own: own, narrow: map[netip.AddrPort]struct{}{}}
}

// allows reports whether peer may be connected to.
func (p *policy) allows(peer netip.AddrPort) bool {
	if p.own != nil {
		return p.own(peer)
	}
	if netclass.Of(peer.Addr()) == netclass.Public {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.narrow[peer]
	return ok
}

// name notes that someone in a network of class by named a peer, and reports
// whether it may be connected to.
func (p *policy) name(peer netip.AddrPort, by netclass.Class) bool {
	class := netclass.Of(peer.Addr())
	if class != netclass.Public && class >= by {
		p.mu.Lock()
		if len(p.narrow) < maxNarrow {
			p.narrow[peer] = struct{}{}
		}
		p.mu.Unlock()
	}
	return p.allows(peer)
}

// added is called for every connection to a peer, with the library's lock held,
// before it says which extensions it has. Private torrents have no peer
// exchange (BEP 27).
func (p *policy) added(conn *torrent.PeerConn) {
	info := conn.Torrent().Info()
	if info == nil || info.Private == nil || !*info.Private {
		return
	}
	own := torrent.LocalLtepProtocolMap{}
	for i, name := range conn.LocalLtepProtocolMap.Index {
		if name == pp.ExtensionNamePex {
			continue
		}
		own.Index = append(own.Index, name)
		if i < conn.LocalLtepProtocolMap.NumBuiltin {
			own.NumBuiltin++
		}
	}
	conn.LocalLtepProtocolMap = &own
}

// exchanged is called for every extension message (BEP 10) before the library
// reads it: it notes the peers that peer exchange (BEP 11) names.
func (p *policy) exchanged(e torrent.PeerConnReadExtensionMessageEvent) {
	name, _, err := e.PeerConn.LocalLtepProtocolMap.LookupId(e.ExtensionNumber)
	if err != nil || name != pp.ExtensionNamePex {
		return
	}
	msg, err := pp.LoadPexMsg(e.Payload)
	if err != nil {
		return // the library will say so
	}
	from, err := netip.ParseAddrPort(e.PeerConn.RemoteAddr.String())
	if err != nil {
		return
	}
	by := netclass.Of(from.Addr())
	for _, added := range msg.Added {
		if peer, ok := addrPort(added.IP, added.Port); ok {
			p.name(peer, by)
		}
	}
	for _, added := range msg.Added6 {
		if peer, ok := addrPort(added.IP, added.Port); ok {
			p.name(peer, by)
		}
	}
}

// addrPort returns the address of ip and port, if they are one.
func addrPort(ip []byte, port int) (netip.AddrPort, bool) {
	addr, ok := netip.AddrFromSlice(ip)
	if !ok || port <= 0 || port > 65535 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), true
}
