package fetch

import (
	"context"
	"errors"
	"io"
	"math"
	"time"

	"github.com/waybill-project/waybill/transport"
)

// A chunk is about a second's worth of the connection that asks for it, within
// these bounds, so that what a dead source takes with it, or what a kill -9
// costs, is never more than a second or so of one connection.
const (
	chunkMin   = 256 << 10
	chunkMax   = 32 << 20
	chunkTime  = time.Second
	chunkFirst = 1 << 20 // for a connection whose rate isn't known
	stealMin   = 64 << 10
)

// claim is a range one connection has undertaken to bring. Its fields are
// guarded by the transfer's mutex, except body, which is the lane's.
type claim struct {
	lane     *lane
	ctx      context.Context
	cancel   context.CancelFunc
	pos, end int64 // what it still owes; end shrinks when a part is stolen
	from     int64 // where it was when the source was asked,
	asked    int64 // and end
	copies   int   // how many claims to the same bytes there are beside it
	of       *claim
	cause    error // why it was cancelled

	sent    time.Time // when the source was asked
	last    time.Time // when bytes last came, or it was asked
	burst   time.Time // when the first byte came
	began   time.Time // when the last of what came with it did; zero before
	got     int64
	first   int64 // of these, what had come when it began
	skipped int64 // bytes read on the way to pos, where the body is a whole blob
	reading bool  // false while it is opened ahead of need
	ahead   bool  // another goroutine opens it
	window  bool  // its body is a whole blob and goes on after it
	writing bool  // its bytes are on their way to disk, which takes its time

	body   io.ReadCloser
	err    error
	opened chan struct{} // closed when body or err is set
}

// errTaken is the cause of a claim's end when other lanes took what it owed,
// or there is nothing left to bring: no fault of its source.
var errTaken = errors.New("taken over")

// plan says who may take part in a download.
type plan struct {
	allow func(*member) bool // nil: everybody
	// enough, when set, ends the download early; it is called with t.mu held.
	enough func() bool
	// afresh: bytes are compared with those on disk and must come from a
	// source that doesn't vouch for them yet.
	afresh bool
	// hasty: there are others to turn to when these are not at hand.
	hasty bool
}

// allowed reports whether m may take part in the present download.
func (t *transfer) allowed(m *member) bool {
	return !m.gone && !m.doubted && (t.plan.allow == nil || t.plan.allow(m))
}

// eligible returns the unclaimed ranges that m may bring.
func (t *transfer) eligible(m *member) spans {
	if !t.allowed(m) {
		return nil
	}
	if t.plan.afresh {
		return t.unclaimed.minus(t.repair.vouched[m.src])
	}
	if w := t.withheld(m.src); len(w) > 0 {
		return t.unclaimed.minus(w)
	}
	return t.unclaimed
}

// take claims the next chunk for l; nil when nothing is unclaimed. t.mu is held.
func (t *transfer) take(l *lane, from int64) *claim {
	el := t.eligible(l.m)
	if !l.streaming {
		from = t.beyondStreams()
	}
	i := el.search(from)
	if i == len(el) && !l.streaming {
		i, from = 0, 0
	}
	if i == len(el) {
		return nil
	}
	r := t.whole(l.m, el, i, from)
	n := t.chunk(l, el)
	if n == 0 {
		return nil
	}
	end := r.end // no crumbs
	if r.len() >= n+n/2 {
		end = min(t.cut(l.m, r.start+n, n), r.end)
	}
	t.unclaimed.remove(r.start, end)
	return t.newClaim(l, r.start, end)
}

// beyondStreams returns where those who can begin anywhere should, so that they
// meet a source that reads the blob from its beginning only where both are
// done: it would read in vain what they took on its way. A source that would
// only hold up who follows the prefix is left to be overtaken. t.mu is held.
func (t *transfer) beyondStreams() int64 {
	var stream *claim
	var all float64
	for c := range t.claims {
		if c.lane.cur == c {
			all += c.lane.rate
			if c.window && (stream == nil || c.pos > stream.pos) {
				stream = c
			}
		}
	}
	if stream == nil || stream.lane.rate < all/10 {
		return 0
	}
	return stream.pos + int64(float64(t.size-stream.pos)*stream.lane.rate/all)
}

// chunk says how much l should claim: a second's worth, growing no faster than
// fourfold, and towards the end no more than half of its share of what is
// left, so that all lanes finish together; but so much that the wait for the
// source's answers is hidden behind it. Where the lane has all that it will get
// done until the others have finished, that is nothing.
func (t *transfer) chunk(l *lane, el spans) int64 {
	rate, latency := l.m.src.speed()
	if l.rate > 0 {
		rate = l.rate
	}
	n := int64(chunkFirst)
	switch {
	case rate > 0:
		n = int64(rate * chunkTime.Seconds())
	case l.m.turn > 0:
		n *= 8 // it sends a lot at a time, when it does
	}
	switch {
	case l.chunk > 0 && rate > 0:
		n = min(n, 4*l.chunk)
	case l.chunk > 0:
		n = 4 * l.chunk // the last was through before its rate could be told
	}
	var all float64
	unclaimed := el.size()
	left, mine := unclaimed, int64(0)
	for c := range t.claims {
		switch owed := c.end - c.pos; {
		case c.lane == l:
			mine += owed
			left += owed
		case c.lane.cur == c:
			all += c.lane.rate
			left += owed
		}
	}
	if rate > 0 {
		share := int64(float64(unclaimed) * rate / (all + rate))
		if mine > 0 && all > 0 {
			share = min(share, int64(float64(left)*rate/(all+rate))-mine)
			if worth := int64(rate * latency.Seconds()); share < min(worth, chunkMin) {
				return 0
			}
		}
		if all > 0 {
			n = min(n, share/2)
		}
		n = max(n, min(share, int64(rate*min(chunkTime, 4*latency).Seconds())))
	}
	n = min(max(n, chunkMin), chunkMax)
	l.chunk = n
	return n
}

func (t *transfer) newClaim(l *lane, start, end int64) *claim {
	c := &claim{lane: l, pos: start, end: end, asked: end, last: time.Now(), opened: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(t.ctx)
	t.claims[c] = struct{}{}
	return c
}

// drop ends a claim; what it still owes may be claimed again. t.mu is held.
func (t *transfer) drop(c *claim) {
	if _, ok := t.claims[c]; !ok {
		return
	}
	delete(t.claims, c)
	c.cancel()
	if c.of != nil {
		c.of.copies--
	}
	for _, r := range t.need.within(c.pos, c.end) {
		t.unclaimed.add(r.start, r.end)
	}
	for o := range t.claims {
		t.unclaimed.remove(o.pos, o.end) // a duplicate may still be at it
		if o.of == c {
			o.of = nil
			o.copies--
		}
	}
	t.work.Broadcast()
}

// withdraw cancels a claim for the given cause; its lane will drop it.
func (c *claim) withdraw(cause error) {
	if c.cause == nil {
		c.cause = cause
		c.cancel()
	}
}

// release leaves the claim nothing to bring, for the given cause. Its body is
// ended, unless it is to go on to other ranges.
func (c *claim) release(cause error) {
	c.end = c.pos
	if !c.window || cause != errTaken {
		c.withdraw(cause)
	}
}

// shorten tells the claim's body that a part of it was stolen. t.mu is not held.
func (c *claim) shorten() {
	select {
	case <-c.opened:
	default:
		return // pump does it
	}
	if s, ok := c.body.(transport.Shortener); ok {
		c.lane.t.mu.Lock()
		length := c.end - c.from
		c.lane.t.mu.Unlock()
		s.Shorten(length)
	}
}

// fault says why nobody should wait for the claim any more, now that others are
// done or could take it over: errTaken where that is no fault of its source.
func (c *claim) fault(now time.Time, best float64) error {
	if !c.reading || c.sent.IsZero() {
		return errTaken
	}
	quiet, enough := c.quiet(now), time.Second
	if c.began.IsZero() {
		enough = patience
	}
	_, latency := c.lane.m.src.speed()
	switch rate := c.lane.meter.rate(now); {
	case quiet >= max(enough, 4*latency):
		return stalled(quiet)
	case !c.began.IsZero() && now.Sub(c.began) >= enough && rate < slowShare*best:
		return slow(rate, best)
	}
	return errTaken
}

// speed estimates at which rate the claim's bytes come in now; 0 when it stands
// still.
func (c *claim) speed(now time.Time) float64 {
	quiet := c.quiet(now)
	var r float64
	switch {
	case !c.began.IsZero():
		r = c.lane.meter.rate(now)
		if quiet > 200*time.Millisecond {
			// The window still remembers better times.
			r = min(r, float64(c.got)/now.Sub(c.began).Seconds()) * math.Exp(-quiet.Seconds()*3)
		}
	case c.late(now):
		return 0
	default:
		r = c.expected()
	}
	if quiet > tick {
		// What has been awaited for a while is as likely to take as long again.
		r = min(r, float64(c.end-c.pos)/quiet.Seconds())
	}
	return r
}

// quiet is for how long the source has sent nothing, as far as it was listened to.
func (c *claim) quiet(now time.Time) time.Duration {
	if c.writing {
		return 0
	}
	return now.Sub(c.last)
}

// expected is the rate known of the claim's connection, or of others to its
// source; 0 when there were none.
func (c *claim) expected() float64 {
	if c.lane.rate > 0 {
		return c.lane.rate
	}
	rate, _ := c.lane.m.src.speed()
	return rate
}

// rateAfter is how long bytes have to come until their rate can be told.
const rateAfter = 20 * time.Millisecond

// rate is that at which the claim's bytes have come since it began; 0 while
// there are too few to tell.
func (c *claim) rate(now time.Time) float64 {
	d, n := now.Sub(c.began), c.got-c.first
	switch {
	case c.began.IsZero() || d < rateAfter || n < bufferSize/4 && d < time.Second:
		return 0
	case d > meterSlots*meterSlot:
		return c.lane.meter.rate(now)
	}
	return float64(n) / d.Seconds()
}

// soon reports whether the claim will be through within d, as far as can be
// told.
func (c *claim) soon(d time.Duration, now time.Time) bool {
	rate := c.lane.rate
	if rate == 0 && c.got > c.first {
		rate = float64(c.got-c.first) / max(now.Sub(c.began), time.Microsecond).Seconds()
	}
	return float64(c.end-c.pos) <= rate*d.Seconds()
}

// late reports whether the first byte should have come by now.
func (c *claim) late(now time.Time) bool {
	return c.began.IsZero() && c.reading && !c.sent.IsZero() && now.Sub(c.sent) > hedgeAfter(c.lane.m)+tick
}

// steal finds work for an idle lane among what others still owe: the back part
// of the claim that would be finished last, cut so that both finish together;
// all of it where it stands still; or, where cutting doesn't pay or nobody can
// tell how it will do, a second try at the same bytes. t.mu is held; nil when
// nothing is worth it.
func (t *transfer) steal(l *lane, now time.Time) *claim {
	mine, latency := l.rate, l.m.src.atBest()
	if mine == 0 {
		mine, _ = l.m.src.speed()
	}
	if mine == 0 {
		mine = float64(chunkMin) // unknown: be modest
	}
	var victim *claim
	var worst float64
	for c := range t.claims {
		if c.lane == l || !t.mayTake(l.m, c) || c.began.IsZero() && !t.mayPrecede(l.m, c, now) {
			continue
		}
		if eta := float64(c.end-c.pos) / max(c.speed(now), 1); victim == nil || eta > worst {
			victim, worst = c, eta
		}
	}
	if victim == nil {
		return nil
	}
	theirs := victim.speed(now)
	if victim.began.IsZero() && theirs == 0 {
		return t.double(l, victim)
	}
	left := float64(victim.end - victim.pos)
	if worst <= latency.Seconds()+left/mine*0.1+0.02 {
		return nil // it will be done before we have begun
	}
	share := int64(mine * (left - theirs*latency.Seconds()) / (theirs + mine))
	cuts := l.m.chunks.coarser(victim.lane.m.chunks)
	switch {
	case victim.end-victim.pos-share < stealMin/4 && share > 0: // it hardly moves
		start, end := victim.pos, victim.end
		victim.release(victim.fault(now, mine))
		t.stolen(l, victim, start, end)
		return t.newClaim(l, start, end)
	case share >= stealMin && cuts.up(victim.end-share) < victim.end:
		start, end := cuts.up(victim.end-share), victim.end
		victim.end = start
		l.cut = victim
		t.stolen(l, victim, start, end)
		return t.newClaim(l, start, end)
	case victim.copies == 0 && worst > 1.2*(latency.Seconds()+left/mine)+0.02:
		return t.double(l, victim)
	}
	return nil
}

// mayPrecede reports whether m may take from a claim that has not begun: one of
// a source whose rate is known is cut like any other; the first claims of an
// unknown one are tried elsewhere too when they are late: once, and once more for
// every while that nothing comes, or the one source that answers would wait for its
// turn behind all that don't.
func (t *transfer) mayPrecede(m *member, c *claim, now time.Time) bool {
	if c.late(now) {
		return c.copies <= int(c.quiet(now)/patience) && c.lane.m != m
	}
	return c.expected() > 0
}

// double claims the same bytes once more. t.mu is held.
func (t *transfer) double(l *lane, victim *claim) *claim {
	c := t.newClaim(l, victim.pos, victim.end)
	c.of = victim
	c.copies++
	victim.copies++
	t.stolen(l, victim, c.pos, c.end)
	return c
}

// mayTake reports whether m may bring what c still owes.
func (t *transfer) mayTake(m *member, c *claim) bool {
	if !t.allowed(m) || !t.need.overlaps(c.pos, c.end) {
		return false
	}
	if w := t.withheld(m.src); w.overlaps(c.pos, c.end) {
		return false
	}
	return !t.plan.afresh || !t.repair.vouched[m.src].overlaps(c.pos, c.end)
}

func (t *transfer) stolen(l *lane, victim *claim, start, end int64) {
	if victim.lane.m != l.m {
		t.say(EventStolen, l.m.src, "bytes %d-%d from %s", start, end-1, victim.lane.m.src.key)
	}
}
