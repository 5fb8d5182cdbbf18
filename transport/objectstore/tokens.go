package objectstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
)

const (
	// renewal is how long before its end a token is replaced, so that none
	// ends on the way.
	renewal = time.Minute
	// TokenTimeout is how long getting a token may take.
	TokenTimeout = 15 * time.Second
	// failureFor is how long a failure to get one holds: sixteen connections that
	// each wait for the same refusal are to hear it once.
	failureFor = 10 * time.Second
	// NobodyFor is how long a search that found no credentials holds.
	NobodyFor = 5 * time.Minute
)

// Token is a bearer token (RFC 6750).
type Token struct {
	// Value is what is sent; empty means that there are no credentials here
	// and places are asked anonymously.
	Value string
	// Expires is when it ends. A token of the past is used once.
	Expires time.Time
}

// Nobody returns the token of who has no credentials.
func Nobody() Token { return Token{Expires: time.Now().Add(NobodyFor)} }

// Tokens keeps the token that a function gets until shortly before it expires.
// However many ask at once, it is fetched once. It is safe for concurrent use.
type Tokens struct {
	fetch func(context.Context) (Token, error)

	mu      sync.Mutex
	current Token
	failed  error     // why there is none, until
	until   time.Time // then
	flight  *flight   // under way, or nil
}

// flight is one fetch and those who wait for it.
type flight struct {
	cancel  context.CancelFunc
	waiters int

	done  chan struct{} // closed when the rest is set
	token Token
	err   error
}

// NewTokens returns the tokens that fetch gets. It is given [TokenTimeout] and
// cancelled when nobody waits for it any more. Its errors hold for ten seconds.
func NewTokens(fetch func(context.Context) (Token, error)) *Tokens {
	return &Tokens{fetch: fetch}
}

// Get returns a token's value, or "" where there are no credentials.
func (t *Tokens) Get(ctx context.Context) (string, error) {
	t.mu.Lock()
	if time.Until(t.current.Expires) > renewal {
		defer t.mu.Unlock()
		return t.current.Value, nil
	}
	if time.Now().Before(t.until) {
		defer t.mu.Unlock()
		return "", t.failed
	}
	f := t.flight
	if f == nil {
		f = t.start(ctx)
	}
	f.waiters++
	t.mu.Unlock()

	select {
	case <-f.done:
		return f.token.Value, f.err
	case <-ctx.Done():
		t.leave(f)
		return "", httpclient.ContextError(ctx)
	}
}

// start begins a fetch. It doesn't end with ctx: others may be waiting too.
func (t *Tokens) start(ctx context.Context) *flight {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), TokenTimeout)
	f := &flight{cancel: cancel, done: make(chan struct{})}
	t.flight = f
	go func() {
		defer cancel()
		f.token, f.err = t.fetch(ctx)
		if f.err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			// It is no deadline of the caller's, so it isn't to look like one.
			f.err = fmt.Errorf("%w: no answer within %v", transport.ErrTemporary, TokenTimeout)
		}
		t.land(f)
		close(f.done)
	}()
	return f
}

// land keeps what f brought, unless everyone left it: then it was cut short.
func (t *Tokens) land(f *flight) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.flight != f {
		return
	}
	t.flight = nil
	if f.err != nil {
		t.failed, t.until = f.err, time.Now().Add(failureFor)
		return
	}
	t.current = f.token
}

// leave takes away one who waits. A fetch for nobody is cancelled.
func (t *Tokens) leave(f *flight) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.waiters--
	if f.waiters > 0 {
		return
	}
	f.cancel()
	if t.flight == f {
		t.flight = nil
	}
}
