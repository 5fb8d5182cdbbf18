package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/waybill-project/waybill/blobdigest"
)

// Pieces are the hashes of a blob's parts, from its beginning to its end
// without gaps; *waybill.PieceTable is one. They are a hint: a document that
// nobody vouches for may have said them.
type Pieces interface {
	// Algorithm is what the parts are hashed with, a registered one.
	Algorithm() digest.Algorithm
	// Len is how many there are.
	Len() int
	// Span is where part i, from 0, begins, and how many bytes it has.
	Span(i int) (offset, length int64)
	// Hash is the hash of part i, in binary.
	Hash(i int) []byte
}

// FindPieces returns the hashes that are known of a blob's pieces, and who said
// so; nil where there are none. It ends with ctx.
type FindPieces func(ctx context.Context, desc ocispec.Descriptor) (pieces Pieces, origin string, err error)

// pieceCheck compares the pieces of a blob with a table of hashes as the hasher
// comes by them, so that a lie is found at the piece instead of at the end.
//
// The table may lie itself. So a piece that isn't as it says is had once more,
// all of it from one other source. If that one agrees with the table, whoever
// sent something else is not asked for more of this blob; it is convicted only
// when the blob's digest proves both right. If it doesn't, or there is nobody
// else to ask, the table is dropped and the digest decides (spec/security.md §6).
type pieceCheck struct {
	table  Pieces
	origin string

	// The hasher's own.
	at    int64 // bytes it has been through
	piece int   // the next to be compared, or the one at is in
	h     hash.Hash

	// Under the transfer's lock.
	begun    bool  // the hasher goes by the table, from the beginning
	passed   int64 // bytes from the beginning that are as the table says
	suspects []*suspect
	lies     []lie
}

// suspect is a piece that isn't as the table says, and is being had again.
type suspect struct {
	piece int
	span
	tried []*source // from whom all of it came, and was otherwise
	gone  []*source // who was asked for it and couldn't bring it
	only  *source   // from whom it is had now
	was   []part    // what it was made of at first
}

// part is a range of a piece, and the digest of what a source sent of it.
type part struct {
	served
	sum [sha256.Size]byte
}

// lie is a range in which a source sent something else than the table and
// another source agree on.
type lie struct {
	by *source
	span
}

// learnPieces asks for the blob's hashes, beside the download.
func (t *transfer) learnPieces() (stop func()) {
	find := t.e.opts.Pieces
	if find == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(t.ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		desc := t.desc
		desc.Size = t.size
		table, origin, err := find(ctx, desc)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && table != nil:
			err = t.checkBy(table, origin)
		}
		if err != nil {
			t.e.event(EventPieces, t.desc.Digest, nil, "the hashes of its pieces can't be used: %s", reasonOf(err))
		}
	}()
	return func() { cancel(); <-ended }
}

// checkBy has the blob's pieces compared with a table.
func (t *transfer) checkBy(table Pieces, origin string) error {
	if n := table.Len(); n < 1 {
		return errors.New("there are none")
	} else if off, length := table.Span(n - 1); off+length != t.size {
		return fmt.Errorf("they are of %d bytes, the blob has %d", off+length, t.size)
	}
	h, err := blobdigest.NewHash(table.Algorithm())
	if err != nil {
		return err
	}
	t.mu.Lock()
	if t.check == nil && !t.judged { // else it comes too late to be of use
		t.check = &pieceCheck{table: table, origin: origin, h: h, begun: t.hash.queued == 0}
		t.data.Broadcast()
	}
	t.mu.Unlock()
	t.e.event(EventPieces, t.desc.Digest, nil, "%d hashes of its pieces, by %s", table.Len(), origin)
	return nil
}

// seek goes to an offset: to the piece that begins there or is the next to.
func (c *pieceCheck) seek(off int64) {
	c.at, c.piece = off, 0
	for c.piece < c.table.Len() && c.span().start < off {
		c.piece++
	}
	c.h.Reset()
}

// span is that of the piece at hand.
func (c *pieceCheck) span() span {
	if c.piece == c.table.Len() {
		return span{c.at, c.at}
	}
	off, length := c.table.Span(c.piece)
	return span{off, off + length}
}

// room is how many of the next n bytes belong together: to the piece at hand, or
// before it.
func (c *pieceCheck) room(n int) int {
	s := c.span()
	if c.at < s.start {
		return int(min(int64(n), s.start-c.at))
	}
	return int(min(int64(n), s.end-c.at))
}

// take goes through bytes, no more than there is room for. whole tells that
// they end a piece, right whether it is as the table says.
func (c *pieceCheck) take(b []byte) (whole, right bool) {
	s := c.span()
	if c.at += int64(len(b)); c.at <= s.start {
		return false, true
	}
	c.h.Write(b)
	if c.at < s.end {
		return false, true
	}
	right = bytes.Equal(c.h.Sum(nil), c.table.Hash(c.piece))
	c.h.Reset()
	c.piece++
	return true, right
}

// suspect returns what is known against a piece. t.mu is held.
func (c *pieceCheck) suspect(piece int) *suspect {
	i := slices.IndexFunc(c.suspects, func(s *suspect) bool { return s.piece == piece })
	if i < 0 {
		return nil
	}
	return c.suspects[i]
}

// withheld returns the ranges that src may not bring: pieces that are had again
// from somebody else. t.mu is held.
func (t *transfer) withheld(src *source) spans {
	var out spans
	if t.check != nil {
		for _, s := range t.check.suspects {
			if s.only != src {
				out.add(s.start, s.end)
			}
		}
	}
	return out
}

// wrongPiece draws the consequences of a piece that isn't as the table says, and
// reports whether it is had again. If not, the table was dropped. It is called
// by the hasher.
func (t *transfer) wrongPiece(c *pieceCheck, piece int) (again bool) {
	off, length := c.table.Span(piece)
	s := &suspect{piece: piece, span: span{off, off + length}}
	t.mu.Lock()
	if known := c.suspect(piece); known != nil {
		s = known
	}
	made := t.have.within(s.span)
	by := sourcesOf(made)
	if len(by) == 1 && !slices.Contains(s.tried, by[0]) {
		s.tried = append(s.tried, by[0])
	}
	var only *source
	if len(s.tried) < 2 {
		only = t.another(s, by)
	}
	t.mu.Unlock()
	switch {
	case only == nil && len(s.tried) > 1:
		t.dropPieces(fmt.Sprintf("two sources disagree with it in bytes %d-%d", s.start, s.end-1))
		return false
	case only == nil:
		t.dropPieces(fmt.Sprintf("nobody else can be asked for bytes %d-%d, which are otherwise", s.start, s.end-1))
		return false
	}
	if s.was == nil {
		s.was = t.sums(made)
	}
	t.e.event(EventMismatch, t.desc.Digest, nil, "bytes %d-%d aren't as %s says; asking %s for them", s.start, s.end-1, c.origin, only.key)
	if err := t.ingest.Forget(s.start, s.len()); err != nil {
		t.mu.Lock()
		t.fail(err)
		t.mu.Unlock()
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s.only = only
	if c.suspect(piece) == nil {
		c.suspects = append(c.suspects, s)
	}
	t.takeBack(s)
	return true
}

// takeBack makes a piece be fetched again. t.mu is held.
func (t *transfer) takeBack(s *suspect) {
	t.have.clear(s.start, s.end)
	t.need.add(s.start, s.end)
	t.unclaimed.add(s.start, s.end)
	t.prefix = min(t.prefix, s.start)
	for c := range t.claims { // duplicates that were still at it
		if c.pos < s.end && s.start < c.end && c.lane.m.src != s.only {
			c.withdraw(errTaken)
		}
	}
	for r := range t.readers {
		r.rewound = r.rewound || r.seen > s.start
	}
	t.data.Broadcast()
	t.work.Broadcast()
	signal(t.kick)
}

// another picks who is to be asked for a piece again: somebody who brings bytes
// now, if there is one, and had no part in it, and is the fastest of them. t.mu
// is held.
func (t *transfer) another(s *suspect, by []*source) *source {
	var best *member
	for _, m := range t.members {
		if m.gone || m.doubted || slices.Contains(s.tried, m.src) || slices.Contains(s.gone, m.src) {
			continue
		}
		if ok, _ := m.src.usable(time.Now()); ok && (best == nil || fitter(m, best, by)) {
			best = m
		}
	}
	if best == nil {
		return nil
	}
	return best.src
}

// fitter reports whether a rather than b is to be asked for a piece that came
// from by.
func fitter(a, b *member, by []*source) bool {
	if a.working != b.working {
		return a.working
	}
	if partA, partB := slices.Contains(by, a.src), slices.Contains(by, b.src); partA != partB {
		return partB
	}
	rateA, _ := a.src.speed()
	rateB, _ := b.src.speed()
	return rateA > rateB
}

// askOthers has the pieces that nobody brings any more had from others; false
// where there are none for one of them.
func (t *transfer) askOthers() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.check == nil || len(t.check.suspects) == 0 {
		return false
	}
	for _, s := range t.check.suspects {
		s.gone = append(s.gone, s.only)
		if s.only = t.another(s, nil); s.only == nil {
			return false
		}
	}
	return true
}

// rightPiece draws the consequences of a piece that is as the table says: readers
// may have it, and who sent something else before is found out.
func (t *transfer) rightPiece(c *pieceCheck, piece int) {
	off, length := c.table.Span(piece)
	t.mu.Lock()
	c.passed = max(c.passed, off+length)
	t.data.Broadcast()
	s := c.suspect(piece)
	if s == nil {
		t.mu.Unlock()
		return
	}
	c.suspects = slices.DeleteFunc(c.suspects, func(o *suspect) bool { return o == s })
	t.mu.Unlock()
	for _, p := range s.was {
		now := t.sums([]served{p.served})
		if len(now) == 0 || now[0].sum == p.sum {
			continue
		}
		if p.by.past {
			t.e.event(EventMismatch, t.desc.Digest, nil, "what an earlier fetch left was wrong in bytes %d-%d", p.start, p.end-1)
			continue
		}
		what := fmt.Sprintf("sent bytes %d-%d otherwise than %s and %s say", p.start, p.end-1, c.origin, s.only.key)
		if t.doubt(c, lie{p.by, p.span}, what) {
			t.e.event(EventDemoted, t.desc.Digest, p.by, "%s", what)
		}
	}
	signal(t.kick)
}

// doubt has a source be asked for no more of the blob. It reports whether that
// is news.
func (t *transfer) doubt(c *pieceCheck, l lie, what string) (news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.lies = append(c.lies, l)
	for _, m := range t.members {
		if m.src == l.by {
			news = news || !m.doubted
			m.doubted, m.last = true, errors.New(what)
		}
	}
	for cl := range t.claims {
		if cl.lane.m.src == l.by {
			cl.withdraw(errTaken)
		}
	}
	return news
}

// sums reads ranges of the partial and returns their digests. What can't be
// read is left out.
func (t *transfer) sums(ranges []served) []part {
	var out []part
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for _, r := range ranges {
		h := sha256.New()
		p := part{served: r}
		for off := r.start; off < r.end; {
			n := min(bufferSize, r.end-off)
			if _, err := t.ingest.ReadAt((*buf)[:n], off); err != nil {
				h = nil
				break
			}
			h.Write((*buf)[:n])
			off += n
		}
		if h != nil {
			h.Sum(p.sum[:0])
			out = append(out, p)
		}
	}
	return out
}

// dropPieces has the blob no longer be compared with the table, which proved
// nothing against anyone. It reports whether there was one.
func (t *transfer) dropPieces(why string) bool {
	t.mu.Lock()
	c := t.check
	t.check = nil
	for _, m := range t.members {
		m.doubted = false
	}
	t.data.Broadcast()
	t.work.Broadcast()
	t.mu.Unlock()
	if c == nil {
		return false
	}
	t.e.event(EventPieces, t.desc.Digest, nil, "the hashes by %s are of no more use: %s", c.origin, why)
	return true
}

// convictByPieces quarantines who sent something else than what the blob's
// digest has now shown to be right.
func (t *transfer) convictByPieces() {
	t.mu.Lock()
	var lies []lie
	if t.check != nil {
		lies = t.check.lies
	}
	t.mu.Unlock()
	for _, l := range lies {
		t.convict(l.by, fmt.Sprintf("sent wrong bytes: blob %s, in bytes %d-%d", t.desc.Digest, l.start, l.end-1))
	}
}

// within returns what the ledger says of a range.
func (l ledger) within(s span) []served {
	var out []served
	for i := l.search(s.start); i < len(l) && l[i].start < s.end; i++ {
		e := l[i]
		e.start, e.end = max(e.start, s.start), min(e.end, s.end)
		out = append(out, e)
	}
	return out
}

func sourcesOf(ranges []served) []*source {
	var out []*source
	for _, r := range ranges {
		if !slices.Contains(out, r.by) {
			out = append(out, r.by)
		}
	}
	return out
}
