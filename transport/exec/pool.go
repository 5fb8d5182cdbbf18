package exec

import (
	"context"
	"slices"
	"sync"
	"time"
)

// pool keeps processes for the next request. It is safe for concurrent use.
type pool struct {
	// slots holds a token for each process in use.
	slots chan struct{}
	// idle is how long a process is kept.
	idle  time.Duration
	start func(ctx context.Context) (*process, error)

	mu     sync.Mutex
	kept   []*process
	closed bool
}

// get returns a process, one that was kept where there is any. It waits while
// as many as may be are in use.
func (p *pool) get(ctx context.Context) (*process, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for c := p.take(); c != nil; c = p.take() {
		if !c.surplus() {
			c.kept = true
			return c, nil
		}
		c.kill()
	}
	c, err := p.start(ctx)
	if err != nil {
		<-p.slots
		return nil, err
	}
	return c, nil
}

// take returns the process kept last, or nil.
func (p *pool) take() *process {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.kept)
	if n == 0 {
		return nil
	}
	c := p.kept[n-1]
	p.kept = p.kept[:n-1]
	c.expiry.Stop()
	return c
}

// put gives a process back. Where it is not as it should be it is killed.
func (p *pool) put(c *process, good bool) {
	<-p.slots
	if !good {
		c.kill()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		c.retire()
		return
	}
	p.kept = append(p.kept, c)
	c.expiry = time.AfterFunc(p.idle, func() { p.expire(c) })
}

// expire ends a process that nobody wanted for a while.
func (p *pool) expire(c *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.kept, c); i >= 0 {
		p.kept = slices.Delete(p.kept, i, i+1)
		c.retire()
	}
}

// close ends all processes that are kept, and keeps none from now on.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	kept := p.kept
	p.kept = nil
	p.mu.Unlock()
	for _, c := range kept {
		c.expiry.Stop()
		c.retire()
	}
	for _, c := range kept {
		<-c.exited
	}
}
