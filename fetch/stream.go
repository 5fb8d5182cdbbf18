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
func (l *lane) stream() bool {
	t := l.t
	c := l.window(0)
	if c == nil {
		return false
	}
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	t.mu.Lock()
	l.m.width = 1
	desc := t.desc
	sent := time.Now()
	c.sent, c.last, c.asked = sent, sent, t.size
	t.mu.Unlock()
	desc.Size = t.size
	stop := c.onWithdrawal(t, cancel)
	body, err := t.e.opts.Transport.Open(ctx, l.m.route, desc, 0, t.size)
	if errors.Is(err, transport.ErrRangeUnsupported) {
		err = transport.Errorf(transport.ErrPermanent, l.m.route.URI, "takes a request for the whole blob for a range")
	}
	if err != nil {
		stop()
		return l.settle(c, err)
	}
	defer body.Close()
	l.m.src.opened(time.Since(sent))
	for pos := int64(0); ; {
		err := l.skip(c, body, c.pos-pos)
		if err == nil {
			err = l.read(c, body)
		}
		t.mu.Lock()
		pos = c.pos
		t.mu.Unlock()
		stop()
		if !l.settle(c, err) {
			return false
		}
		if err != nil || pos >= t.size {
			return true
		}
		if c = l.window(pos); c == nil {
			return true
		}
		t.mu.Lock()
		c.sent, c.asked = time.Now(), t.size
		t.mu.Unlock()
		stop = c.onWithdrawal(t, cancel)
	}
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
func (l *lane) window(pos int64) *claim {
	t := l.t
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		if t.over || l.retire || t.ctx.Err() != nil || !t.allowed(l.m) {
			return nil
		}
		if ok, wait := l.m.src.usable(time.Now()); !ok || wait > 0 {
			return nil
		}
		if c := t.take(l, pos); c != nil {
			c.reading = true
			l.cur = c
			return c
		}
		if pos > 0 {
			return nil
		}
		t.work.Wait()
	}
}

// skip reads past n bytes that others bring.
func (l *lane) skip(c *claim, body io.Reader, n int64) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for n > 0 {
		k, err := body.Read((*buf)[:min(n, bufferSize)])
		n -= int64(k)
		now := time.Now()
		l.m.src.read(k, now)
		l.t.mu.Lock()
		c.last = now
		l.t.mu.Unlock()
		if err != nil && n > 0 {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}
