package bittorrent

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anacrolix/torrent"
	"github.com/anacrolix/torrent/metainfo"

	"github.com/waybill-project/waybill/transport"
)

// swarm is a torrent that was joined. It stays so, with its peers connected,
// until nobody has used it for a while.
type swarm struct {
	node *node
	mem  *memory
	t    *torrent.Torrent

	// ready is closed when the metadata are known, refused instead when they
	// can't be used, for the reason invalid. What follows is set by then.
	ready       <-chan struct{}
	refused     chan struct{}
	info        *metainfo.Info
	files       []entry
	length      int64 // of all files and padding
	pieceLength int64
	invalid     error
	refuse      sync.Once
	private     bool

	// left is closed when the torrent is dropped; leave cancels what looks for
	// peers, and done waits for it.
	left  chan struct{}
	leave context.CancelFunc
	tasks sync.WaitGroup

	// ctx ends when the torrent is left. hashes name it to trackers, the DHT
	// and local service discovery: hybrid torrents have two swarms (BEP 52).
	ctx     context.Context
	hashes  [][20]byte
	reserve reserve
	found   findings

	// Under the transport's lock.
	uses  int
	timer *time.Timer

	// Under the memory's lock: the pieces there is memory for, and what the
	// library was told is complete.
	pieces   map[int]*piece
	told     map[int]bool
	verified map[int]bool      // of the content seeded
	content  map[int64]*seeded // by offset

	ahead ahead
	meta  *metadata

	// applying makes the library hear of what is wanted in the order in which
	// it changes.
	applying sync.Mutex

	last    atomic.Int64 // when a block came, in Unix nanoseconds
	buffers sync.Pool
}

// setInfo takes the metadata, which came from the torrent file or from peers
// and are what the infohash is of.
func (sw *swarm) setInfo(info *metainfo.Info) error {
	err := validate(info)
	if err == nil && info.PieceLength > sw.mem.limit {
		err = fmt.Errorf("pieces of %d bytes, more than the limit of %d bytes of memory for pieces", info.PieceLength, sw.mem.limit)
	}
	if err != nil {
		sw.reject(err)
		return err
	}
	sw.info, sw.files, sw.pieceLength, sw.length = info, entries(info), info.PieceLength, info.TotalLength()
	sw.private = info.Private != nil && *info.Private
	return nil
}

// reject notes that the metadata can't be used.
func (sw *swarm) reject(err error) {
	sw.refuse.Do(func() {
		sw.invalid = err
		close(sw.refused)
	})
}

// pieceSize is the length of a piece in bytes.
func (sw *swarm) pieceSize(index int) int64 {
	at := int64(index) * sw.pieceLength
	if !sw.info.HasV2() {
		return min(sw.pieceLength, sw.length-at)
	}
	for _, f := range sw.files {
		if f.offset <= at && at < f.offset+f.length {
			return min(sw.pieceLength, f.offset+f.length-at)
		}
	}
	return sw.pieceLength
}

// metadata waits until the files of the torrent are known.
func (sw *swarm) metadata(ctx context.Context, uri string, timeout time.Duration) error {
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
		return transport.Errorf(transport.ErrTemporary, uri, "no peer has sent the metadata of the torrent within %v; %s", timeout, sw.state())
	}
	return nil
}

// apply tells the library which of some pieces are wanted, and which aren't
// there any more.
func (sw *swarm) apply(indices []int) {
	if len(indices) == 0 {
		return
	}
	sw.applying.Lock()
	defer sw.applying.Unlock()
	for _, i := range indices {
		priority, gone := sw.desire(i)
		p := sw.t.Piece(i)
		if gone {
			p.UpdateCompletion()
		}
		p.SetPriority(priority)
	}
}

// desire returns how much a piece is wanted, and whether the library takes a
// piece for complete that was evicted.
func (sw *swarm) desire(index int) (priority torrent.PiecePriority, gone bool) {
	sw.mem.mu.Lock()
	defer sw.mem.mu.Unlock()
	p := sw.pieces[index]
	if p == nil || p.wants == 0 {
		return torrent.PiecePriorityNone, false
	}
	switch {
	case p.first > 0:
		priority = torrent.PiecePriorityNow
	case p.wants > p.ahead:
		priority = torrent.PiecePriorityReadahead
	default:
		priority = torrent.PiecePriorityNormal
	}
	if gone = sw.told[index] && !p.complete; gone {
		delete(sw.told, index)
		delete(sw.verified, index)
	}
	return priority, gone
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
func (sw *swarm) progress() { sw.last.Store(time.Now().UnixNano()) }

// patience is how much longer to wait for a block by who has waited since
// begun.
func (sw *swarm) patience(begun time.Time) time.Duration {
	since := begun
	if last := time.Unix(0, sw.last.Load()); last.After(since) {
		since = last
	}
	return sw.node.options.StallTimeout - time.Since(since)
}

// stalled is the error of a range that nobody sends.
func (sw *swarm) stalled(uri string) error {
	return transport.Errorf(transport.ErrTemporary, uri, "nobody has sent anything of the torrent for %v; %s", sw.node.options.StallTimeout, sw.state())
}

// state says in words who was asked.
func (sw *swarm) state() string {
	s := sw.t.Stats()
	parts := []string{fmt.Sprintf("%d peers known, %d connected", s.TotalPeers, s.ActivePeers)}
	if n := len(sw.node.banned()); n > 0 {
		parts = append(parts, fmt.Sprintf("%d banned for wrong pieces", n))
	}
	parts = append(parts, sw.found.words()...)
	return strings.Join(parts, ", ")
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
	sw.mem.mu.Lock()
	defer sw.mem.mu.Unlock()
	left := sw.length
	for i := range sw.verified {
		left -= sw.pieceSize(i)
	}
	return max(0, left)
}
