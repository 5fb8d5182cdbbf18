package bittorrent

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/anacrolix/dht/v2"
	"github.com/anacrolix/log"

	"github.com/waybill-project/waybill/transport/netclass"
)

const (
	// dhtInterval is how often the DHT is asked for more peers; dhtRetry is
	// the same while there are none.
	dhtInterval, dhtRetry = 15 * time.Minute, 10 * time.Second
)

// newDHT joins the DHT (BEP 5) at a UDP address.
func newDHT(o *Options, address string) (*dht.Server, error) {
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		return nil, err
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
	for {
		for _, hash := range sw.hashes {
			sw.lookUp(ctx, hash)
		}
		wait := dhtInterval
		if sw.t.Stats().TotalPeers == 0 {
			wait = dhtRetry
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
