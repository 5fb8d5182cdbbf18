package ipfs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/filetree"
	"github.com/waybill-project/waybill/transport/httpclient"
)

const (
	// aheadBlocks and aheadBytes bound the blocks that are under way at once for
	// a reader. Of large ones there are two, or as many as come within aheadTime:
	// on a slow link more only delay the first of them, and are wasted when the
	// reader is closed early.
	aheadBlocks = 8
	aheadBytes  = 4 << 20
	aheadTime   = 200 * time.Millisecond
	// carWorth is the least range for which a CAR is asked for, in bytes.
	carWorth = 1 << 20
)

// content is a file found.
type content struct {
	session *session
	cid     cid.Cid
	node    *node
}

// open returns a reader of a part of the file, once the first block of it is
// there.
func (c *content) open(ctx context.Context, part filetree.Part) (io.ReadCloser, error) {
	size, s := c.node.size, c.session
	switch {
	case part.Size >= 0 && part.Size != size:
		return nil, s.fail("file %s has %d bytes, want %d", c.cid, size, part.Size)
	case part.Length == -1 && part.Offset == 0:
		part.Length = size
	case part.Offset < 0 || part.Length < 0 || part.Length > size-part.Offset:
		return nil, s.fail("no %d bytes at offset %d in %d bytes", part.Length, part.Offset, size)
	}
	r := &reader{
		s: s, file: c.cid, start: part.Offset, at: part.Offset, end: part.Offset + part.Length, parent: ctx, began: time.Now(),
		wanted: part.Length, asked: map[*future]struct{}{},
	}
	r.ctx, r.cancel = context.WithCancel(ctx)
	r.cars = part.Length > carWorth && len(c.node.links) > 0
	if r.at == r.end {
		return r, nil
	}
	if err := r.descend(c.node, 0); err == nil && len(r.leaf) == 0 {
		r.err = r.advance()
	}
	if r.err != nil {
		r.Close()
		return nil, r.err
	}
	return r, nil
}

// reader reads a range of a file, block after block from left to right.
type reader struct {
	s      *session
	file   cid.Cid
	parent context.Context // the caller's
	ctx    context.Context // ends with the reader
	cancel context.CancelFunc
	wg     sync.WaitGroup

	start  int64 // of the range, in the file
	leaves int64 // the size of its blocks, where all are of one; 0 otherwise

	ahead  sync.Mutex // held by no one for long
	wanted int64      // bytes of the range that will be read
	asked  map[*future]struct{}

	mu      sync.Mutex // held by Read, for Close to wait until it has ended
	at, end int64      // what is still wanted
	leaf    []byte     // what is at at
	levels  []*level   // from the root down to where at is
	err     error

	began time.Time // to be read
	came  int64     // bytes of blocks since then

	lastCID   cid.Cid // of the block fetched last: sparse files repeat theirs
	lastBlock []byte

	cars     bool // ask for CARs
	carTries int
	car      *carStream
}

// level is a node of the file: those of its links that lead to wanted bytes.
type level struct {
	items   []item
	next    int // of items
	started int // items that were asked for
	bytes   int64
}

// item is a link and where its bytes begin in the file.
type item struct {
	link
	start int64
	block *future
}

// future is a block that was asked for.
type future struct {
	start  int64 // where its bytes begin in the file
	cancel context.CancelCauseFunc
	done   chan struct{}
	block  []byte
	err    error
}

// Read implements [io.Reader].
func (r *reader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return 0, r.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if r.at == r.end || r.ended() {
		r.err = io.EOF
		return 0, r.err
	}
	if r.parent.Err() != nil {
		r.err = httpclient.ContextError(r.parent)
		return 0, r.err
	}
	if len(r.leaf) == 0 {
		if r.err = r.advance(); r.err != nil {
			if r.ended() { // meanwhile: the block was left
				r.err = io.EOF
			}
			return 0, r.err
		}
	}
	n := copy(p, r.leaf)
	r.leaf = r.leaf[n:]
	r.at += int64(n)
	return n, nil
}

// errLeft is why a block that was asked for ahead isn't waited for: it isn't wanted
// any more, which is no gateway's fault.
var errLeft = errors.New("not wanted any more")

// Shorten implements [transport.Shortener]: blocks beyond aren't asked for ahead, and
// those that were are left.
func (r *reader) Shorten(length int64) {
	r.ahead.Lock()
	defer r.ahead.Unlock()
	if length >= r.wanted {
		return
	}
	r.wanted = length
	for f := range r.asked {
		if !r.wants(f.start) {
			f.cancel(errLeft)
		}
	}
}

// Chunks implements [transport.Chunked]. Most who put a file into IPFS cut it into
// blocks of one size.
func (r *reader) Chunks() (size, first int64) { return r.leaves, 0 }

// ended reports whether the next byte is one that isn't wanted any more.
func (r *reader) ended() bool {
	r.ahead.Lock()
	defer r.ahead.Unlock()
	return !r.wants(r.at)
}

// wants reports whether a block that begins at start will be read. r.ahead is held.
func (r *reader) wants(start int64) bool { return start-r.start < r.wanted }

// Close ends everything that was asked for.
func (r *reader) Close() error {
	r.cancel()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closeCAR()
	r.wg.Wait()
	if r.err == nil {
		r.err = transport.Errorf(transport.ErrPermanent, r.s.uri, "reading: %w", fs.ErrClosed)
	}
	return nil
}

// advance fetches the block that holds the byte at r.at.
func (r *reader) advance() error {
	for len(r.leaf) == 0 {
		if len(r.levels) == 0 {
			return r.s.fail("file %s ends %d bytes early", r.file, r.end-r.at)
		}
		l := r.levels[len(r.levels)-1]
		if l.next == len(l.items) {
			r.levels = r.levels[:len(r.levels)-1]
			continue
		}
		block, err := r.fetch(l)
		if err != nil {
			return r.s.known(r.parent, err)
		}
		it := l.items[l.next]
		l.items[l.next].block = nil
		l.next++
		n, err := r.s.parse(it.cid, block)
		if err == nil && (n.kind != file || n.size != it.size) {
			err = r.s.fail("node %s is a %s of %d bytes, and the one above says a file of %d", it.cid, n.kind, n.size, it.size)
		}
		if err == nil {
			err = r.descend(n, it.start)
		}
		if err != nil {
			return r.s.known(r.parent, err)
		}
	}
	return nil
}

// descend goes into a node whose bytes begin at start.
func (r *reader) descend(n *node, start int64) error {
	if len(r.levels) >= maxDepth {
		return r.s.fail("file %s is more than %d nodes deep", r.file, maxDepth)
	}
	after := start + int64(len(n.data))
	if start < r.end && after > r.at {
		r.leaf = n.data[max(r.at-start, 0) : min(r.end, after)-start]
	}
	if r.leaves == 0 {
		r.leaves = n.leaves(start)
	}
	l := &level{}
	for _, k := range n.links {
		if k.size > 0 && after < r.end && after+k.size > r.at {
			l.items = append(l.items, item{link: k, start: after})
		}
		after += k.size
	}
	if len(l.items) > 0 {
		r.levels = append(r.levels, l)
	}
	return nil
}

// fetch returns the block of the next item of l.
func (r *reader) fetch(l *level) ([]byte, error) {
	it := &l.items[l.next]
	if err := checkCID(it.cid); err != nil {
		return nil, err
	}
	block, err := r.fromCAR(it)
	if err != nil {
		return nil, err
	}
	if block == nil && r.lastCID.Equals(it.cid) {
		block = r.lastBlock
	}
	if block == nil {
		r.lookAhead(l)
		select {
		case <-it.block.done:
		case <-r.ctx.Done():
			return nil, httpclient.ContextError(r.ctx)
		}
		if block, err = it.block.block, it.block.err; err != nil {
			return nil, err
		}
	}
	r.came += int64(len(block))
	if it.block != nil {
		l.bytes -= it.size
	}
	if !r.lastCID.Equals(it.cid) {
		// Those that share a block follow one another: it is done with.
		release(r.lastCID, r.lastBlock)
		r.lastCID, r.lastBlock = it.cid, block
	}
	return block, nil
}

// lookAhead asks for the next blocks of l, as many as may be under way. Only
// what by its size can be a leaf is asked for ahead: a node with leaves of its
// own is needed much later.
func (r *reader) lookAhead(l *level) {
	l.started = max(l.started, l.next)
	for l.started < len(l.items) {
		it := &l.items[l.started]
		ahead := l.started > l.next
		if ahead && (r.car != nil || it.size > MaxBlock || !r.mayAhead(l.started-l.next, l.bytes+it.size)) {
			return
		}
		switch before := r.before(l); {
		case before != nil:
			it.block = before
		default:
			it.block = r.ask(it.cid, it.start, ahead)
		}
		if it.block == nil {
			return
		}
		l.bytes += it.size
		l.started++
	}
}

// mayAhead reports whether a block may be asked for while others are under way
// already; with it there are so many bytes.
func (r *reader) mayAhead(blocks int, bytes int64) bool {
	if blocks < 2 {
		return true
	}
	soon := float64(r.came) / time.Since(r.began).Seconds() * aheadTime.Seconds()
	return blocks < aheadBlocks && bytes <= min(aheadBytes, max(int64(soon), 1<<20))
}

// before returns the future of the item before the one to be started, if both
// are the same block.
func (r *reader) before(l *level) *future {
	if l.started == 0 || !l.items[l.started-1].cid.Equals(l.items[l.started].cid) {
		return nil
	}
	return l.items[l.started-1].block
}

// forget takes note that f needn't be left any more.
func (r *reader) forget(f *future) {
	f.cancel(nil)
	r.ahead.Lock()
	defer r.ahead.Unlock()
	delete(r.asked, f)
}

// ask asks for a block, without waiting for it. It returns nil for one that is to
// be asked for ahead and won't be read.
func (r *reader) ask(c cid.Cid, start int64, ahead bool) *future {
	r.ahead.Lock()
	defer r.ahead.Unlock()
	if ahead && !r.wants(start) {
		return nil
	}
	f := &future{start: start, done: make(chan struct{})}
	var ctx context.Context
	ctx, f.cancel = context.WithCancelCause(r.ctx)
	r.asked[f] = struct{}{}
	r.wg.Go(func() {
		defer close(f.done)
		defer r.forget(f)
		f.block, f.err = r.s.block(ctx, c)
		if f.err != nil && r.ctx.Err() != nil && r.parent.Err() != nil {
			f.err = httpclient.ContextError(r.parent)
		}
	})
	return f
}
