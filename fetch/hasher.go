package fetch

import (
	"encoding"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/opencontainers/go-digest"
	"github.com/waybill-project/waybill/blobdigest"
)

// hasher computes the digest of a blob's contiguous prefix while the rest
// arrives. Bytes that arrive just where it stands are handed to it in memory;
// others it reads back from the file, where they still are in the page cache.
// All fields but h, marks and check are guarded by the transfer's mutex.
type hasher struct {
	t      *transfer
	h      hash.Hash
	queued int64 // bytes it has taken on, in order
	hashed int64 // bytes it has been through
	hot    []hotBytes
	stop   bool
	ended  chan struct{}
	err    error
	marks  []hashMark
	check  *pieceCheck // the run goroutine's own: the transfer's, as of its last look
}

type hotBytes struct {
	buf *[]byte
	n   int
}

// hashMark is the hash's state at an offset, to go back to when bytes behind
// it turn out wrong.
type hashMark struct {
	off   int64
	state []byte
}

const (
	hotMax    = 8
	markEvery = 64 << 20
)

// newHash returns the hash of d's algorithm, which checkDigest has seen.
func newHash(d digest.Digest) hash.Hash {
	h, err := blobdigest.NewHash(d.Algorithm())
	if err != nil {
		panic("fetch: digest not checked: " + err.Error())
	}
	return h
}

func checkDigest(d digest.Digest) error { return blobdigest.Validate(d) }

// sumOf returns the digest of b by d's algorithm.
func sumOf(d digest.Digest, b []byte) digest.Digest {
	h := newHash(d)
	h.Write(b)
	return digest.NewDigestFromBytes(d.Algorithm(), h.Sum(nil))
}

func (h *hasher) start(t *transfer) {
	h.t, h.h = t, newHash(t.desc.Digest)
	h.ended = make(chan struct{})
	go h.run()
}

// offer hands the hasher n bytes of buf that begin at off and are on disk. It
// takes them, and the buffer, if they are the very next; false if not. The
// transfer's mutex is held.
func (h *hasher) offer(off int64, buf *[]byte, n int) bool {
	if off != h.queued || len(h.hot) >= hotMax {
		return false
	}
	h.hot = append(h.hot, hotBytes{buf, n})
	h.queued += int64(n)
	return true
}

func (h *hasher) run() {
	defer close(h.ended)
	buf := make([]byte, bufferSize)
	t := h.t
	for {
		var hot hotBytes
		var cold span
		t.mu.Lock()
		for !h.stop && h.err == nil && len(h.hot) == 0 && t.prefix <= h.queued {
			t.data.Wait()
		}
		if h.check != t.check {
			if h.check = t.check; h.check != nil {
				h.check.begun = true
				h.goBack(0) // it will say something of the first piece too
			}
		}
		switch {
		case h.stop || h.err != nil:
			t.mu.Unlock()
			return
		case len(h.hot) > 0:
			hot = h.hot[0]
			h.hot = h.hot[1:]
		default:
			cold = span{h.queued, min(t.prefix, h.queued+bufferSize)}
			h.queued = cold.end
		}
		t.mu.Unlock()

		n := cold.len()
		var err error
		if hot.buf != nil {
			n = h.take((*hot.buf)[:hot.n])
			buffers.Put(hot.buf)
		} else if _, err = t.ingest.ReadAt(buf[:n], cold.start); err == nil || err == io.EOF {
			n = h.take(buf[:n])
			err = nil
		}

		t.mu.Lock()
		if n < 0 {
			h.goBack(t.prefix)
		} else {
			h.hashed += n
			h.mark()
		}
		if err != nil {
			h.err = fmt.Errorf("read back bytes %d-%d of the partial: %w", cold.start, cold.end-1, err)
			t.fail(h.err)
		}
		t.data.Broadcast()
		t.mu.Unlock()
	}
}

// take hashes the next bytes and returns how many, or -1 where some of them
// were wrong and are taken back.
func (h *hasher) take(b []byte) int64 {
	for rest := b; len(rest) > 0; {
		n := len(rest)
		if h.check != nil {
			n = h.check.room(n)
		}
		if n == 0 { // nothing is said of what is behind the last piece
			h.check, n = nil, len(rest)
		}
		h.h.Write(rest[:n])
		if h.check != nil {
			piece := h.check.piece
			switch whole, right := h.check.take(rest[:n]); {
			case right && whole:
				h.t.rightPiece(h.check, piece)
			case !right && h.t.wrongPiece(h.check, piece):
				return -1
			case !right:
				h.check = nil // it was dropped
			}
		}
		rest = rest[n:]
	}
	return int64(len(b))
}

// goBack makes the hasher begin again at or before off. t.mu is held; it is
// called by the run goroutine, or while that is idle.
func (h *hasher) goBack(off int64) {
	at, fresh := int64(0), newHash(h.t.desc.Digest)
	for len(h.marks) > 0 {
		m := h.marks[len(h.marks)-1]
		if m.off <= off && fresh.(encoding.BinaryUnmarshaler).UnmarshalBinary(m.state) == nil {
			at = m.off
			break
		}
		h.marks = h.marks[:len(h.marks)-1]
	}
	for _, b := range h.hot {
		buffers.Put(b.buf)
	}
	h.h, h.hot, h.queued, h.hashed = fresh, nil, at, at
	if h.check != nil {
		h.check.seek(at)
	}
	h.t.data.Broadcast()
}

// errTakenBack ends the wait for a digest where some bytes were wrong, and are
// to be had again.
var errTakenBack = errors.New("some of the bytes were wrong")

// mark keeps the hash's state every so often, where the hash can tell it.
func (h *hasher) mark() {
	last := int64(0)
	if len(h.marks) > 0 {
		last = h.marks[len(h.marks)-1].off
	}
	if h.hashed-last < markEvery {
		return
	}
	if m, ok := h.h.(encoding.BinaryMarshaler); ok {
		if state, err := m.MarshalBinary(); err == nil {
			h.marks = append(h.marks, hashMark{h.hashed, state})
		}
	}
}

// sum waits until the whole blob has been hashed and returns its digest. It is
// called when all bytes are on disk and nobody writes.
func (h *hasher) sum() (digest.Digest, error) {
	t := h.t
	t.mu.Lock()
	defer t.mu.Unlock()
	for h.hashed < t.size && h.err == nil && t.ctx.Err() == nil && len(t.need) == 0 {
		t.data.Wait()
	}
	if h.err != nil {
		return "", h.err
	}
	if err := t.ctx.Err(); h.hashed < t.size && err != nil {
		return "", err
	}
	if h.hashed < t.size {
		return "", errTakenBack
	}
	t.judged = true
	return digest.NewDigestFromBytes(t.desc.Digest.Algorithm(), h.h.Sum(nil)), nil
}

// rewind makes the hasher begin again at or before off, because bytes there
// have changed. It is called when the hasher is idle at the end of the blob.
func (h *hasher) rewind(off int64) {
	h.t.mu.Lock()
	defer h.t.mu.Unlock()
	h.goBack(off)
}

// end stops the hasher and gives back its buffers.
func (h *hasher) end() {
	h.t.mu.Lock()
	h.stop = true
	h.t.data.Broadcast()
	h.t.mu.Unlock()
	<-h.ended
	for _, b := range h.hot {
		buffers.Put(b.buf)
	}
	h.hot = nil
}
