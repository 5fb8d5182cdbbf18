package transporttest

import (
	"io"
	"testing"

	"github.com/waybill-project/waybill/transport"
)

// suite is what the tests that share a harness know.
type suite struct {
	h Harness
	// t is the test of all that share the harness: what is put at the place
	// lasts as long as it.
	t *testing.T
	// few is a small blob at the place, once [suite.small] was called.
	few placed
}

// placed is a blob that is at the place.
type placed struct {
	blob  Blob
	route transport.Route
}

// groups are the tests that share a harness.
var groups = []struct {
	name string
	run  func(s *suite)
}{
	{"Ranges", (*suite).ranges},
	{"Expectations", (*suite).expectations},
	{"Reading", (*suite).reading},
	{"Faults", (*suite).faults},
	{"Cancel", (*suite).cancel},
	{"Close", (*suite).close},
	{"Concurrent", (*suite).concurrent},
	{"Restart", (*suite).restart},
	{"Leaks", (*suite).leaks},
	{"Huge", (*suite).huge},
}

// Run runs the suite. Each group of tests has a harness of its own: newHarness
// is called with the test that the group runs under, and what it makes should
// go with that test, by t.Cleanup and t.TempDir.
func Run(t *testing.T, newHarness func(t *testing.T) Harness) {
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			s := &suite{h: newHarness(t), t: t}
			s.h.check(t)
			defer s.closeTransport(t)
			g.run(s)
		})
	}
}

// closeTransport closes the transport where it can be closed.
func (s *suite) closeTransport(t testing.TB) {
	t.Helper()
	closer, ok := s.h.Transport.(io.Closer)
	if !ok {
		return
	}
	var err error
	within(t, prompt, "the transport's Close", func() { err = closer.Close() })
	if err != nil {
		t.Errorf("the transport's Close: %v", err)
	}
}

// put puts a blob of size bytes at the place, or of as many as it may have.
func (s *suite) put(size int64) placed {
	s.t.Helper()
	if s.h.MaxSize > 0 {
		size = min(size, s.h.MaxSize)
	}
	b := NewBlob(uint64(size)+1, size)
	return placed{b, s.h.Put(s.t, b)}
}

// small and large are sizes of blobs: small ones are read whole often, of large
// ones a server can't have sent everything when the first bytes are read.
const (
	small = 300*kib + 17
	large = 32*mib + 4099
)
