package sftp

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/sftp/openssh"
)

const (
	// maxConns is how many connections are opened to one host. Where processors
	// are to spare, two are faster than one, and four a little faster than two;
	// sshd lets ten log in at once (sshd_config(5), MaxStartups).
	maxConns = 4
	// regrow is how long no further connection to a host is tried after one
	// was refused while others work.
	regrow = 30 * time.Second
)

// pool keeps connections by target.
type pool struct {
	dial func(context.Context, openssh.Target) (*conn, error)

	mu     sync.Mutex
	closed bool
	hosts  map[openssh.Target]*host
}

// host are the connections to one target.
type host struct {
	conns   []*conn
	dialing int
	// changed is closed, and replaced, when conns or dialing change.
	changed chan struct{}
	// failure is why the last attempt to connect failed, and failures counts
	// them.
	failure  error
	failures int
	// full is until when no further connection is tried.
	full time.Time
}

func newPool(dial func(context.Context, openssh.Target) (*conn, error)) *pool {
	return &pool{dial: dial, hosts: map[openssh.Target]*host{}}
}

// acquire returns a connection to t, and whether it was used before: one without
// load, a new one while there are few, or the one with the least load. Give it
// back with release.
func (p *pool) acquire(ctx context.Context, t openssh.Target) (c *conn, used bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := p.host(t).failures
	for {
		if err := ctx.Err(); err != nil {
			return nil, false, err
		}
		if p.closed {
			return nil, false, transport.Errorf(transport.ErrPermanent, "ssh://"+t.Host, "the transport is closed")
		}
		h := p.host(t)
		best := h.best()
		switch {
		case best == nil && h.dialing == 0 && h.failures != seen:
			return nil, false, h.failure // of the attempt that was waited for
		case best != nil && (best.load() <= 0 || !h.mayGrow()):
			best.hold()
			return best, true, nil
		case h.mayGrow():
			// The first connection is made by one alone: what it is asked (a
			// passphrase) the others needn't be, and if it is refused they
			// would be.
			c, err := p.grow(ctx, t, h)
			if err == nil {
				return c, false, nil
			}
			if h.best() == nil {
				return nil, false, err
			}
		default:
			p.wait(ctx, h)
		}
	}
}

// host returns the state of a target.
func (p *pool) host(t openssh.Target) *host {
	h := p.hosts[t]
	if h == nil {
		h = &host{changed: make(chan struct{})}
		p.hosts[t] = h
	}
	return h
}

// wait waits, without the lock, for something to change.
func (p *pool) wait(ctx context.Context, h *host) {
	changed := h.changed
	p.mu.Unlock()
	select {
	case <-changed:
	case <-ctx.Done():
	}
	p.mu.Lock()
}

// grow makes a connection, without the lock, and holds it.
func (p *pool) grow(ctx context.Context, t openssh.Target, h *host) (*conn, error) {
	h.dialing++
	p.mu.Unlock()
	c, err := p.dial(ctx, t)
	p.mu.Lock()
	h.dialing--
	defer h.notify()
	if err != nil {
		if ctx.Err() == nil {
			h.failure = err
			h.failures++
			h.full = time.Now().Add(regrow)
		}
		return nil, err
	}
	if p.closed {
		c.ssh.Close()
		return nil, transport.Errorf(transport.ErrPermanent, "ssh://"+t.Host, "the transport is closed")
	}
	c.hold()
	h.conns = append(h.conns, c)
	go func() {
		<-c.lost
		p.remove(c)
	}()
	return c, nil
}

// remove forgets a connection that ended.
func (p *pool) remove(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.hosts[c.target]
	h.conns = slices.DeleteFunc(h.conns, func(other *conn) bool { return other == c })
	h.notify()
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, h := range p.hosts {
		for _, c := range h.conns {
			c.ssh.Close()
		}
		h.notify()
	}
}

// best returns the living connection with the least load, or nil.
func (h *host) best() *conn {
	var best *conn
	for _, c := range h.conns {
		if !c.isLost() && (best == nil || c.load() < best.load()) {
			best = c
		}
	}
	return best
}

// mayGrow reports whether another connection is to be made: the first, or with
// that one up, more.
func (h *host) mayGrow() bool {
	if h.best() == nil {
		return h.dialing == 0
	}
	return len(h.conns)+h.dialing < maxConns && time.Now().After(h.full)
}

func (h *host) notify() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// load is how many use the connection and have more to request. What others
// still get doesn't count, nor what abandoned requests bring: it is a few
// megabytes, sooner there than another connection is made. So who opens the next
// range when the last one is nearly through goes on with the same connection.
func (c *conn) load() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.users - c.pending - c.finishing
}

// finish says how many more users have requested all they want.
func (c *conn) finish(more int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finishing += more
}

// hold adds a user.
func (c *conn) hold() { c.change(1, 0) }

// release removes a user.
func (c *conn) release() { c.change(-1, 0) }

// abandon says that a user only waits for answers that nobody wants.
func (c *conn) abandon() { c.change(0, 1) }

// recover says that they came, and removes the user.
func (c *conn) recover() { c.change(-1, -1) }

// change keeps the books. A connection without users is closed after a while,
// and sooner one whose server owes answers that nobody waits for: it may never
// give them.
func (c *conn) change(users, pending int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.users += users
	c.pending += pending
	if c.cut != nil {
		c.cut.Stop()
		c.cut = nil
	}
	if c.users > c.pending {
		return
	}
	wait := c.times.idle
	if c.pending > 0 {
		wait = c.times.drain
	}
	c.cut = time.AfterFunc(wait, c.closeUnused)
}

// closeUnused closes the connection unless somebody came to use it.
func (c *conn) closeUnused() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users <= c.pending {
		c.ssh.Close()
	}
}
