package transporttest

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/transport"
)

// expectations tests blobs that are not what, or where, they should be.
func (s *suite) expectations() {
	p := s.put(small)
	for _, off := range []int64{-1, 1, 100_000} {
		s.t.Run(fmt.Sprintf("size off by %d", off), func(t *testing.T) { s.checkWrongSize(t, p, p.blob.Size+off) })
	}
	s.t.Run("size", func(t *testing.T) { s.checkSize(t, p) })
	s.t.Run("check", func(t *testing.T) { s.checkCheck(t, p) })
	s.t.Run("missing", func(t *testing.T) { s.checkMissing(t, p) })
	for _, d := range []digest.Digest{
		digest.Digest("sha256:../sha256/" + p.blob.Digest.Encoded()),
		digest.Digest("sha256:../../../../../../../../etc/passwd"),
		digest.Digest("../sha256:" + p.blob.Digest.Encoded()),
		"sha256:",
		"sha256",
		digest.Digest("sha256:" + p.blob.Digest.Encoded()[1:]),
		digest.Digest("sha256:" + p.blob.Digest.Encoded() + "\n"),
	} {
		s.t.Run(fmt.Sprintf("invalid digest %.30q", d), func(t *testing.T) { s.checkInvalidDigest(t, p, d) })
	}
}

// checkWrongSize opens a blob that should have another size than it has.
func (s *suite) checkWrongSize(t *testing.T, p placed, size int64) {
	desc := p.desc
	desc.Size = size
	body, err := s.open(t, t.Context(), p.route, desc, 0, size)
	if err == nil {
		defer s.close(t, body)
		within(t, s.patience, "reading", func(*notes) { _, err = io.Copy(io.Discard, body) })
	}
	if wrong := wrongError(err, p.route, transport.ErrPermanent); wrong != nil {
		t.Errorf("a blob of %d bytes that should have %d: %v", p.blob.Size, size, wrong)
	}
}

// checkSize asks for sizes, where the transport can tell.
func (s *suite) checkSize(t *testing.T, p placed) {
	sizer, ok := s.h.Transport.(transport.Sizer)
	if !ok {
		return
	}
	for _, known := range []int64{p.blob.Size, -1} {
		desc := p.desc
		desc.Size = known
		within(t, s.patience, "Size", func(t *notes) {
			if size, err := sizer.Size(t.Context(), p.route, desc); err != nil || size != p.blob.Size {
				t.Errorf("Size of a blob of %d bytes: %d, %v", p.blob.Size, size, err)
			}
		})
	}
}

// checkCheck asks what is wrong with URIs, where the transport can tell.
func (s *suite) checkCheck(t *testing.T, p placed) {
	checker, ok := s.h.Transport.(transport.Checker)
	if !ok {
		return
	}
	if err := checker.Check(p.route.URI); err != nil {
		t.Errorf("Check of the URI of a blob that is there: %v", err)
	}
	for _, uri := range []string{"", "no-such-scheme://ann:s3cret@example.org/x", "no-such-scheme:x"} {
		if wrong := wrongError(checker.Check(uri), transport.Route{URI: uri}, transport.ErrPermanent); wrong != nil {
			t.Errorf("Check of %q: %v", uri, wrong)
		}
	}
}

// checkMissing opens, and asks for the size of, a blob that isn't there.
func (s *suite) checkMissing(t *testing.T, p placed) {
	if s.h.NeverMissing != "" {
		t.Logf("no blob is ever missing: %s", s.h.NeverMissing)
		return
	}
	route, desc := p.route, NewBlob(404, p.blob.Size).Descriptor()
	if s.h.Missing != nil {
		route, desc = s.h.Missing(t)
	}
	body, err := s.open(t, t.Context(), route, desc, 0, desc.Size)
	if err == nil {
		s.close(t, body)
	}
	if wrong := wrongError(err, route, transport.ErrNotFound); wrong != nil {
		t.Errorf("Open of a blob that isn't there: %v", wrong)
	}
	if sizer, ok := s.h.Transport.(transport.Sizer); ok {
		within(t, s.patience, "Size", func(t *notes) {
			if size, err := sizer.Size(t.Context(), route, desc); err == nil || wrongError(err, route, transport.ErrNotFound) != nil {
				t.Errorf("Size of a blob that isn't there: %d, %v; want %q", size, err, transport.ErrNotFound)
			}
		})
	}
}

// checkInvalidDigest opens a blob by what is no digest. As a path it may lead
// to a file (CVE-2024-3727), so it must not become one.
func (s *suite) checkInvalidDigest(t *testing.T, p placed, d digest.Digest) {
	desc := p.desc
	desc.Digest = d
	body, err := s.open(t, t.Context(), p.route, desc, 0, desc.Size)
	if err == nil {
		s.close(t, body)
	}
	if wrong := wrongError(err, p.route, transport.ErrPermanent, transport.ErrRefused); wrong != nil {
		t.Errorf("Open of the invalid digest %q: %v", d, wrong)
	}
}

// faults tests that each failure of the place has its kind.
func (s *suite) faults() {
	for f, kind := range map[Fault]error{
		Denied: transport.ErrUnauthorized, Throttled: transport.ErrThrottled,
		Temporary: transport.ErrTemporary, Permanent: transport.ErrPermanent,
	} {
		s.t.Run(string(f), func(t *testing.T) { s.checkFault(t, f, kind) })
	}
	s.t.Run(string(ShortBody), s.checkShortBody)
}

// faultyBlob returns the blob that has a fault, another for each.
func faultyBlob(f Fault) Blob {
	return NewBlob(100+uint64(slices.Index(faults, f)), small)
}

// checkFault brings a fault about that Open is to tell.
func (s *suite) checkFault(t *testing.T, f Fault, kind error) {
	lay := s.h.Faults[f]
	if lay == nil {
		t.Logf("impossible: %s", s.h.Impossible[f])
		return
	}
	b := faultyBlob(f)
	route := lay(t, b)
	body, err := s.open(t, t.Context(), route, s.describe(b), 0, b.Size)
	if err == nil {
		s.close(t, body)
	}
	if wrong := wrongError(err, route, kind); wrong != nil {
		t.Errorf("Open: %v", wrong)
	}
	if sizer, ok := s.h.Transport.(transport.Sizer); ok {
		within(t, s.patience, "Size", func(t *notes) {
			// It may be told nevertheless: nothing is read.
			if _, err := sizer.Size(t.Context(), route, s.describe(b)); err != nil {
				if wrong := wrongError(err, route); wrong != nil {
					t.Errorf("Size: %v", wrong)
				}
			}
		})
	}
	var te *transport.Error
	if f == Throttled && errors.As(err, &te) && te.RetryAfter != s.h.RetryAfter {
		t.Errorf("RetryAfter is %v; the server said %v", te.RetryAfter, s.h.RetryAfter)
	}
}

// checkShortBody reads a blob whose server ends too early.
func (s *suite) checkShortBody(t *testing.T) {
	lay := s.h.Faults[ShortBody]
	if lay == nil {
		t.Logf("impossible: %s", s.h.Impossible[ShortBody])
		return
	}
	b := faultyBlob(ShortBody)
	route := lay(t, b)
	body, err := s.open(t, t.Context(), route, s.describe(b), 0, b.Size)
	if err != nil {
		t.Fatalf("Open: %v; the fault is to show while reading", err)
	}
	defer s.close(t, body)
	within(t, s.patience, "reading", func(t *notes) {
		n, err := compare(body, b, 0, b.Size, 10_000)
		if wrong := wrongEnd(err, route); wrong != nil {
			t.Errorf("after %d bytes of %d: %v", n, b.Size, wrong)
		}
	})
}

// wrongEnd says what is wrong with err as the end of a body that is not
// complete.
func wrongEnd(err error, route transport.Route) error {
	if err == io.EOF {
		return errors.New("io.EOF, as if the blob were complete")
	}
	return wrongError(err, route, io.ErrUnexpectedEOF, transport.ErrTemporary, transport.ErrPermanent)
}
