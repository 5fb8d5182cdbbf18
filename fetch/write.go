package fetch

import (
	"time"
)

// deliver writes n bytes of buf at the claim's position: those of them nobody
// else has brought meanwhile. It returns a buffer to go on with.
func (l *lane) deliver(c *claim, buf *[]byte, n int) (*[]byte, error) {
	t := l.t
	now := time.Now()
	t.mu.Lock()
	off := c.pos
	c.pos += int64(n)
	c.got += int64(n)
	c.last = now
	if c.began.IsZero() {
		c.burst = now
	}
	if now.Sub(c.burst) < rateAfter { // what was ready says nothing of the rate
		c.began, c.first = now, c.got
	}
	l.m.working, l.m.stalls, t.lastBytes = true, 0, now
	l.meter.add(int64(n), now)
	if r := c.rate(now); r > 0 {
		l.rate = r
	}
	parts := t.need.within(off, off+int64(n))
	if w := t.withheld(l.m.src); len(w) > 0 {
		parts = parts.minus(w)
	}
	for _, p := range parts {
		t.need.remove(p.start, p.end)
		t.unclaimed.remove(p.start, p.end)
	}
	t.writing++
	c.writing = true
	t.mu.Unlock()

	var err error
	for _, p := range parts {
		if err = l.write(p, (*buf)[p.start-off:p.end-off]); err != nil {
			break
		}
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	t.writing--
	c.writing, c.last = false, time.Now()
	if c.last.Sub(now) > meterSlots*meterSlot/2 {
		c.began, c.first = c.last, c.got // a slow disk says nothing of the source
	}
	if err != nil {
		t.fail(err)
		return buf, err
	}
	if len(parts) == 1 && parts[0] == (span{off, off + int64(n)}) && !t.repairing && t.hash.offer(off, buf, n) {
		buf = buffers.Get().(*[]byte)
	}
	for _, p := range parts {
		t.arrived(l.m.src, p)
	}
	if len(t.need) == 0 && t.writing == 0 {
		signal(t.kick)
	}
	return buf, nil
}

// write puts one part on disk and, every so often, into the journal.
func (l *lane) write(p span, b []byte) error {
	t := l.t
	if t.repair != nil {
		return t.repair.write(l.m.src, p, b)
	}
	if _, err := t.ingest.WriteAt(b, p.start); err != nil {
		return err
	}
	if l.recorded.len() > 0 && l.recorded.end != p.start {
		if err := l.flush(); err != nil {
			return err
		}
	}
	now := time.Now()
	if l.recorded.len() == 0 {
		l.recorded.start, l.recordedSince = p.start, now
	}
	l.recorded.end = p.end
	if l.recorded.len() >= recordSize || now.Sub(l.recordedSince) >= recordAfter {
		return l.flush()
	}
	return nil
}

// flush tells the journal what the lane has written.
func (l *lane) flush() error {
	r := l.recorded
	l.recorded = span{}
	if r.len() == 0 {
		return nil
	}
	return l.t.ingest.Record(r.start, r.len(), l.m.src.key)
}

// arrived enters that p is on disk. t.mu is held.
func (t *transfer) arrived(src *source, p span) {
	if t.repair != nil {
		return // it keeps its own books
	}
	t.have.set(served{span: p, by: src})
	t.extendPrefix()
}

// extendPrefix moves the end of the contiguous prefix and wakes who waits for
// that. t.mu is held.
func (t *transfer) extendPrefix() {
	for i := t.have.search(t.prefix); i < len(t.have) && t.have[i].start <= t.prefix; i++ {
		t.prefix = t.have[i].end
	}
	t.data.Broadcast()
}

// fail ends the transfer for a fault of this machine. t.mu is held.
func (t *transfer) fail(err error) {
	if t.local == nil {
		t.local = err
	}
	t.cancel()
	t.data.Broadcast()
	signal(t.kick)
}
