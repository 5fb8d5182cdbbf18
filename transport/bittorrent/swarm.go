package bittorrent

import (
	"context"
	"fmt"
	"net/netip"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anacrolix/torrent/metainfo"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/bittorrent/peer"
)

// swarm is a torrent that was joined. It stays so, with its peers connected,
// until nobody has used it for a while.
type swarm struct {
	node *node
	mem  *memory

	// ready is closed when the metadata are known, refused instead when they
	// can't be used, for the reason invalid. What follows is set by then.
	ready       chan struct{}
	refused     chan struct{}
	info        *metainfo.Info
	files       []entry
	length      int64 // of all pieces; the v1 part's padding counts
	pieceLength int64
	count       int // of pieces
	invalid     error
	learning    sync.Once

	// ctx ends when the torrent is left, by leave; left is closed, too. tasks
	// are what is done for it until then.
	ctx   context.Context
	leave context.CancelFunc
	left  chan struct{}
	tasks sync.WaitGroup

	// hashes name it to trackers, the DHT, local service discovery and peers:
	// hybrid torrents have two swarms (BEP 52).
	hashes  [][20]byte
	sources sources
	found   findings
	meta    *metadata

	// Under the transport's lock.
	uses  int
	timer *time.Timer

	// Under the node's lock.
	gone     bool // left: no task begins any more
	wanted   bool // for reading, rather than for seeding only
	private  bool // (BEP 27), as far as is known
	pieces   map[int]*piece
	bodies   []*body
	ahead    ahead
	conns    map[*conn]struct{}
	addrs    map[netip.AddrPort]*address
	dialling int
	vain     bool // nobody was there when somebody last gave up waiting
	webseeds map[string]*webseed
	layers   map[[32]byte]*layer // by the pieces root of a file
	verified map[int]bool        // of the content seeded
	content  map[int64]*seeded   // by offset
	rest     map[int][]byte      // pieces seeded that are not content
	counts   counts

	last    atomic.Int64 // when a block came, in Unix nanoseconds
	buffers sync.Pool
}

// counts are bytes of blocks.
type counts struct{ downloaded, wasted, uploaded int64 }

// newSwarm returns the swarm of l.
func newSwarm(n *node, l *link) *swarm {
	sw := &swarm{
		node: n, mem: n.mem, ready: make(chan struct{}), refused: make(chan struct{}), left: make(chan struct{}),
		hashes: l.hashes(), meta: newMetadata(l),
		pieces: map[int]*piece{}, conns: map[*conn]struct{}{}, addrs: map[netip.AddrPort]*address{}, webseeds: map[string]*webseed{},
		layers: map[[32]byte]*layer{}, verified: map[int]bool{}, content: map[int64]*seeded{},
		rest: map[int][]byte{},
	}
	sw.ctx, sw.leave = context.WithCancel(n.ctx)
	return sw
}

// learn takes the metadata, which came from the torrent file or from peers and
// are what the infohash is of. Only the first are looked at.
func (sw *swarm) learn(info []byte) {
	sw.learning.Do(func() {
		if sw.invalid = sw.setInfo(info); sw.invalid != nil {
			close(sw.refused)
			return
		}
		sw.node.mu.Lock()
		defer sw.node.mu.Unlock()
		sw.meta.info = info
		sw.private = sw.info.Private != nil && *sw.info.Private
		close(sw.ready)
		for c := range sw.conns {
			switch {
			case !c.fits():
				c.drop("its pieces are not the torrent's")
			case c.extended: // who looks for the metadata hears that they are here
				c.out = peer.AppendExtended(c.out, extHandshake, sw.extendedHandshake())
				c.flush()
			}
		}
	})
}

func (sw *swarm) setInfo(b []byte) error {
	info, err := parseInfo(b)
	if err != nil {
		return err
	}
	if info.PieceLength > sw.mem.limit {
		return fmt.Errorf("pieces of %d bytes, more than the limit of %d bytes of memory for pieces", info.PieceLength, sw.mem.limit)
	}
	sw.info, sw.files, sw.pieceLength, sw.count = info, entries(info), info.PieceLength, info.NumPieces()
	sw.length = int64(sw.count) * sw.pieceLength
	if info.HasV1() {
		if sw.length, err = totalV1(info); err != nil {
			return err
		}
	}
	return nil
}

// known reports whether the metadata are.
func (sw *swarm) known() bool {
	select {
	case <-sw.ready:
		return true
	default:
		return false
	}
}

// pieceSize is the length of a piece in bytes, without padding where no file
// shares the piece (BEP 52).
func (sw *swarm) pieceSize(index int) int64 {
	at := int64(index) * sw.pieceLength
	if sw.info.HasV2() {
		if f, ok := sw.fileAt(at); ok {
			return min(sw.pieceLength, f.offset+f.length-at)
		}
	}
	return min(sw.pieceLength, sw.length-at)
}

// fileAt returns the file that a byte of the torrent is of.
func (sw *swarm) fileAt(at int64) (entry, bool) {
	i := sort.Search(len(sw.files), func(i int) bool { return sw.files[i].offset+sw.files[i].length > at })
	if i < len(sw.files) && sw.files[i].offset <= at {
		return sw.files[i], true
	}
	return entry{}, false
}

// nextFile returns where the file after an offset begins, or -1.
func (sw *swarm) nextFile(at int64) int64 {
	i := sort.Search(len(sw.files), func(i int) bool { return sw.files[i].offset > at })
	if i == len(sw.files) {
		return -1
	}
	return sw.files[i].offset
}

// metadata waits until the files of the torrent are known.
func (sw *swarm) metadata(ctx context.Context, uri string, timeout time.Duration) error {
	timeout = sw.hope(timeout)
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-sw.ready:
	case <-sw.refused:
		return transport.Errorf(transport.ErrPermanent, uri, "not a usable torrent: %w", sw.invalid)
	case <-ctx.Done():
		return ctx.Err()
	case <-sw.left:
		return transport.Errorf(transport.ErrTemporary, uri, "the transport was closed")
	case <-timer.C:
		return transport.Errorf(transport.ErrTemporary, uri, "no peer has sent the metadata of the torrent within %v; %s", timeout, sw.gaveUp())
	}
	return nil
}

// want takes note that the torrent is to be read: peers are told.
func (sw *swarm) want() {
	sw.node.mu.Lock()
	defer sw.node.mu.Unlock()
	if sw.wanted {
		return
	}
	sw.wanted = true
	for c := range sw.conns {
		c.interest()
		c.flush()
	}
}

// start does something until the torrent is left, unless it is already. The
// node's lock is held.
func (sw *swarm) start(task func()) {
	if !sw.gone {
		sw.tasks.Go(task)
	}
}

// drop leaves the torrent.
func (sw *swarm) drop() {
	sw.node.mu.Lock()
	sw.gone = true
	close(sw.left)
	sw.leave()
	for _, hash := range sw.hashes {
		delete(sw.node.byHash, hash)
	}
	for c := range sw.conns {
		c.Close()
	}
	sw.node.mu.Unlock()
	sw.tasks.Wait()
	sw.node.mu.Lock()
	defer sw.node.mu.Unlock()
	sw.mem.drop(sw)
}

// buffer returns memory for a piece; recycle takes it back.
func (sw *swarm) buffer(size int64) []byte {
	if b, ok := sw.buffers.Get().(*[]byte); ok {
		return (*b)[:size]
	}
	return make([]byte, size, sw.pieceLength)
}

func (sw *swarm) recycle(b []byte) {
	if b != nil {
		sw.buffers.Put(&b)
	}
}

// progress notes that a block came.
func (sw *swarm) progress(now time.Time) { sw.last.Store(now.UnixNano()) }

// idleFor is how long no block came.
func (sw *swarm) idleFor(now time.Time) time.Duration { return now.Sub(time.Unix(0, sw.last.Load())) }

// patience is how much longer to wait for a block by who has waited since
// begun.
func (sw *swarm) patience(begun time.Time) time.Duration {
	since := begun
	if last := time.Unix(0, sw.last.Load()); last.After(since) {
		since = last
	}
	return sw.hope(sw.node.options.StallTimeout) - time.Since(since)
}

// stalled is the error of a range that nobody sends.
func (sw *swarm) stalled(uri string) error {
	waited := sw.hope(sw.node.options.StallTimeout)
	return transport.Errorf(transport.ErrTemporary, uri, "nobody has sent anything of the torrent for %v; %s", waited, sw.gaveUp())
}

// The next wait is shorter by inVain when the last was for nobody, but every
// peer is tried once more.
const (
	inVain      = 5
	leastInVain = reconnectSoon + time.Second
)

// hope is how long to wait where that would be timeout: less, where nobody was
// there all through the last time, and nobody is yet.
func (sw *swarm) hope(timeout time.Duration) time.Duration {
	sw.node.mu.Lock()
	defer sw.node.mu.Unlock()
	if sw.vain {
		return min(timeout, max(timeout/inVain, leastInVain))
	}
	return timeout
}

// gaveUp takes note of the end of a wait, and says in words who was asked.
func (sw *swarm) gaveUp() string {
	sw.node.mu.Lock()
	sw.vain = len(sw.conns) == 0
	sw.node.mu.Unlock()
	return sw.state()
}

// state says in words who was asked.
func (sw *swarm) state() string {
	n := sw.node
	n.mu.Lock()
	known, connected, choking := 0, len(sw.conns), 0
	var failed []string
	for c := range sw.conns {
		if c.choking {
			choking++
		}
	}
	for _, a := range sw.addrs {
		if !a.own {
			known++
		}
		if a.err != nil && connected == 0 && len(failed) < 3 {
			failed = append(failed, fmt.Sprintf("%s: %v", a.at, a.err))
		}
	}
	parts := append([]string{fmt.Sprintf("%d peers known, %d connected", known, connected)}, failed...)
	if choking > 0 {
		parts = append(parts, fmt.Sprintf("%d of them let this one wait (choke)", choking))
	}
	if len(n.banned) > 0 {
		parts = append(parts, fmt.Sprintf("%d banned for wrong pieces", len(n.banned)))
	}
	parts = append(parts, sw.webseedWords()...)
	n.mu.Unlock()
	return strings.Join(append(parts, sw.found.words()...), ", ")
}

// findings are what became of looking for peers.
type findings struct {
	mu       sync.Mutex
	trackers map[string]error
}

func (f *findings) tracker(url string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.trackers == nil {
		f.trackers = map[string]error{}
	}
	f.trackers[url] = err
}

// words lists the trackers that were asked, and the first few that failed.
func (f *findings) words() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.trackers) == 0 {
		return []string{"no trackers"}
	}
	parts := []string{fmt.Sprintf("%d trackers asked", len(f.trackers))}
	for url, err := range f.trackers {
		if err != nil && len(parts) < 4 {
			parts = append(parts, fmt.Sprintf("%s: %v", transport.Redact(url), err))
		}
	}
	return parts
}

// bytesLeft is what a tracker is told: everything, but for what is seeded.
func (sw *swarm) bytesLeft() int64 {
	sw.node.mu.Lock()
	defer sw.node.mu.Unlock()
	left := sw.length
	for i := range sw.verified {
		left -= sw.pieceSize(i)
	}
	return max(0, left)
}
