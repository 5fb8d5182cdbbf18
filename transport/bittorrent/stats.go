package bittorrent

import (
	"net/netip"
	"slices"
)

// Stats are counts over all torrents joined.
type Stats struct {
	// Torrents joined and Peers connected now.
	Torrents, Peers int
	// Downloaded and Uploaded are bytes of content received from and sent to
	// peers and web seeds since the torrents were joined; Wasted are those
	// received twice, wrong, or not asked for any more.
	Downloaded, Uploaded, Wasted int64
	// Memory is the bytes of pieces kept.
	Memory int64
	// Banned are the addresses of peers that sent wrong pieces.
	Banned []string
}

// Stats returns counts for people to look at.
func (t *Transport) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	var s Stats
	n := t.node
	if n == nil {
		return s
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, sw := range n.swarms {
		s.Torrents++
		s.Peers += len(sw.conns)
		s.Downloaded += sw.counts.downloaded
		s.Uploaded += sw.counts.uploaded
		s.Wasted += sw.counts.wasted
	}
	for addr := range n.banned {
		s.Banned = append(s.Banned, addr.String())
	}
	slices.Sort(s.Banned)
	s.Memory = n.mem.used
	return s
}

func (n *node) isBanned(addr netip.Addr) bool {
	_, banned := n.banned[addr]
	return banned
}
