package fetch

import (
	"errors"
	"fmt"
	"math"
	"time"
)

const (
	tick          = 50 * time.Millisecond
	patience      = 2 * time.Second  // with a source that stands still while others are at hand
	slowAfter     = 3 * time.Second  // with one that crawls while others are at hand
	slowShare     = 0.02             // of the fastest other connection
	slowRest      = 30 * time.Second // then it is left alone
	minRateWindow = 30 * time.Second // with one that crawls alone
)

// errExhausted ends a download that no source at hand can finish.
var errExhausted = errors.New("no source is left for it")

// download has lanes bring everything in t.need, under the plan p. It returns
// nil when all of it is on disk, errExhausted when nobody can bring the rest,
// a fault of this machine, or the context's error. No lane is left when it
// returns.
func (t *transfer) download(p plan) error {
	t.mu.Lock()
	t.plan, t.over, t.lastBytes = p, false, time.Now()
	t.unclaimed = append(spans(nil), t.need...)
	t.mu.Unlock()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var over bool
	var err error
	for {
		over, err = t.control(time.Now())
		t.tell()
		if over {
			break
		}
		select {
		case <-ticker.C:
		case <-t.kick:
		case <-t.news:
		case <-t.ctx.Done():
		}
	}
	t.mu.Lock()
	t.over = true
	now := time.Now()
	for c := range t.claims {
		c.withdraw(c.fault(now, 0))
	}
	t.work.Broadcast()
	t.mu.Unlock()
	t.lanes.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.local != nil {
		return t.local
	}
	if err == nil && t.ctx.Err() != nil && len(t.need) > 0 {
		err = t.ctx.Err()
	}
	return err
}

// control looks at the download once: starts lanes, takes work from sources
// that stand still, and says whether it is over and how.
func (t *transfer) control(now time.Time) (over bool, err error) {
	ready, later := t.candidates(now)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.local != nil:
		return true, t.local
	case len(t.need) == 0 && t.writing == 0, t.plan.enough != nil && t.plan.enough():
		return true, nil
	case t.ctx.Err() != nil:
		return true, t.ctx.Err()
	}
	later = later && !t.plan.hasty
	useful := false
	for _, m := range ready {
		if !t.allowed(m) {
			continue
		}
		if m.width > 1 && m.src.isWholeOnly() {
			m.width = 1
		}
		if m.lanes < m.width && t.workFor(m) {
			t.startLane(m)
		}
		useful = useful || m.lanes > 0 && (len(t.claims) > 0 || len(t.eligible(m)) > 0)
	}
	if !useful && !later && len(t.claims) == 0 && t.writing == 0 {
		return true, errExhausted
	}
	if !t.plan.hasty && (len(ready) == 0 && len(t.claims) == 0 || now.Sub(t.lastBytes) > patience) {
		t.recall(now)
	}
	t.watch(now, ready)
	t.adapt(now, ready)
	t.work.Broadcast() // idle lanes look again for something to steal
	return false, nil
}

// recall ends the rest of sources that were too slow, now that nobody else
// brings anything. t.mu is held.
func (t *transfer) recall(now time.Time) {
	for _, m := range t.members {
		if t.allowed(m) {
			m.src.recall(now)
		}
	}
}

// workFor reports whether a new lane of m would find something to do. t.mu is
// held.
func (t *transfer) workFor(m *member) bool {
	if len(t.eligible(m)) > 0 {
		return true
	}
	for c := range t.claims {
		if t.mayTake(m, c) {
			return true
		}
	}
	return false
}

// watch takes claims away from connections that stand still or crawl. With
// other sources that work at hand that is soon; else a source gets the
// configured patience. t.mu is held.
func (t *transfer) watch(now time.Time, ready []*member) {
	working := map[*member]bool{}
	for _, m := range ready {
		if m.working && t.allowed(m) {
			working[m] = true
		}
	}
	// The fastest connection, and the fastest of another member than its.
	var first *member
	var best, next float64
	for c := range t.claims {
		switch r := c.lane.meter.rate(now); {
		case r > best:
			if first != c.lane.m {
				next = best
			}
			first, best = c.lane.m, r
		case r > next && first != c.lane.m:
			next = r
		}
	}
	for c := range t.claims {
		switch {
		case c.cause != nil:
			continue
		case c.pos < c.end && !t.need.overlaps(c.pos, c.end):
			c.release(errTaken) // others were quicker
			continue
		case !c.reading || c.sent.IsZero():
			continue
		}
		others := len(working) > 1 || len(working) == 1 && !working[c.lane.m]
		fastest := best
		if first == c.lane.m {
			fastest = next
		}
		if t.plan.hasty {
			others, fastest = true, max(fastest, t.fastestBeside(c.lane.m))
		}
		if verdict := t.tooSlow(c, now, others, fastest); verdict != nil {
			c.withdraw(verdict)
		}
	}
}

// fastestBeside returns the best rate known of a source other than m's. t.mu is
// held.
func (t *transfer) fastestBeside(m *member) float64 {
	best := 0.0
	for _, o := range t.members {
		if o != m && !o.gone {
			rate, _ := o.src.speed()
			best = max(best, rate)
		}
	}
	return best
}

// tooSlow judges a claim that is being read.
func (t *transfer) tooSlow(c *claim, now time.Time, others bool, best float64) error {
	quiet, age := c.quiet(now), now.Sub(c.sent)
	limit := t.e.opts.Stall
	if c.began.IsZero() {
		limit = t.e.opts.FirstByte
	}
	_, latency := c.lane.m.src.speed()
	switch m := c.lane.m; {
	case others && c.began.IsZero():
		limit = min(limit, max(patience, 4*latency, m.turn))
	case others:
		limit = min(limit, max(patience, 4*latency))
	case m.working || m.stalls > 0:
		// It did bring bytes: asking once more is cheap, and soon tells
		// whether it is the source or the connection that is dead.
		limit = min(limit, max(2*patience<<min(m.stalls, 8), 4*latency))
	}
	rate := c.lane.meter.rate(now)
	switch {
	case quiet > limit:
		c.lane.m.stalls++
		if others {
			return stalled(quiet)
		}
		return fmt.Errorf("no bytes for %.0f s", quiet.Seconds())
	case others && best > 0 && rate < slowShare*best && !c.began.IsZero() && now.Sub(c.began) > slowAfter:
		return slow(rate, best)
	case age > minRateWindow && float64(c.got+c.skipped)/age.Seconds() < float64(t.e.opts.MinRate):
		return fmt.Errorf("slower than %d B/s for %.0f s", t.e.opts.MinRate, age.Seconds())
	}
	return nil
}

// trial is an experiment with more connections to a member.
type trial struct {
	began time.Time // zero: none is under way
	width int       // connections before
	own   float64   // the member's bytes/s before
	all   float64   // everybody's
	next  time.Time // not before
	wait  time.Duration
}

// fail ends the experiment, and puts the next one off.
func (tr *trial) fail(now time.Time) {
	tr.began = time.Time{}
	tr.wait = max(trialPause, 2*tr.wait)
	tr.next = now.Add(tr.wait)
}

const (
	trialTime  = 400*time.Millisecond + meterSlots*meterSlot // the first to settle
	trialGain  = 1.08
	trialPause = 10 * time.Second
	trialEvery = time.Second
)

// adapt tries, one member at a time, whether twice the connections to it make
// it, and the whole, faster; it keeps them if so and takes them back if not.
// t.mu is held.
func (t *transfer) adapt(now time.Time, ready []*member) {
	if t.repairing {
		return
	}
	all, own := 0.0, map[*member]float64{}
	for c := range t.claims {
		if c.lane.cur == c {
			r := c.lane.meter.rate(now)
			all += r
			own[c.lane.m] += r
		}
	}
	for _, m := range t.members {
		switch tr := &m.trial; {
		case tr.began.IsZero():
		case now.Sub(tr.began) < trialTime:
			return
		case own[m] >= tr.own*trialGain && all >= tr.all+(own[m]-tr.own)/2:
			tr.began, tr.next, tr.wait = time.Time{}, now, 0
			t.say(EventConnections, m.src, "%d connections: %s instead of %s", m.width, humanRate(own[m]), humanRate(tr.own))
		default:
			for ; m.width > tr.width; m.width-- {
				t.retireOne(m)
			}
			tr.fail(now)
		}
	}
	left := float64(t.unclaimed.size())
	if all == 0 || left/all < 2*trialTime.Seconds() {
		return // it wouldn't pay any more
	}
	var pick *member
	for _, m := range ready {
		tr := &m.trial
		if tr.next.IsZero() {
			tr.next = now.Add(trialEvery) // first see what one does
		}
		if t.allowed(m) && m.width < t.e.opts.MaxConnections && m.lanes == m.width && now.After(tr.next) && !m.src.isWholeOnly() {
			if pick == nil || tr.next.Before(pick.trial.next) {
				pick = m
			}
		}
	}
	if pick == nil {
		return
	}
	tr := &pick.trial
	tr.began, tr.width, tr.own, tr.all = now, pick.width, own[pick], all
	pick.width = min(2*pick.width, t.e.opts.MaxConnections)
}

// retireOne ends one of m's lanes after what it has claimed. t.mu is held.
func (t *transfer) retireOne(m *member) {
	var pick *lane
	least := int64(math.MaxInt64)
	for c := range t.claims {
		if c.lane.m == m && !c.lane.retire && c.end-c.pos < least {
			pick, least = c.lane, c.end-c.pos
		}
	}
	if pick != nil {
		pick.retire = true
	}
}
