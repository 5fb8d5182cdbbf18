package transporttest

import "testing"

// huge tests offsets that 32 bits can't hold.
func (s *suite) huge() {
	if s.h.MaxSize > 0 && s.h.MaxSize < hugeSize {
		return
	}
	put := s.h.Huge
	if put == nil {
		put = s.h.Put
	}
	b := hugeBlob()
	p := placed{b, s.describe(b), put(s.t, b)}
	if s.h.WholeOnly {
		s.t.Run("whole", func(t *testing.T) {
			body := s.mustOpen(t, t.Context(), p, 0, b.Size)
			s.readSome(t, body, b)
			s.close(t, body)
		})
		return
	}
	for _, r := range []span{
		{"first bytes", 0, 100_000},
		{"past 2 GiB", 2*gib - 10, 20},
		{"past 4 GiB", 4*gib - 10, 20},
		{"over 5 GiB", 5*gib - 1000, 40_000},
		{"from 5 GiB on", 5 * gib, 40_000},
		{"last bytes", b.Size - 40_000, 40_000},
		{"last byte", b.Size - 1, 1},
	} {
		s.t.Run(r.name, func(t *testing.T) { s.checkRange(t, p, r) })
	}
	s.t.Run("opened whole and closed", func(t *testing.T) {
		body := s.mustOpen(t, t.Context(), p, 0, b.Size)
		s.readSome(t, body, b)
		s.close(t, body)
	})
	s.t.Run("size", func(t *testing.T) { s.checkSize(t, p) })
}
