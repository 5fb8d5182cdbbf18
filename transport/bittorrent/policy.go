package bittorrent

import (
	"net/netip"
	"sync"

	"github.com/waybill-project/waybill/transport/netclass"
)

// maxNarrow bounds how many peers on narrow networks are remembered.
const maxNarrow = 10_000

// policy decides which peers may be connected to; see [Options].AllowPeer and
// [Options].Public.
type policy struct {
	own    func(netip.AddrPort) bool
	public bool
	// trusted are networks whose peers anybody may name.
	trusted netclass.Networks

	mu sync.Mutex
	// narrow are the peers that are not on the internet and were named by
	// someone who may.
	narrow map[netip.AddrPort]struct{}
}

func newPolicy(o *Options) *policy {
	return &policy{own: o.AllowPeer, public: o.Public, trusted: o.Trusted, narrow: map[netip.AddrPort]struct{}{}}
}

// allows reports whether peer may be connected to.
func (p *policy) allows(peer netip.AddrPort) bool {
	public := netclass.Of(peer.Addr()) == netclass.Public
	switch {
	case p.own == nil && p.trusted.Contain(peer.Addr()):
		return true
	case p.public && !public:
		return false
	case p.own != nil:
		return p.own(peer)
	case public:
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

// floor is the narrowest network in which trackers and web seeds may be.
func (p *policy) floor() netclass.Class {
	if p.public {
		return netclass.Public
	}
	return netclass.Loopback
}

// addrPort returns the address of ip and port, if they are one.
func addrPort(ip []byte, port int) (netip.AddrPort, bool) {
	addr, ok := netip.AddrFromSlice(ip)
	if !ok || port <= 0 || port > 65535 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), true
}
