package transporttest

import (
	"io"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/transport"
)

// limits are the times after which something is said to hang.
type limits struct {
	// prompt is for what should end at once.
	prompt time.Duration
	// patience is for what takes as long as it takes: finding the server,
	// moving some megabytes on a busy machine.
	patience time.Duration
}

// usual are the limits outside of the suite's own tests.
var usual = limits{prompt: 10 * time.Second, patience: 2 * time.Minute}

// suite is what the tests that share a harness know.
type suite struct {
	limits
	h Harness
	// t is the test of all that share the harness: what is put at the place
	// lasts as long as it.
	t *testing.T
	// few is a small blob at the place, once [suite.small] was called.
	few placed
	// closed is true once the transport was closed.
	closed bool
}

// placed is a blob that is at the place.
type placed struct {
	blob  Blob
	desc  ocispec.Descriptor
	route transport.Route
}

// group is a number of tests.
type group struct {
	name string
	run  func(s *suite)
}

// groups are the tests that share a harness.
var groups = []group{
	{"Ranges", (*suite).ranges},
	{"Expectations", (*suite).expectations},
	{"Reading", (*suite).reading},
	{"Faults", (*suite).faults},
	{"Cancel", (*suite).cancel},
	{"Close", (*suite).closing},
	{"Concurrent", (*suite).concurrent},
	{"Restart", (*suite).restart},
	{"Leaks", (*suite).leaks},
	{"Huge", (*suite).huge},
}

// Run runs the suite. Each group of tests has a harness of its own: newHarness
// is called with the test that the group runs under, and what it makes should
// go with that test, by t.Cleanup and t.TempDir.
func Run(t *testing.T, newHarness func(t *testing.T) Harness) {
	run(t, groups, usual, newHarness)
}

func run(t *testing.T, groups []group, l limits, newHarness func(t *testing.T) Harness) {
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			s := &suite{limits: l, h: newHarness(t), t: t}
			s.h.check(t)
			defer s.closeTransport(t)
			g.run(s)
		})
	}
}

// closeTransport closes the transport, once, where it can be closed. It reports
// whether it can.
func (s *suite) closeTransport(t testing.TB) bool {
	t.Helper()
	closer, ok := s.h.Transport.(io.Closer)
	if !ok || s.closed {
		return ok
	}
	s.closed = true
	var err error
	within(t, s.prompt, "the transport's Close", func(*notes) { err = closer.Close() })
	if err != nil {
		t.Errorf("the transport's Close: %v", err)
	}
	return true
}

// put puts a blob of size bytes at the place, or of as many as it may have.
func (s *suite) put(size int64) placed {
	s.t.Helper()
	if s.h.MaxSize > 0 {
		size = min(size, s.h.MaxSize)
	}
	b := NewBlob(uint64(size)+1, size)
	return placed{b, s.describe(b), s.h.Put(s.t, b)}
}

// describe returns the descriptor that b is asked for with.
func (s *suite) describe(b Blob) ocispec.Descriptor {
	if s.h.Describe != nil {
		return s.h.Describe(b)
	}
	return b.Descriptor()
}

// small and large are sizes of blobs: small ones are read whole often, of large
// ones a server can't have sent everything when the first bytes are read.
const (
	small = 300*kib + 17
	large = 32*mib + 4099
)
