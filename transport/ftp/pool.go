package ftp

import (
	"context"
	"slices"
	"sync"
	"time"
)

// pool keeps control connections for the next request. It is safe for
// concurrent use.
type pool struct {
	// limit is how many connections to one server, as one user, there may be.
	limit int
	// idle is how long a connection is kept.
	idle    time.Duration
	connect func(ctx context.Context, s server) (*control, error)

	mu     sync.Mutex
	lots   map[server]*lot
	closed bool
}

// lot is the connections to one server as one user.
type lot struct {
	// slots holds a token for each connection in use.
	slots chan struct{}
	// users is how many hold a token or wait for one: the lot is forgotten
	// when there are none and nothing is kept.
	users int
	kept  []*control
}

// get returns a connection, one that was kept unless fresh is set. It waits
// while as many as may be are in use.
func (p *pool) get(ctx context.Context, s server, fresh bool) (*control, error) {
	l := p.enter(s)
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		p.leave(s, l)
		return nil, ctx.Err()
	}
	for !fresh {
		c := p.take(l)
		if c == nil {
			break
		}
		stop := context.AfterFunc(ctx, c.abort)
		ok := c.settle()
		if stop() && ok {
			c.kept = true
			return c, nil
		}
		c.abort()
	}
	c, err := p.connect(ctx, s)
	if err != nil {
		<-l.slots
		p.leave(s, l)
		return nil, err
	}
	return c, nil
}

// enter returns the lot of a server, of which the caller becomes a user.
func (p *pool) enter(s server) *lot {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lots[s]
	if l == nil {
		l = &lot{slots: make(chan struct{}, p.limit)}
		p.lots[s] = l
	}
	l.users++
	return l
}

// leave ends what enter began.
func (p *pool) leave(s server, l *lot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.users--
	p.forget(s, l)
}

// forget drops a lot that holds nothing.
func (p *pool) forget(s server, l *lot) {
	if l.users == 0 && len(l.kept) == 0 && p.lots[s] == l {
		delete(p.lots, s)
	}
}

// take returns the connection kept last, or nil.
func (p *pool) take(l *lot) *control {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(l.kept)
	if n == 0 {
		return nil
	}
	c := l.kept[n-1]
	l.kept = l.kept[:n-1]
	c.expiry.Stop()
	return c
}

// put gives a connection back. Where it isn't good any more it ends.
func (p *pool) put(c *control, good bool) {
	p.mu.Lock()
	l := p.lots[c.server]
	<-l.slots
	l.users--
	if keep := good && !p.closed && !c.tainted; keep {
		l.kept = append(l.kept, c)
		c.expiry = time.AfterFunc(p.idle, func() { p.expire(c) })
		c = nil
	} else {
		p.forget(c.server, l)
	}
	p.mu.Unlock()
	if c != nil {
		c.abort()
	}
}

// expire ends a connection that nobody wanted for a while.
func (p *pool) expire(c *control) {
	p.mu.Lock()
	l := p.lots[c.server]
	i := -1
	if l != nil {
		i = slices.Index(l.kept, c)
	}
	if i >= 0 {
		l.kept = slices.Delete(l.kept, i, i+1)
		p.forget(c.server, l)
	}
	p.mu.Unlock()
	if i >= 0 {
		c.quit()
	}
}

// dropKept ends the connections kept for a server: it was restarted.
func (p *pool) dropKept(s server) {
	p.mu.Lock()
	l := p.lots[s]
	var kept []*control
	if l != nil {
		kept, l.kept = l.kept, nil
		p.forget(s, l)
	}
	p.mu.Unlock()
	for _, c := range kept {
		c.expiry.Stop()
		c.abort()
	}
}

// close ends all connections that are kept, and keeps none from now on.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	var kept []*control
	for s, l := range p.lots {
		kept = append(kept, l.kept...)
		l.kept = nil
		p.forget(s, l)
	}
	p.mu.Unlock()
	for _, c := range kept {
		c.expiry.Stop()
		c.quit()
	}
}
