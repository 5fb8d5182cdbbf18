package fetch

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/waybill-project/waybill/transport"
)

// stream reads a source that only sends whole blobs: once from the beginning,
// keeping the ranges nobody else has claimed when it comes to them and passing
// over the others. It reports whether the lane goes on.
func (l *lane) stream(pass int) bool {
	t := l.t
	c := l.window(0, pass)
	if c == nil {
		return false
	}
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	t.mu.Lock()
	desc := t.desc
	sent := time.Now()
	c.sent, c.last, c.asked = sent, sent, t.size
	t.mu.Unlock()
	desc.Size = t.size
	stop := c.onWithdrawal(t, cancel)
	answer, err := t.e.opts.Transport.Open(ctx, l.m.route, desc, 0, t.size)
	if errors.Is(err, transport.ErrRangeUnsupported) {
		err = transport.Errorf(transport.ErrPermanent, l.m.route.URI, "takes a request for the whole blob for a range")
	}
	if err != nil {
		stop()
		return l.settle(c, err)
	}
	defer answer.Close()
	l.m.src.opened(time.Since(sent))
	for body := (&counted{Reader: answer}); ; {
		err := l.skip(c, body)
		if err == nil {
			err = l.read(c, body)
		}
		stop()
		if !l.settle(c, err) {
			return false
		}
		if err != nil || body.n >= t.size {
			return true
		}
		if c = l.window(body.n, pass); c == nil {
			return true
		}
		t.mu.Lock()
		c.sent, c.asked = time.Now(), t.size
		t.mu.Unlock()
		stop = c.onWithdrawal(t, cancel)
	}
}

// counted knows how many bytes were read through it.
type counted struct {
	io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

// onWithdrawal runs f when the claim is withdrawn, until stopped: claims on one
// body come and go, and the body must end with one that is taken away.
func (c *claim) onWithdrawal(t *transfer, f func()) (stop func() bool) {
	return context.AfterFunc(c.ctx, func() {
		t.mu.Lock()
		withdrawn := c.cause != nil
		t.mu.Unlock()
		if withdrawn {
			f()
		}
	})
}

// window claims the next chunk at or after pos. At the beginning of the blob it
// waits for one; nil then means that the lane is to end, and later that nothing
// is left that this reading will come by.
func (l *lane) window(pos int64, pass int) *claim {
	t := l.t
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		if t.over || l.retire || t.ctx.Err() != nil || !t.allowed(l.m) || pos == 0 && l.m.lanes > 1 {
			return nil
		}
		if ok, wait := l.m.src.usable(time.Now()); !ok || wait > 0 {
			return nil
		}
		// All of the blob is read once more only if nobody else is at work.
		if pos > 0 || pass == 0 || !t.atWork(l.m) {
			if c := t.take(l, pos); c != nil {
				c.reading, c.window = true, true
				l.cur = c
				return c
			}
		}
		if pos > 0 {
			return nil
		}
		t.work.Wait()
	}
}

// atWork reports whether another source than m's is bringing bytes. t.mu is
// held.
func (t *transfer) atWork(m *member) bool {
	for c := range t.claims {
		if c.lane.m != m && c.lane.m.working && c.cause == nil {
			return true
		}
	}
	return false
}

// skip reads past the bytes before the claim's, which others bring.
func (l *lane) skip(c *claim, body *counted) error {
	t := l.t
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		t.mu.Lock()
		n, owes := c.pos-body.n, c.end > c.pos
		t.mu.Unlock()
		if n <= 0 || !owes {
			return nil
		}
		k, err := body.Read((*buf)[:min(n, bufferSize)])
		now := time.Now()
		l.m.src.read(k, now)
		t.mu.Lock()
		if k > 0 {
			l.m.working, c.last, t.lastBytes = true, now, now
		}
		c.skipped += int64(k)
		l.meter.add(int64(k), now)
		t.mu.Unlock()
		switch {
		case err == nil || int64(k) == n:
		case errors.Is(err, io.EOF):
			return transport.Errorf(transport.ErrTemporary, l.m.route.URI, "the body ended early, %d bytes short", t.size-body.n)
		default:
			return err
		}
	}
}
