package fetch

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
)

// Task is one caller's interest in a blob being fetched.
type Task struct {
	t    *transfer
	ctx  context.Context
	once sync.Once
	stop func() bool
}

func newTask(ctx context.Context, t *transfer) *Task {
	k := &Task{t: t, ctx: ctx}
	k.stop = context.AfterFunc(ctx, k.leave)
	return k
}

func (k *Task) leave() { k.once.Do(k.t.leave) }

// Wait blocks until the blob is in the store, or can't be had, or the context
// given to Start ends. In the last case, where no other caller wants the blob,
// it returns after everything fetched so far was put on disk.
func (k *Task) Wait() (*Result, error) {
	select {
	case <-k.t.done:
	case <-k.ctx.Done():
		k.leave()
		if k.t.abandoned() {
			<-k.t.done
		}
		return nil, context.Cause(k.ctx)
	}
	k.stop()
	k.leave()
	return k.t.result, k.t.err
}

// Progress returns how far the blob has come, also after the fetch has ended.
func (k *Task) Progress() Progress { return k.t.report() }

// Reader returns a reader of the blob from its beginning that follows the
// fetch: it yields bytes as soon as all before them have arrived, and io.EOF
// only once the whole was verified. Where hashes of the blob's pieces are known
// ([Options].Pieces), a piece is handed out once it is as they say. That is as good
// as their document, which may lie: bytes are handed out before they are verified,
// and when some turn out wrong, the reader fails with [ErrRewound].
// Where the blob can't be had it fails with Wait's error. Close it.
func (k *Task) Reader() io.ReadCloser { return k.t.newReader(k.ctx) }

// reader follows a transfer's contiguous prefix.
type reader struct {
	t       *transfer
	ctx     context.Context
	stop    func() bool
	pos     int64 // guarded by t.mu, as are the next two
	seen    int64 // bytes before it were handed out, or are being
	rewound bool
	file    readerAtCloser
}

type readerAtCloser interface {
	io.ReaderAt
	io.Closer
}

func (t *transfer) newReader(ctx context.Context) *reader {
	r := &reader{t: t, ctx: ctx}
	t.mu.Lock()
	t.readers[r] = struct{}{}
	t.mu.Unlock()
	r.stop = context.AfterFunc(ctx, func() {
		t.mu.Lock()
		t.data.Broadcast()
		t.mu.Unlock()
	})
	return r
}

// Read follows io.Reader; see [Task.Reader].
func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, committed, err := r.await(int64(len(p)))
	if err != nil {
		return 0, err
	}
	if r.file == nil {
		if r.file, err = r.open(committed); err != nil {
			return 0, err
		}
	}
	got, err := r.file.ReadAt(p[:n], r.pos)
	if got < int(n) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}
	r.t.mu.Lock()
	defer r.t.mu.Unlock()
	if r.rewound {
		return 0, ErrRewound
	}
	r.pos += int64(got)
	return got, nil
}

// await blocks until bytes beyond the reader's position are readable and
// returns how many of the wanted there are, or io.EOF or an error.
func (r *reader) await(want int64) (n int64, committed bool, err error) {
	t := r.t
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		switch {
		case r.rewound:
			return 0, false, ErrRewound
		case t.finished && t.err != nil:
			return 0, false, t.err
		case t.finished && r.pos >= t.size:
			return 0, true, io.EOF
		case t.finished:
			n = min(want, t.size-r.pos)
			r.seen = r.pos + n
			return n, true, nil
		case !t.repairing && t.ingest != nil && t.readable() > r.pos:
			n = min(want, t.readable()-r.pos)
			r.seen = r.pos + n
			return n, false, nil
		case r.ctx.Err() != nil:
			return 0, false, context.Cause(r.ctx)
		}
		t.data.Wait()
	}
}

// readable is how many bytes readers may have of what has arrived: all of it, or
// where hashes of pieces are known, the pieces that are as those say. t.mu is held.
func (t *transfer) readable() int64 {
	if t.check != nil && t.check.begun {
		return min(t.prefix, t.check.passed)
	}
	return t.prefix
}

// open opens the bytes: of the partial, which stay readable through this
// handle when it is committed, or of the committed blob.
func (r *reader) open(committed bool) (readerAtCloser, error) {
	if !committed {
		r.t.mu.Lock()
		name := r.t.ingest.File().Name()
		r.t.mu.Unlock()
		f, err := os.Open(name)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		// It was committed between the look and the opening.
	}
	return r.t.e.opts.Store.OpenBlob(r.t.desc.Digest)
}

// Close releases the reader.
func (r *reader) Close() error {
	r.stop()
	r.t.mu.Lock()
	delete(r.t.readers, r)
	r.t.mu.Unlock()
	if r.file != nil {
		return r.file.Close()
	}
	return nil
}
