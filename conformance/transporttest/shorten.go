package transporttest

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/waybill-project/waybill/transport"
)

// checkShorten tests that a body that can be shortened yields what is still
// wanted, and nothing else.
func (s *suite) checkShorten(t *testing.T, p placed) {
	offset := int64(4321)
	if s.h.WholeOnly {
		offset = 0
	}
	length := p.blob.Size - offset
	for _, c := range []struct {
		name         string
		first, after int64 // bytes read before, and wanted then
	}{
		{"before the first Read", 0, length / 2},
		{"in the middle", length / 4, length / 2},
		{"to what was read", length / 4, length / 4},
		{"to less than was read", length / 4, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := s.mustOpen(t, t.Context(), p, offset, length)
			short, ok := body.(transport.Shortener)
			if !ok { // it need not be one
				s.close(t, body)
				return
			}
			within(t, s.patience, "reading a shortened range", func(t *notes) {
				if err := expectFirst(body, p.blob, offset, c.first); err != nil {
					t.Errorf("before Shorten: %v", err)
				}
				short.Shorten(c.after)
				short.Shorten(length) // which changes nothing
				if err := expectFirst(body, p.blob, offset+c.first, c.after-c.first); err != nil {
					t.Errorf("after Shorten: %v", err)
				}
			})
			s.close(t, body)
			within(t, s.prompt, "Shorten after Close", func(*notes) { short.Shorten(1) })
		})
	}
}

// expectFirst reads and compares as many bytes as are wanted, and no more.
func expectFirst(r io.Reader, b Blob, offset, length int64) error {
	if length <= 0 {
		return nil
	}
	n, err := compare(io.LimitReader(r, length), b, offset, length, 32*1024)
	if !errors.Is(err, io.EOF) || n < length {
		return fmt.Errorf("%d of %d bytes: %w", n, length, err)
	}
	return nil
}
