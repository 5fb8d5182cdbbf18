package bittorrent

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/anacrolix/dht/v2"
	"github.com/anacrolix/log"

	"github.com/waybill-project/waybill/transport/netclass"
)

const (
	// dhtInterval is how often the DHT is asked for more peers; dhtRetry is
	// the same while there are none, doubled each time.
	dhtInterval, dhtRetry = 15 * time.Minute, 2 * time.Second
)

// newDHT joins the DHT (BEP 5) at a UDP address.
func newDHT(o *Options, address string) (*dht.Server, error) {
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		return nil, err
	}
	if o.Public {
		conn = publicConn{conn}
	}
	config := dht.NewDefaultServerConfig()
	config.Conn = conn
	logger := log.NewLogger()
	logger.SetHandlers(log.SlogHandlerAsHandler{SlogHandler: o.Log.Handler()})
	config.Logger = logger
	config.StartingNodes = func() ([]dht.Addr, error) { return dht.GlobalBootstrapAddrs("udp") }
	if o.DHTBootstrap != nil {
		config.StartingNodes = func() ([]dht.Addr, error) { return dht.ResolveHostPorts(o.DHTBootstrap) }
	}
	if o.Listen.IsLoopback() {
		config.NoSecurity = true // BEP 42 has no node ids for loopback
	}
	s, err := dht.NewServer(config)
	if err != nil {
		conn.Close()
		return nil, err
	}
	go s.TableMaintainer() // until the server is closed
	return s, nil
}

// searchDHT asks the DHT for peers until ctx ends. This peer is announced only
// where it may seed.
func (sw *swarm) searchDHT(ctx context.Context) {
	for retry := dhtRetry; ; {
		for _, hash := range sw.hashes {
			sw.lookUp(ctx, hash)
		}
		wait := dhtInterval
		if sw.lonely() {
			wait, retry = retry, min(2*retry, dhtInterval)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// lookUp asks the DHT once.
func (sw *swarm) lookUp(ctx context.Context, hash [20]byte) {
	var opts []dht.AnnounceOpt
	if sw.node.options.Seed {
		opts = append(opts, dht.AnnouncePeer(dht.AnnouncePeerOpts{Port: sw.node.port()}))
	}
	a, err := sw.node.dht.AnnounceTraversal(hash, opts...)
	if err != nil {
		sw.node.options.Log.Debug("DHT", "error", err)
		return
	}
	defer a.Close()
	for {
		select {
		case <-ctx.Done():
			return
		case values, ok := <-a.Peers:
			if !ok {
				return
			}
			var peers []netip.AddrPort
			for _, p := range values.Peers {
				if peer, ok := addrPort(p.IP, p.Port); ok {
					peers = append(peers, peer)
				}
			}
			from, _ := addrPort(values.Addr.IP, values.Addr.Port)
			sw.foundPeers(peers, netclass.Of(from.Addr()))
		}
	}
}

// publicConn sends to public addresses only: nodes of the DHT name each other.
type publicConn struct{ net.PacketConn }

// WriteTo implements [net.PacketConn].
func (c publicConn) WriteTo(b []byte, to net.Addr) (int, error) {
	if class := netclass.OfAddr(to); class != netclass.Public {
		return 0, fmt.Errorf("%s: a %s address", to, class)
	}
	return c.PacketConn.WriteTo(b, to)
}
