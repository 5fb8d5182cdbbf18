package bittorrent

import (
	"context"
	"crypto/rand"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/anacrolix/dht/v2"
	"golang.org/x/time/rate"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
)

// node is this program as a peer of others: its sockets, and the torrents it
// has joined. It is there while one is.
type node struct {
	transport *Transport
	options   *Options
	listener  net.Listener
	dht       *dht.Server // nil without
	lsd       *lsd        // nil without
	peers     *policy
	http      *httpclient.Client

	// id is how peers know this one, key how a tracker knows it again from
	// another address.
	id  [20]byte
	key int32

	// download and upload are the limits over all peers, or nil.
	download, upload *rate.Limiter
	// hashers bounds how many pieces are hashed at once.
	hashers chan struct{}

	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	// swarms are under the transport's lock.
	swarms []*swarm

	// mu guards the memory, the swarms' pieces and ranges and what is known of
	// peers. It is taken after the transport's lock, and never held while
	// waiting for anything.
	mu     sync.Mutex
	mem    *memory
	byHash map[[20]byte]*swarm
	banned map[netip.Addr]struct{}
}

// newNode opens the sockets.
func newNode(t *Transport) (*node, error) {
	o := &t.options
	n := &node{
		transport: t, options: o, peers: newPolicy(o), http: o.HTTP, key: mathrand.Int32(),
		download: limiter(o.MaxDownload), upload: limiter(o.MaxUpload), hashers: make(chan struct{}, runtime.GOMAXPROCS(0)),
		mem: newMemory(o.Memory), byHash: map[[20]byte]*swarm{}, banned: map[netip.Addr]struct{}{},
	}
	copy(n.id[:], "-WB0100-"+rand.Text())
	n.ctx, n.cancel = context.WithCancel(context.Background())
	if n.http == nil {
		n.http = httpclient.New(httpclient.Options{})
	}
	if err := n.listen(); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// limiter returns a limiter of bytes per second, or nil for no limit. Its burst
// is more than a block.
func limiter(perSecond int64) *rate.Limiter {
	if perSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(perSecond), 4*block)
}

// listen opens the sockets for peers and the DHT, and begins local service
// discovery.
func (n *node) listen() error {
	o := n.options
	host := ""
	if o.Listen.IsValid() {
		host = o.Listen.String()
	}
	var err error
	if n.listener, err = net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(o.ListenPort))); err != nil {
		return err
	}
	n.tasks.Go(n.accept)
	if !o.NoDHT {
		if n.dht, err = newDHT(o, net.JoinHostPort(host, strconv.Itoa(n.port()))); err != nil {
			return err
		}
	}
	if !o.NoLSD && !o.Public {
		n.lsd, err = newLSD(n)
	}
	return err
}

// port is the one that peers reach this one at.
func (n *node) port() int { return n.listener.Addr().(*net.TCPAddr).Port }

// join returns the torrent of l. The transport's lock is held.
func (n *node) join(l *link) (*swarm, error) {
	sw, isNew := n.swarm(l)
	if l.info != nil {
		// It is the same where the torrent is known already, and what is wrong
		// with it is found out by whoever waits for the metadata.
		sw.learn(l.info)
	}
	if len(l.layers) > 0 && sw.known() {
		if err := sw.addLayers(l.layers); err != nil {
			if isNew {
				n.forget(sw)
				sw.drop()
			}
			return nil, transport.Errorf(transport.ErrPermanent, l.uri, "piece layers: %w", err)
		}
	}
	n.search(sw, l, isNew)
	return sw, nil
}

// swarm returns the one with a hash of l, or a new one.
func (n *node) swarm(l *link) (sw *swarm, isNew bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, hash := range l.hashes() {
		if sw := n.byHash[hash]; sw != nil {
			return sw, false
		}
	}
	sw = newSwarm(n, l)
	for _, hash := range sw.hashes {
		n.byHash[hash] = sw
	}
	n.swarms = append(n.swarms, sw)
	return sw, true
}

// forget takes sw out of the list. The transport's lock is held.
func (n *node) forget(sw *swarm) {
	n.swarms = slices.DeleteFunc(n.swarms, func(s *swarm) bool { return s == sw })
}

// closeIfUnused is for a node that was made for a torrent that can't be joined.
// The transport's lock is held.
func (n *node) closeIfUnused() {
	if len(n.swarms) == 0 {
		n.transport.node = nil
		go n.close()
	}
}

// close leaves all torrents and closes all sockets. The node is no longer the
// transport's.
func (n *node) close() {
	n.cancel()
	var all sync.WaitGroup
	for _, sw := range n.swarms {
		all.Go(sw.drop)
	}
	if n.listener != nil {
		n.listener.Close()
	}
	all.Wait()
	if n.lsd != nil {
		n.lsd.close()
	}
	n.tasks.Wait()
	if n.dht != nil {
		n.dht.Close()
	}
	if n.options.HTTP == nil {
		n.http.CloseIdleConnections()
	}
}

// sleep waits, or returns ctx's error.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
