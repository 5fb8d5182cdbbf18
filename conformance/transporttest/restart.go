package transporttest

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/waybill-project/waybill/transport"
)

// restart tests that a server may go away and come back.
func (s *suite) restart() {
	if s.h.Stop == nil {
		return
	}
	p, few := s.put(large), s.small()
	s.t.Run("killed in the middle of a body", func(t *testing.T) {
		body := s.mustOpen(t, t.Context(), p, 0, p.blob.Size)
		defer s.close(t, body)
		s.readSome(t, body, p.blob)
		s.h.Stop(t)
		t.Run("Read", func(t *testing.T) { s.checkCut(t, body, p) })
		t.Run("Open while it is down", func(t *testing.T) { s.checkDown(t, few) })
		s.h.Start(t)
		t.Run("Open when it is back", func(t *testing.T) {
			s.checkRange(t, few, span{offset: 0, length: few.blob.Size})
		})
	})
	s.t.Run("restarted while nothing is read", func(t *testing.T) {
		s.checkRange(t, few, span{offset: 0, length: few.blob.Size})
		s.h.Stop(t)
		s.h.Start(t)
		s.checkIdleRestart(t, few)
	})
}

// checkCut reads a body whose server was killed.
func (s *suite) checkCut(t *testing.T, body io.Reader, p placed) {
	t.Helper()
	within(t, s.patience, "reading from a killed server", func(t *notes) {
		done := 64 * kib
		n, err := compare(body, p.blob, done, p.blob.Size-done, 32*1024)
		if done += n; err == io.EOF && done == p.blob.Size {
			t.Log("everything was read ahead before the server was killed")
			return
		}
		if err == io.EOF {
			err = fmt.Errorf("io.EOF, as if the blob were complete")
		} else {
			err = wrongError(err, p.route, transport.ErrTemporary, io.ErrUnexpectedEOF)
		}
		if err != nil {
			t.Errorf("after %d bytes of %d: %v", done, p.blob.Size, err)
		}
	})
}

// checkDown opens a blob while its server is down.
func (s *suite) checkDown(t *testing.T, p placed) {
	body, err := s.open(t, t.Context(), p.route, p.desc, 0, p.blob.Size)
	if err == nil {
		s.close(t, body)
	}
	if wrong := wrongError(err, p.route, transport.ErrTemporary); wrong != nil {
		t.Errorf("Open: %v", wrong)
	}
}

// checkIdleRestart opens a blob of a server that was restarted since the last
// one. A connection that was kept may turn out to be broken only now: that is
// ErrTemporary and must not happen again.
func (s *suite) checkIdleRestart(t *testing.T, p placed) {
	t.Helper()
	body, err := s.open(t, t.Context(), p.route, p.desc, 0, p.blob.Size)
	if err == nil {
		s.close(t, body)
	} else if !errors.Is(err, transport.ErrTemporary) {
		t.Errorf("Open: %v", wrongError(err, p.route, transport.ErrTemporary))
	}
	s.checkRange(t, p, span{offset: 0, length: p.blob.Size})
}
