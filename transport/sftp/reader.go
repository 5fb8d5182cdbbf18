package sftp

import (
	"context"
	"errors"
	"io"
	"sync"
)

const (
	// firstRequests is how many requests a range begins with. Each answer that
	// was read allows one more, up to maxRequests: a range that is given up
	// early costs little, and a long way is filled after a few round trips.
	firstRequests = 3
	// maxRequests is how many requests of one range are under way.
	maxRequests = 16
)

// reader reads a part of a file with several requests under way. Close may be
// called while Read waits.
type reader struct {
	ctx       context.Context
	conn      *conn
	file      *file
	uri, path string

	closed    chan struct{}
	closeOnce sync.Once

	mu sync.Mutex
	// next is the offset of the next request and end that after the last byte
	// wanted.
	next, end int64
	allowed   int
	// finishing is whether everything was requested.
	finishing bool
	// chunks are the requests under way, in order of offset.
	chunks []*chunk
	// spare are buffers for use again.
	spare [][]byte
	err   error
}

// chunk is a part of the range: what one request is made for, and another one
// for what the server sends less.
type chunk struct {
	*call
	buf    []byte
	offset int64 // of buf
	// filled bytes of buf are there, of which read were taken.
	filled, read int
}

// newReader returns a reader of length bytes from offset on.
func newReader(ctx context.Context, c *conn, f *file, uri, path string, offset, length int64) *reader {
	c.hold()
	r := &reader{
		ctx: ctx, conn: c, file: f, uri: uri, path: path, closed: make(chan struct{}),
		next: offset, end: offset + length, allowed: firstRequests,
	}
	r.request()
	return r
}

// request sends requests for what is wanted and allowed.
func (r *reader) request() {
	for len(r.chunks) < r.allowed && r.next < r.end {
		want := min(int64(r.file.session.chunk), r.end-r.next)
		c := &chunk{offset: r.next}
		if last := len(r.spare) - 1; last >= 0 && int64(cap(r.spare[last])) >= want {
			c.buf, r.spare = r.spare[last][:want], r.spare[:last]
		} else {
			c.buf = make([]byte, want)
		}
		c.call = r.file.read(c.buf, c.offset)
		r.next += want
		r.chunks = append(r.chunks, c)
	}
	if r.next >= r.end && !r.finishing {
		r.finishing = true
		r.conn.finish(1)
	}
}

// Read implements [io.Reader].
func (r *reader) Read(p []byte) (int, error) {
	c, answered, err := r.first()
	if err != nil || len(p) == 0 {
		return 0, err
	}
	select {
	case <-answered:
	case <-r.ctx.Done():
		return 0, r.ctx.Err()
	case <-r.closed:
		return 0, errClosed
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.chunks) == 0 || r.chunks[0] != c {
		return 0, errClosed
	}
	if c.read == c.filled {
		if _, err := c.result(kindData); err != nil {
			r.err = r.conn.failure(r.ctx, r.uri, r.path, err)
			return 0, r.err
		}
		c.filled += c.n
	}
	n := copy(p, c.buf[c.read:c.filled])
	c.read += n
	switch {
	case c.read < c.filled:
	case c.filled < len(c.buf):
		c.call = r.file.read(c.buf[c.filled:], c.offset+int64(c.filled))
	default:
		r.chunks = r.chunks[1:]
		r.spare = append(r.spare, c.buf)
		r.allowed = min(maxRequests, r.allowed+1)
		r.request()
	}
	return n, nil
}

// first returns the chunk that the next bytes are in and what says that its
// answer is there, or why there are none.
func (r *reader) first() (*chunk, <-chan struct{}, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.err != nil:
		return nil, nil, r.err
	case r.ctx.Err() != nil:
		return nil, nil, r.ctx.Err()
	case len(r.chunks) == 0:
		return nil, nil, io.EOF
	}
	return r.chunks[0], r.chunks[0].answered, nil
}

// Close frees the file and the connection once the server has answered what was
// requested, and doesn't wait for that.
func (r *reader) Close() error {
	r.closeOnce.Do(func() {
		close(r.closed)
		r.mu.Lock()
		defer r.mu.Unlock()
		waiting := r.chunks
		r.chunks, r.spare, r.err = nil, nil, errClosed
		r.file.close()
		r.conn.abandon()
		if r.finishing {
			r.conn.finish(-1)
		}
		go func() {
			for _, c := range waiting {
				<-c.answered
			}
			r.conn.recover()
		}()
	})
	return nil
}

// errClosed says that a reader was closed.
var errClosed = errors.New("read after Close")
