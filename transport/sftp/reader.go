package sftp

import (
	"context"
	"errors"
	"io"
	"sync"

	pkgsftp "github.com/pkg/sftp"
)

// firstRequests is how many requests a range begins with. Each answer that was
// read allows one more, up to maxRequests: a range that is given up early costs
// little, and a long way is filled after a few round trips.
const firstRequests = 4

// reader reads a part of a file with several requests under way. Close may be
// called while Read waits.
type reader struct {
	ctx       context.Context
	conn      *conn
	file      *pkgsftp.File
	uri, path string

	closed    chan struct{}
	closeOnce sync.Once

	mu sync.Mutex
	// next is the offset of the next request and end that after the last byte
	// wanted.
	next, end int64
	allowed   int
	// chunks are the requests under way, in order of offset.
	chunks []*chunk
	// spare are buffers for use again.
	spare [][]byte
	err   error
}

// chunk is one request and its answer.
type chunk struct {
	buf []byte
	// ready is closed when the answer is there: content, of which the first
	// read bytes were taken, and what happened after that.
	ready   chan struct{}
	content []byte
	read    int
	err     error
}

// newReader returns a reader of length bytes from offset on.
func newReader(ctx context.Context, c *conn, f *pkgsftp.File, uri, path string, offset, length int64) *reader {
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
		want := min(int64(r.conn.chunk), r.end-r.next)
		c := &chunk{ready: make(chan struct{})}
		if last := len(r.spare) - 1; last >= 0 && int64(cap(r.spare[last])) >= want {
			c.buf, r.spare = r.spare[last][:want], r.spare[:last]
		} else {
			c.buf = make([]byte, want)
		}
		go c.fill(r.file, r.next)
		r.next += want
		r.chunks = append(r.chunks, c)
	}
}

// fill gets the answer. ReadAt asks again for what a server sends less, so that
// all that can be missing is missing in the file.
func (c *chunk) fill(f *pkgsftp.File, offset int64) {
	n, err := f.ReadAt(c.buf, offset)
	c.content = c.buf[:n]
	if n < len(c.buf) {
		c.err = err
	}
	close(c.ready)
}

// Read implements [io.Reader].
func (r *reader) Read(p []byte) (int, error) {
	c, err := r.first()
	if err != nil || len(p) == 0 {
		return 0, err
	}
	select {
	case <-c.ready:
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
	n := copy(p, c.content[c.read:])
	c.read += n
	switch {
	case c.read < len(c.content):
	case c.err != nil:
		r.err = r.conn.failure(r.ctx, r.uri, r.path, c.err)
		if n == 0 {
			return 0, r.err
		}
	default:
		r.chunks = r.chunks[1:]
		r.spare = append(r.spare, c.buf)
		r.allowed = min(maxRequests, r.allowed+1)
		r.request()
	}
	return n, nil
}

// first returns the chunk that the next bytes are in, or why there are none.
func (r *reader) first() (*chunk, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.err != nil:
		return nil, r.err
	case r.ctx.Err() != nil:
		return nil, r.ctx.Err()
	case len(r.chunks) == 0:
		return nil, io.EOF
	}
	return r.chunks[0], nil
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
		r.conn.abandon()
		go func() {
			for _, c := range waiting {
				<-c.ready
			}
			_ = r.file.Close() // it was only read
			r.conn.recover()
		}()
	})
	return nil
}

// errClosed says that a reader was closed.
var errClosed = errors.New("read after Close")
