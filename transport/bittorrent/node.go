package bittorrent

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"

	"github.com/anacrolix/dht/v2"
	"github.com/anacrolix/generics"
	"github.com/anacrolix/torrent"
	"github.com/anacrolix/torrent/metainfo"
	pp "github.com/anacrolix/torrent/peer_protocol"
	"github.com/anacrolix/torrent/storage"
	infohash_v2 "github.com/anacrolix/torrent/types/infohash-v2"
	"golang.org/x/time/rate"

	"github.com/waybill-project/waybill/transport"
)

// node is this program as a peer of others: the library's client, its sockets,
// and the torrents it has joined. It is there while one is.
type node struct {
	transport *Transport
	options   *Options
	mem       *memory
	client    *torrent.Client
	dht       *dht.Server // nil without
	lsd       *lsd        // nil without
	conns     *conns
	peers     *policy
	http      *http.Client
	closeHTTP func()

	// key is how a tracker knows this peer again from another address.
	key int32

	// metadata are those of each torrent: *torrent.Torrent to *metadata.
	// outbox are messages about them.
	metadata sync.Map
	outbox   chan letter
	tasks    sync.WaitGroup

	ctx    context.Context
	cancel context.CancelFunc

	// swarms are under the transport's lock.
	swarms []*swarm
}

// newNode opens the sockets.
func newNode(t *Transport) (*node, error) {
	skipSelfCheck()
	n := &node{transport: t, options: &t.options, mem: newMemory(t.options.Memory), key: rand.Int32(), peers: newPolicy(t.options.AllowPeer), outbox: make(chan letter, 64)}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.conns = &conns{allow: n.peers.allows, local: t.options.Listen, ctx: n.ctx}
	n.http, n.closeHTTP = t.options.HTTP, func() {}
	if n.http == nil {
		pool := http.DefaultTransport.(*http.Transport).Clone()
		n.http, n.closeHTTP = &http.Client{Transport: pool}, pool.CloseIdleConnections
	}
	client, err := torrent.NewClient(n.config())
	if err != nil {
		n.cancel()
		return nil, err
	}
	n.client = client
	n.tasks.Go(n.post)
	if err := n.listen(); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// config is the library's configuration. It opens no sockets of its own: those
// there are, are [node.listen]'s and [conns]'s.
func (n *node) config() *torrent.ClientConfig {
	o := n.options
	c := torrent.NewDefaultClientConfig()
	c.DefaultStorage = storageOfNone{}
	c.Slogger = o.Log
	c.DisableTCP, c.DisableUTP, c.NoDHT, c.DisableTrackers = true, true, true, true
	c.DialForPeerConns = false
	c.NoDefaultPortForwarding = true
	c.DisableWebtorrent = true
	c.DisablePEX = o.NoPEX
	// The library's plan of requests to web seeds (v1.61.0, getWebseedRequestEnd)
	// ends the program when what is wanted changes while it is made.
	c.DisableWebseeds = true
	c.WebTransport = roundTripper{n.http}
	c.Seed, c.NoUpload = o.Seed, !o.Seed
	c.DropDuplicatePeerIds = true
	// Unencrypted first: obfuscation protects nobody, and costs.
	c.HeaderObfuscationPolicy = torrent.HeaderObfuscationPolicy{Preferred: false}
	c.DialRateLimiter = rate.NewLimiter(50, 50)
	// Not bounded here, but by memory: no more is ever asked for.
	c.MaxUnverifiedBytes = 0
	c.DownloadRateLimiter = limiter(o.MaxDownload)
	if l := limiter(o.MaxUpload); l != nil {
		c.UploadRateLimiter = l
	}
	c.Callbacks.ReadExtendedHandshake = n.shook
	c.Callbacks.PeerConnClosed = n.disconnected
	c.Callbacks.PeerConnAdded = append(c.Callbacks.PeerConnAdded, n.peers.added, handleMetadata)
	c.Callbacks.PeerConnReadExtensionMessage = append(c.Callbacks.PeerConnReadExtensionMessage, n.peers.exchanged, n.told)
	return c
}

// spareQueue leaves room in the queue of requests that a peer says it has.
// Transmission rejects the request that fills it, and the library doesn't ask
// again for what was rejected last.
func spareQueue(_ *torrent.PeerConn, h *pp.ExtendedHandshakeMessage) {
	h.Reqq = h.Reqq * 3 / 4
}

// limiter returns a limiter of bytes per second, or nil for no limit. Its burst
// is what the library reads or writes at once at most.
func limiter(perSecond int64) *rate.Limiter {
	if perSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(perSecond), 1<<18)
}

// listen opens the sockets for peers and the DHT, and begins local service
// discovery.
func (n *node) listen() error {
	o := n.options
	host := ""
	if o.Listen.IsValid() {
		host = o.Listen.String()
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(o.ListenPort)))
	if err != nil {
		return err
	}
	n.conns.listener = l
	n.client.AddListener(trackedListener{l, n.conns})
	n.client.AddDialer(n.conns)
	if !o.NoDHT {
		port := l.Addr().(*net.TCPAddr).Port
		if n.dht, err = newDHT(o, net.JoinHostPort(host, strconv.Itoa(port))); err != nil {
			return err
		}
		n.client.AddDhtServer(torrent.AnacrolixDhtServerWrapper{Server: n.dht})
	}
	if !o.NoLSD {
		n.lsd, err = newLSD(n)
	}
	return err
}

// port is the one that peers reach this one at.
func (n *node) port() int { return n.conns.listener.Addr().(*net.TCPAddr).Port }

// join returns the torrent of l. The transport's lock is held.
func (n *node) join(l *link) (*swarm, error) {
	sw := &swarm{
		node: n, mem: n.mem, refused: make(chan struct{}), left: make(chan struct{}),
		pieces: map[int]*piece{}, told: map[int]bool{}, verified: map[int]bool{}, content: map[int64]*seeded{},
	}
	opts := torrent.AddTorrentOpts{InfoHash: l.short(), Storage: sw, InfoBytes: l.info, DisableInitialPieceCheck: true}
	if l.v1 != nil && l.v2 != nil {
		opts.InfoHashV2 = generics.Some(infohash_v2.T(*l.v2))
	}
	t, isNew := n.client.AddTorrentOpt(opts)
	if !isNew {
		for _, old := range n.swarms {
			if old.t == t {
				sw = old
			}
		}
	} else {
		sw.t, sw.ready, sw.hashes, sw.meta = t, t.GotInfo(), l.hashes(), newMetadata(l)
		n.metadata.Store(t, sw.meta)
		t.SetOnWriteChunkError(func(error) {}) // errGone is no failure
		if !n.options.Seed {
			t.DisallowDataUpload()
		}
		n.swarms = append(n.swarms, sw)
	}
	if l.info != nil {
		// It is the same where the torrent is known already, and what is wrong
		// with it is found out by whoever waits for the metadata.
		_ = sw.learn(l.info)
	}
	if len(l.layers) > 0 {
		select {
		case <-t.GotInfo():
			if errs := t.AddPieceLayers(l.layers); len(errs) > 0 {
				return nil, transport.Errorf(transport.ErrPermanent, l.uri, "piece layers: %w", errs[0])
			}
		default:
		}
	}
	n.search(sw, l, isNew)
	return sw, nil
}

// forget takes sw out of the list. The transport's lock is held.
func (n *node) forget(sw *swarm) {
	for i, s := range n.swarms {
		if s == sw {
			n.swarms = append(n.swarms[:i], n.swarms[i+1:]...)
			return
		}
	}
}

// closeIfUnused is for a node that was made for a torrent that can't be joined.
// The transport's lock is held.
func (n *node) closeIfUnused() {
	if len(n.swarms) == 0 {
		n.transport.node = nil
		go n.close()
	}
}

// drop leaves the torrent.
func (sw *swarm) drop() {
	close(sw.left)
	sw.leave()
	sw.t.Drop()
	sw.node.metadata.Delete(sw.t)
	sw.tasks.Wait()
}

// close leaves all torrents and closes all sockets. The node is no longer the
// transport's.
func (n *node) close() {
	n.cancel()
	var all sync.WaitGroup
	for _, sw := range n.swarms {
		all.Go(sw.drop)
	}
	all.Wait()
	if n.lsd != nil {
		n.lsd.close()
	}
	n.client.Close() // before its listener, whose Accept it calls in a loop
	n.conns.close()
	n.tasks.Wait()
	if n.dht != nil {
		n.dht.Close()
	}
	n.closeHTTP()
}

// storageOfNone is the library's default storage. Every torrent has its own.
type storageOfNone struct{}

func (storageOfNone) OpenTorrent(context.Context, *metainfo.Info, metainfo.Hash) (storage.TorrentImpl, error) {
	return storage.TorrentImpl{}, errGone
}
