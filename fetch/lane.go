package fetch

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/waybill-project/waybill/transport"
)

const (
	bufferSize  = 256 << 10
	flushAfter  = 50 * time.Millisecond  // a buffer is written when full, or after this
	recordSize  = 1 << 20                // the journal is told every so many bytes,
	recordAfter = 200 * time.Millisecond // or after so long
)

var buffers = sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}

// lane is one connection's worth of work: it claims ranges for its member, one
// after the other, and opens the next while the last bytes of the present one
// arrive, so that a source's latency costs nothing between them.
type lane struct {
	t *transfer
	m *member

	// Guarded by t.mu.
	cur, ahead *claim
	rate       float64 // smoothed bytes/s
	chunk      int64   // the last chunk's size
	meter      meter
	streaming  bool   // it reads whole blobs
	retire     bool   // the controller found it adds nothing
	cut        *claim // what a part was just stolen of

	// The lane's own: bytes written and not yet in the journal.
	recorded      span
	recordedSince time.Time
}

// startLane puts one more connection of m to work. t.mu is held.
func (t *transfer) startLane(m *member) {
	m.lanes++
	if !m.asked {
		m.asked = true
		t.say(EventAsked, m.src, "")
	}
	l := &lane{t: t, m: m}
	t.lanes.Add(1)
	go func() {
		defer t.lanes.Done()
		l.run()
		t.mu.Lock()
		m.lanes--
		t.mu.Unlock()
		signal(t.kick)
	}()
}

func (l *lane) run() {
	for pass := 0; ; {
		if l.m.src.isWholeOnly() {
			l.abandonAhead()
			l.streaming = true
			if !l.stream(pass) {
				return
			}
			pass++
			continue
		}
		c := l.next()
		if c == nil {
			return
		}
		if !c.ahead {
			l.open(c)
		}
		if !l.settle(c, l.pump(c)) {
			return
		}
	}
}

// next returns the lane's next claim: the one opened ahead, a chunk nobody has
// claimed, or a part of somebody else's. It waits for one; nil means the lane
// is to end.
func (l *lane) next() *claim {
	c := l.work()
	if victim := l.cut; victim != nil {
		l.cut = nil
		victim.shorten()
	}
	return c
}

func (l *lane) work() *claim {
	t := l.t
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		if c := l.ahead; c != nil {
			l.ahead, l.cur = nil, c
			c.reading, c.last = true, time.Now()
			return c
		}
		if t.over || l.retire || t.ctx.Err() != nil || !t.allowed(l.m) || l.m.src.isWholeOnly() {
			return nil
		}
		now := time.Now()
		ok, wait := l.m.src.usable(now)
		if !ok || wait > 0 {
			return nil // the controller starts a new lane when it may be asked again
		}
		c := t.take(l, 0)
		if c == nil {
			c = t.steal(l, now)
		}
		if c != nil {
			c.reading = true
			l.cur = c
			return c
		}
		t.work.Wait()
	}
}

// open asks the source for the claim's range.
func (l *lane) open(c *claim) {
	t := l.t
	t.mu.Lock()
	c.sent = time.Now()
	c.last = c.sent
	off := c.pos
	c.from, c.asked = off, c.end
	desc := t.desc
	t.mu.Unlock()
	desc.Size = t.size
	if c.asked > off {
		c.body, c.err = t.e.opts.Transport.Open(c.ctx, l.m.route, desc, off, c.asked-off)
	} else {
		c.err = errTaken
	}
	if c.err == nil {
		l.m.src.opened(time.Since(c.sent))
		if cuts := chunksOf(c.body); cuts.size > 0 {
			t.mu.Lock()
			l.m.chunks = cuts
			t.mu.Unlock()
		}
	}
	close(c.opened)
}

// openAhead claims and opens the lane's next chunk when the present one will
// be through in about the time that takes.
func (l *lane) openAhead(c *claim) {
	if c.window || l.m.src.isWholeOnly() {
		return // the body it reads goes on by itself
	}
	t := l.t
	t.mu.Lock()
	defer t.mu.Unlock()
	_, latency := l.m.src.speed()
	if l.ahead != nil || l.m.serial || l.retire || t.over || !c.soon(min(latency*3/2, chunkTime/2), time.Now()) {
		return
	}
	if l.ahead = t.take(l, 0); l.ahead != nil {
		ahead := l.ahead
		ahead.ahead = true
		t.lanes.Add(1)
		go func() {
			defer t.lanes.Done()
			l.open(ahead)
		}()
	}
}

// pump brings the claim's bytes to disk until it owes none.
func (l *lane) pump(c *claim) error {
	<-c.opened
	if c.err != nil {
		return c.err
	}
	if _, whole := l.owes(c); !whole {
		c.shorten() // a part was stolen before it was open
	}
	return l.read(c, c.body)
}

// read copies from body to disk until the claim owes nothing more, and sees
// the body to its end where it was read whole.
func (l *lane) read(c *claim, body io.Reader) error {
	buf := buffers.Get().(*[]byte)
	defer func() { buffers.Put(buf) }()
	for {
		left, whole := l.owes(c)
		if left <= 0 {
			if whole {
				return expectEOF(body)
			}
			return nil
		}
		n, err := fill(body, (*buf)[:min(left, bufferSize)])
		if n > 0 {
			l.m.src.read(n, time.Now())
			var werr error
			if buf, werr = l.deliver(c, buf, n); werr != nil {
				return werr
			}
		}
		switch left, _ = l.owes(c); {
		case err == nil:
			l.openAhead(c)
		case errors.Is(err, io.EOF) && left <= 0:
			return nil
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return endedEarly(l.m.route.URI, left, err)
		default:
			return err
		}
	}
}

// owes returns how many bytes the claim still owes, and whether its body is
// to end with them.
func (l *lane) owes(c *claim) (left int64, whole bool) {
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	return c.end - c.pos, c.end == c.asked && c.cause == nil
}

// fill reads into p until there is enough to be worth a write.
func fill(r io.Reader, p []byte) (n int, err error) {
	start := time.Now()
	for n < len(p) && err == nil {
		var k int
		k, err = r.Read(p[n:])
		n += k
		if time.Since(start) > flushAfter {
			break
		}
	}
	return n, err
}

// endedEarly returns what it means that a body ended with err, left bytes too
// early. A transport that says more than that knows why.
func endedEarly(uri string, left int64, err error) error {
	var told *transport.Error
	if errors.As(err, &told) {
		return err
	}
	return transport.Errorf(transport.ErrTemporary, uri, "the body ended early, %d bytes short", left)
}

// expectEOF makes sure that a body doesn't go on after what it was asked for,
// and lets the connection be used again.
func expectEOF(body io.Reader) error {
	var one [1]byte
	n, err := body.Read(one[:])
	switch {
	case n > 0:
		return transport.Errorf(transport.ErrPermanent, "", "sent more than it was asked for")
	case err == nil || errors.Is(err, io.EOF):
		return nil
	}
	return err
}

// settle draws the consequences of how a claim ended. It reports whether the
// lane goes on.
func (l *lane) settle(c *claim, err error) bool {
	t := l.t
	if c.body != nil {
		c.body.Close()
	}
	ferr := l.flush()
	t.mu.Lock()
	if ferr != nil {
		t.fail(ferr)
	}
	l.cur = nil
	rate := c.rate(time.Now())
	if rate == 0 && c.got > 0 { // it was too short to tell; it was no slower than this
		l.rate = max(l.rate, float64(c.got)/time.Since(c.sent).Seconds())
	}
	if c.cause != nil {
		err = c.cause
	}
	t.drop(c)
	t.mu.Unlock()
	l.m.src.finished(rate)
	return l.judge(c, err)
}

// judge tells the source's record, and the observer, how a claim ended. It
// reports whether the lane goes on.
func (l *lane) judge(c *claim, err error) bool {
	t, src := l.t, l.m.src
	if t.ctx.Err() != nil {
		l.abandonAhead()
		return false
	}
	if err == nil {
		src.progressed()
		return true
	}
	if errors.Is(err, errTaken) {
		return true
	}
	if goOn, ok := l.tooMany(c, err); ok {
		if !goOn {
			l.abandonAhead()
		}
		return goOn
	}
	var slow *slowError
	if errors.As(err, &slow) {
		src.rest(slow.Error(), slow.rest, time.Now())
		t.e.event(EventDemoted, t.desc.Digest, src, "%s", slow.Error())
		l.remember(slow, false)
		l.abandonAhead()
		return false
	}
	whole := src.isWholeOnly()
	gone := src.failed(err, c.got, time.Now())
	l.remember(err, gone)
	switch {
	case errors.Is(err, transport.ErrNotFound):
		t.e.event(EventMissing, t.desc.Digest, src, "%s", reasonOf(err))
	case gone:
		t.e.event(EventGone, t.desc.Digest, src, "%s", reasonOf(err))
	case !whole && src.isWholeOnly():
		t.e.event(EventFailed, t.desc.Digest, src, "sends only whole blobs")
		l.abandonAhead()
		return true
	default:
		t.e.event(EventFailed, t.desc.Digest, src, "%s", reasonOf(err))
	}
	l.abandonAhead()
	return false
}

// tooMany recognises a source that refuses a request because it is answering
// others: it is asked for fewer at a time, which is not held against it. ok is
// false when that is not so.
func (l *lane) tooMany(c *claim, err error) (goOn, ok bool) {
	if c.got > 0 || !errors.Is(err, transport.ErrThrottled) && !errors.Is(err, transport.ErrTemporary) {
		return false, false
	}
	t, m := l.t, l.m
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.ahead && !m.serial {
		m.serial = true
		return true, true
	}
	at := 0
	for o := range t.claims {
		if o.lane.m == m && !o.began.IsZero() && o.cause == nil && time.Since(o.last) < time.Second {
			at++
		}
	}
	if at == 0 || m.width <= at {
		return false, false
	}
	m.width = at
	m.trial.fail(time.Now())
	t.say(EventConnections, m.src, "%d connections: it refuses more (%s)", at, reasonOf(err))
	return false, true
}

func (l *lane) remember(err error, gone bool) {
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	l.m.last, l.m.working = err, false
	if tr := &l.m.trial; !tr.began.IsZero() { // it says nothing now
		l.m.width = tr.width
		*tr = trial{next: time.Now().Add(trialEvery), wait: tr.wait}
	}
	if gone {
		l.m.gone = true
		for c := range l.t.claims { // its other connections needn't try
			if c.lane.m == l.m && c.began.IsZero() {
				c.withdraw(errTaken)
			}
		}
	}
	l.t.work.Broadcast()
	signal(l.t.kick)
}

// abandonAhead gives back what was opened ahead.
func (l *lane) abandonAhead() {
	l.t.mu.Lock()
	c := l.ahead
	l.ahead = nil
	if c != nil {
		l.t.drop(c)
	}
	l.t.mu.Unlock()
	if c == nil {
		return
	}
	<-c.opened
	if c.body != nil {
		c.body.Close()
	}
}

// slowError is the verdict on a source that was reading too slowly, or not at
// all, for others to wait for it.
type slowError struct {
	what string
	rest time.Duration
}

func (e *slowError) Error() string { return e.what }

func slow(rate, best float64) *slowError {
	return &slowError{fmt.Sprintf("slow: %s beside others at %s", humanRate(rate), humanRate(best)), slowRest}
}

func stalled(quiet time.Duration) *slowError {
	return &slowError{fmt.Sprintf("stalled: no bytes for %.1f s", quiet.Seconds()), 10 * time.Second}
}
