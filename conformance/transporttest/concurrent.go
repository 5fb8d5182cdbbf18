package transporttest

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
)

// concurrent tests that many ranges can be open at once.
func (s *suite) concurrent() {
	const opens = 32
	p := s.put(opens*128*kib + 5)
	s.t.Run("32 ranges at once", func(t *testing.T) {
		part := p.blob.Size / opens
		if s.h.WholeOnly {
			part = p.blob.Size
		}
		errs := make(chan error, opens)
		// Nobody reads on before everybody has read something.
		var begun sync.WaitGroup
		begun.Add(opens)
		for i := range int64(opens) {
			r := span{offset: i * part % p.blob.Size, length: part}
			if s.h.WholeOnly {
				r.offset = 0
			}
			go func() { errs <- s.readTogether(t, p, r, &begun) }()
		}
		within(t, s.patience, "reading 32 ranges", func(t *notes) {
			for range opens {
				if err := <-errs; err != nil {
					t.Error(err)
				}
			}
		})
	})
	big := s.put(large)
	s.t.Run("while others are cancelled and closed", func(t *testing.T) { s.checkUndisturbed(t, big) })
	s.t.Run("beside one that is not read", func(t *testing.T) { s.checkUnread(t, big, p) })
}

// readTogether opens a range, reads its first byte, waits for the others to
// have done so, and reads the rest.
func (s *suite) readTogether(t *testing.T, p placed, r span, begun *sync.WaitGroup) error {
	wait := sync.OnceFunc(func() { begun.Done(); begun.Wait() })
	defer wait()
	body, err := s.h.Transport.Open(t.Context(), p.route, p.desc, r.offset, r.length)
	if err != nil {
		return fmt.Errorf("%d bytes at %d: opening: %w", r.length, r.offset, err)
	}
	defer body.Close()
	first := func(buf []byte) (int, error) {
		n, err := body.Read(buf[:1])
		wait()
		return n, err
	}
	if err := expect(&firstRead{body, first}, p.blob, r.offset, r.length, 10_000); err != nil {
		return fmt.Errorf("%d bytes at %d: %w", r.length, r.offset, err)
	}
	return nil
}

// checkUndisturbed reads a range while others, that may share a connection with
// it, are cancelled or closed in their middle.
func (s *suite) checkUndisturbed(t *testing.T, p placed) {
	r := span{offset: 0, length: p.blob.Size}
	if !s.h.WholeOnly {
		r = span{offset: 1, length: p.blob.Size / 4}
	}
	stays := s.mustOpen(t, t.Context(), p, r.offset, r.length)
	defer s.close(t, stays)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var cancelled, closed []io.ReadCloser
	for range 4 {
		cancelled = append(cancelled, s.mustOpen(t, ctx, p, 0, p.blob.Size))
		closed = append(closed, s.mustOpen(t, t.Context(), p, 0, p.blob.Size))
	}
	for _, body := range slices.Concat(cancelled, closed) {
		s.readSome(t, body, p.blob)
	}
	cancel()
	for _, body := range closed {
		s.close(t, body)
	}
	within(t, s.patience, "reading", func(t *notes) {
		if err := expect(stays, p.blob, r.offset, r.length, 32*1024); err != nil {
			t.Errorf("%d bytes at %d, others having been cancelled and closed: %v", r.length, r.offset, err)
		}
	})
	for _, body := range cancelled {
		s.checkCancelled(t, body)
		s.close(t, body)
	}
}

// checkUnread reads a blob while another is open that nobody reads on, as when
// its reader waits for a disk: what it was sent must not be in the way.
func (s *suite) checkUnread(t *testing.T, slow, p placed) {
	body := s.mustOpen(t, t.Context(), slow, 0, slow.blob.Size)
	defer s.close(t, body)
	s.readSome(t, body, slow.blob)
	for range 3 {
		s.checkRange(t, p, span{offset: 0, length: p.blob.Size})
	}
	within(t, s.patience, "reading on", func(t *notes) {
		done := 64 * kib
		if err := expect(body, slow.blob, done, slow.blob.Size-done, 32*1024); err != nil {
			t.Errorf("reading on after others: %v", err)
		}
	})
}
