package transporttest

import (
	"context"
	"io"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/transport"
)

// cancel tests that a cancelled context ends everything, at every stage.
func (s *suite) cancel() {
	p, few := s.put(large), s.small()
	s.t.Run("before Open", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		body, err := s.openWithin(t, s.prompt, ctx, p.route, p.desc, 0, p.blob.Size)
		if err == nil {
			s.close(t, body)
		}
		if wrong := wrongCancel(err); wrong != nil {
			t.Errorf("Open: %v", wrong)
		}
		s.checkCancelledSize(t, ctx, p.route, p.desc)
	})
	s.t.Run("between Reads", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		body := s.mustOpen(t, ctx, p, 0, p.blob.Size)
		defer s.close(t, body)
		s.readSome(t, body, p.blob)
		cancel()
		s.checkCancelled(t, body)
	})
	s.t.Run("while reading", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		body := s.mustOpen(t, ctx, p, 0, p.blob.Size)
		defer s.close(t, body)
		s.readSome(t, body, p.blob)
		time.AfterFunc(time.Millisecond, cancel)
		// It may be over before: then there is nothing to cancel.
		var err error
		within(t, s.prompt, "reading with a cancelled context", func(*notes) { _, err = io.Copy(io.Discard, body) })
		if err != nil && wrongCancel(err) != nil {
			t.Errorf("reading: %v", wrongCancel(err))
		}
	})
	s.t.Run("after the last byte", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		body := s.mustOpen(t, ctx, few, 0, few.blob.Size)
		within(t, s.patience, "reading", func(t *notes) {
			if err := expect(body, few.blob, 0, few.blob.Size, 32*1024); err != nil {
				t.Error(err)
			}
		})
		cancel()
		within(t, s.prompt, "Read after the end with a cancelled context", func(t *notes) {
			if n, err := body.Read(make([]byte, 10)); n != 0 || err == nil {
				t.Errorf("a Read after the last byte: %d bytes, %v", n, err)
			}
		})
		s.close(t, body)
	})
	s.t.Run("then another", func(t *testing.T) {
		// What was cancelled must not have spoilt what others use.
		s.checkRange(t, few, span{offset: 0, length: few.blob.Size})
	})
	s.stalled(p)
}

// small returns a small blob at the place. It is for the test of a group, not
// for those below it.
func (s *suite) small() placed {
	if s.few.route.URI == "" {
		s.few = s.put(small)
	}
	return s.few
}

// stalled tests cancelling what waits for a server that doesn't answer.
func (s *suite) stalled(p placed) {
	if s.h.Stall != nil {
		s.t.Run("while Open waits", func(t *testing.T) { s.checkStalledOpen(t, s.h.Stall(t), p.desc) })
	}
	if s.h.Pause == nil {
		return
	}
	s.t.Run("while Open waits for a paused server", func(t *testing.T) {
		s.h.Pause(t)
		defer s.h.Resume(t)
		s.checkStalledOpen(t, p.route, p.desc)
	})
	if p.blob.Size < large {
		return // all of it may have been sent before the server is paused
	}
	s.t.Run("while Read waits", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		body := s.mustOpen(t, ctx, p, 0, p.blob.Size)
		defer s.close(t, body)
		s.readSome(t, body, p.blob)
		s.h.Pause(t)
		defer s.h.Resume(t)
		time.AfterFunc(300*time.Millisecond, cancel)
		s.checkCancelled(t, body)
	})
}

// checkStalledOpen cancels an Open that waits.
func (s *suite) checkStalledOpen(t *testing.T, route transport.Route, desc ocispec.Descriptor) {
	ctx, cancel := context.WithCancel(t.Context())
	// Cancelled only after the request is likely to be on its way; were it not,
	// the outcome is the same.
	time.AfterFunc(300*time.Millisecond, cancel)
	body, err := s.openWithin(t, s.prompt, ctx, route, desc, 0, desc.Size)
	if err == nil {
		s.close(t, body)
		t.Fatal("Open succeeded though the server never answers")
	}
	if wrong := wrongCancel(err); wrong != nil {
		t.Errorf("Open: %v", wrong)
	}
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(300*time.Millisecond, cancel)
	s.checkCancelledSize(t, ctx, route, desc)
}

// checkCancelledSize asks for a size with a context that is cancelled, or soon
// is. A transport may know the size without asking anyone.
func (s *suite) checkCancelledSize(t *testing.T, ctx context.Context, route transport.Route, desc ocispec.Descriptor) {
	t.Helper()
	sizer, ok := s.h.Transport.(transport.Sizer)
	if !ok {
		return
	}
	var err error
	within(t, s.prompt, "Size with a cancelled context", func(*notes) { _, err = sizer.Size(ctx, route, desc) })
	if err != nil && wrongCancel(err) != nil {
		t.Errorf("Size: %v", wrongCancel(err))
	}
}

// readSome reads the first 64 KiB of b.
func (s *suite) readSome(t testing.TB, r io.Reader, b Blob) {
	t.Helper()
	within(t, s.patience, "reading the first bytes", func(t *notes) {
		got, want := make([]byte, 64*kib), make([]byte, 64*kib)
		b.fill(want, 0)
		if n, err := io.ReadFull(r, got); err != nil {
			t.Errorf("the first bytes: %v after %d", err, n)
		} else if i := mismatch(got, want); i >= 0 {
			t.Errorf("wrong byte at %d", i)
		}
	})
	if t.Failed() {
		t.FailNow()
	}
}

// checkCancelled reads what was cancelled in its middle.
func (s *suite) checkCancelled(t testing.TB, r io.Reader) {
	t.Helper()
	var err error
	within(t, s.prompt, "reading with a cancelled context", func(*notes) { _, err = io.Copy(io.Discard, r) })
	if err == nil {
		t.Fatal("everything came though the context was cancelled in the middle")
	}
	if wrong := wrongCancel(err); wrong != nil {
		t.Errorf("Read: %v", wrong)
	}
}

// close tests Close, when not everything was read.
func (s *suite) closing() {
	p, few := s.put(large), s.small()
	again := func(t *testing.T) { s.checkRange(t, few, span{offset: 0, length: few.blob.Size}) }
	s.t.Run("before the first Read", func(t *testing.T) {
		s.close(t, s.mustOpen(t, t.Context(), p, 0, p.blob.Size))
		again(t)
	})
	s.t.Run("in the middle", func(t *testing.T) {
		body := s.mustOpen(t, t.Context(), p, 0, p.blob.Size)
		s.readSome(t, body, p.blob)
		s.close(t, body)
		again(t)
	})
	s.t.Run("after the end", func(t *testing.T) { again(t); again(t) })
	s.t.Run("after the context was cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		body := s.mustOpen(t, ctx, p, 0, p.blob.Size)
		cancel()
		s.close(t, body)
		again(t)
	})
	if s.h.Pause != nil {
		s.t.Run("while the server is paused", func(t *testing.T) {
			body := s.mustOpen(t, t.Context(), p, 0, p.blob.Size)
			s.readSome(t, body, p.blob)
			s.h.Pause(t)
			defer s.h.Resume(t)
			s.close(t, body)
		})
	}
}
