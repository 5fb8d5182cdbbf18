package transporttest

import (
	"fmt"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/transport"
)

// span is a range with a name.
type span struct {
	name           string
	offset, length int64
}

// spans returns the ranges of a blob of size bytes that are worth trying.
func spans(size int64) []span {
	return []span{
		{"whole", 0, size},
		{"first part", 0, 1000},
		{"middle part", size/2 - 7, 4099},
		{"last part", size - 1000, 1000},
		{"all but the first byte", 1, size - 1},
		{"all but the last byte", 0, size - 1},
		{"first byte", 0, 1},
		{"byte in the middle", size / 2, 1},
		{"last byte", size - 1, 1},
		{"over a page", 4095, 2},
		{"over 32 KiB", 32*kib - 1, 3},
	}
}

// ranges tests that the bytes asked for come, and no others.
func (s *suite) ranges() {
	p := s.put(small)
	for _, r := range spans(p.blob.Size) {
		s.t.Run(r.name, func(t *testing.T) { s.checkRange(t, p, r) })
	}
	s.t.Run("unknown size", func(t *testing.T) {
		desc := p.desc
		desc.Size = -1
		s.checkWhole(t, p, desc, -1)
	})

	for _, r := range []span{
		{"nothing at the start", 0, 0},
		{"nothing in the middle", p.blob.Size / 2, 0},
		{"nothing at the end", p.blob.Size, 0},
	} {
		s.t.Run(r.name, func(t *testing.T) { s.checkNothing(t, p, r) })
	}

	one := s.put(1)
	s.t.Run("blob of one byte", func(t *testing.T) { s.checkWhole(t, one, one.desc, 1) })
	empty := s.put(0)
	s.t.Run("empty blob", func(t *testing.T) { s.checkWhole(t, empty, empty.desc, 0) })
	s.t.Run("empty blob of unknown size", func(t *testing.T) {
		desc := empty.desc
		desc.Size = -1
		s.checkWhole(t, empty, desc, -1)
	})

	for _, r := range []span{
		{"from the end on", p.blob.Size, 1},
		{"far past the end", p.blob.Size + 10_000, 1000},
		{"over the end", p.blob.Size - 10, 20},
	} {
		s.t.Run(r.name, func(t *testing.T) { s.checkBeyond(t, p, p.desc, r) })
	}
	s.t.Run("far past the end of unknown size", func(t *testing.T) {
		desc := p.desc
		desc.Size = -1
		s.checkBeyond(t, p, desc, span{offset: p.blob.Size + 10_000, length: 1000})
	})
}

// checkRange opens a range and checks every byte.
func (s *suite) checkRange(t *testing.T, p placed, r span) {
	t.Helper()
	if s.h.WholeOnly && r.length != p.blob.Size {
		got, err := s.open(t, t.Context(), p.route, p.desc, r.offset, r.length)
		if err == nil {
			s.close(t, got)
		}
		if wrong := wrongError(err, p.route, transport.ErrRangeUnsupported); wrong != nil {
			t.Errorf("Open of a part where only whole blobs are sent: %v", wrong)
		}
		return
	}
	body := s.mustOpen(t, t.Context(), p, r.offset, r.length)
	defer s.close(t, body)
	within(t, s.patience, "reading", func(t *notes) {
		if err := expect(body, p.blob, r.offset, r.length, 32*1024); err != nil {
			t.Errorf("%d bytes at %d: %v", r.length, r.offset, err)
		}
	})
}

// checkNothing opens a range of no bytes of a blob that has some. Nobody needs
// one, and not every protocol has words for it: it yields nothing or is an error.
func (s *suite) checkNothing(t *testing.T, p placed, r span) {
	t.Helper()
	body, err := s.open(t, t.Context(), p.route, p.desc, r.offset, 0)
	if err != nil {
		if wrong := wrongError(err, p.route, transport.ErrPermanent, transport.ErrRangeUnsupported); wrong != nil {
			t.Errorf("Open of no bytes: %v", wrong)
		}
		return
	}
	defer s.close(t, body)
	within(t, s.patience, "reading", func(t *notes) {
		if err := expect(body, p.blob, r.offset, 0, 32*1024); err != nil {
			t.Errorf("no bytes at %d: %v", r.offset, err)
		}
	})
}

// checkWhole opens the whole blob with a descriptor and length that ask for it,
// and checks every byte.
func (s *suite) checkWhole(t *testing.T, p placed, desc ocispec.Descriptor, length int64) {
	t.Helper()
	body, err := s.open(t, t.Context(), p.route, desc, 0, length)
	if err != nil {
		t.Fatalf("Open of the whole, size %d and length %d: %v", desc.Size, length, err)
	}
	defer s.close(t, body)
	within(t, s.patience, "reading", func(t *notes) {
		if err := expect(body, p.blob, 0, p.blob.Size, 32*1024); err != nil {
			t.Error(err)
		}
	})
}

// checkBeyond opens a range that isn't all there: that is an error, of Open or
// the first Read.
func (s *suite) checkBeyond(t *testing.T, p placed, desc ocispec.Descriptor, r span) {
	t.Helper()
	body, err := s.open(t, t.Context(), p.route, desc, r.offset, r.length)
	if err == nil {
		defer s.close(t, body)
		within(t, s.patience, "Read", func(*notes) {
			var n int
			if n, err = body.Read(make([]byte, 100)); n > 0 {
				err = fmt.Errorf("read %d bytes of a range that is not all in the blob", n)
			}
		})
	}
	if wrong := wrongError(err, p.route); wrong != nil {
		t.Errorf("%d bytes at %d of %d: %v", r.length, r.offset, p.blob.Size, wrong)
	}
}
