package transporttest

import (
	"io"
	"runtime"
	"testing"
	"testing/iotest"
)

// firstRead is a reader whose first Read is another function.
type firstRead struct {
	io.Reader
	first func([]byte) (int, error)
}

func (r *firstRead) Read(p []byte) (int, error) {
	if first := r.first; first != nil && len(p) > 0 {
		r.first = nil
		return first(p)
	}
	return r.Reader.Read(p)
}

// reading tests the readers that Open returns.
func (s *suite) reading() {
	p := s.put(small)
	whole := span{"", 0, p.blob.Size}
	for _, c := range []struct {
		name   string
		buffer int
		span   span
	}{
		{"one byte at a time", 1, span{"", 0, 20_000}},
		{"seven bytes at a time", 7, span{"", 12_345, 70_000}},
		{"page by page", 4096, whole},
		{"with a buffer larger than the blob", int(4 * mib), whole},
		{"with a buffer larger than the range", int(4 * mib), span{"", 1, 100_000}},
	} {
		s.t.Run(c.name, func(t *testing.T) {
			r := c.span
			if s.h.WholeOnly {
				r = whole
			}
			body := s.mustOpen(t, t.Context(), p, r.offset, r.length)
			defer s.close(t, body)
			within(t, s.patience, "reading", func(t *notes) {
				if err := expect(body, p.blob, r.offset, r.length, c.buffer); err != nil {
					t.Error(err)
				}
			})
		})
	}
	s.t.Run("as a well-behaved reader", func(t *testing.T) {
		body := s.mustOpen(t, t.Context(), p, 0, p.blob.Size)
		defer s.close(t, body)
		within(t, s.patience, "reading", func(t *notes) {
			// Only what is an io.Reader is tested: what else the type has is its
			// own matter.
			if err := iotest.TestReader(struct{ io.Reader }{body}, p.blob.Bytes()); err != nil {
				t.Error(err)
			}
		})
	})
	big := s.put(large)
	s.t.Run("in little memory", func(t *testing.T) { s.checkMemory(t, big) })
	s.t.Run("shortened", func(t *testing.T) { s.checkShorten(t, big) })
	s.t.Run("into an empty buffer", func(t *testing.T) {
		body := s.mustOpen(t, t.Context(), p, 0, p.blob.Size)
		defer s.close(t, body)
		within(t, s.patience, "reading", func(t *notes) {
			if n, err := body.Read(nil); n != 0 || err != nil {
				t.Errorf("Read of no bytes before the first: %d, %v; want 0 and no error", n, err)
			}
			if err := expect(body, p.blob, 0, p.blob.Size, 32*1024); err != nil {
				t.Error(err)
			}
		})
	})
}

// checkMemory tests that a blob is not held in memory.
func (s *suite) checkMemory(t *testing.T, p placed) {
	before := heap()
	body := s.mustOpen(t, t.Context(), p, 0, p.blob.Size)
	defer s.close(t, body)
	s.readSome(t, body, p.blob)
	if grown := heap() - before; grown > large/2 {
		t.Errorf("the heap grew by %d bytes with the first bytes of a blob of %d", grown, p.blob.Size)
	}
}

// heap returns how many bytes are in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
