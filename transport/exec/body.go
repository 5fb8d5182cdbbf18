package exec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// body is a range that a process is sending.
type body struct {
	ctx  context.Context
	pool *pool
	uri  string
	left atomic.Int64
	// err is what Read returns from now on.
	err  error
	stop func() bool

	process *process
	once    sync.Once // gives the process back
}

func newBody(ctx context.Context, t *Transport, p *process, uri string, length int64) *body {
	b := &body{ctx: ctx, pool: t.pool, uri: uri, process: p, stop: context.AfterFunc(ctx, p.kill)}
	b.left.Store(length)
	return b
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	left := b.left.Load()
	if left == 0 {
		b.err = b.end()
		return 0, b.err
	}
	if int64(len(p)) > left {
		p = p[:left]
	}
	n, err := b.process.lines.Read(p)
	b.left.Add(-int64(n))
	if n > 0 || err == nil {
		return n, nil // an error comes again
	}
	err = b.process.ended(err)
	b.release()
	b.err = failure(b.ctx, b.uri, fmt.Errorf("%d bytes too early: %w: %w", left, err, io.ErrUnexpectedEOF))
	return 0, b.err
}

// end returns what follows the last byte. What more a program writes is found
// here only if it does so at once; otherwise before the next request.
func (b *body) end() error {
	switch surplus := b.release(); {
	case b.ctx.Err() != nil:
		return failure(b.ctx, b.uri, b.ctx.Err())
	case surplus:
		return failure(b.ctx, b.uri, &protocolError{errors.New("the program wrote more than it had announced")})
	}
	return io.EOF
}

// release gives the process back, once, to be used again if it has sent all of
// the range and nothing else. It reports whether it has sent more.
func (b *body) release() (surplus bool) {
	b.once.Do(func() {
		// Where the context ended meanwhile it has taken the process along.
		running := b.stop()
		done := b.left.Load() == 0
		surplus = done && b.process.lines.Buffered() > 0
		b.pool.put(b.process, running && done && !surplus)
	})
	return surplus
}

// Close implements [io.Closer]. A range that wasn't read to its end costs the
// process.
func (b *body) Close() error {
	b.release()
	return nil
}
