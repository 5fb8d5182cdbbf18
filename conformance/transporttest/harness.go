package transporttest

import (
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/transport"
)

// Fault is a way for a place to fail.
type Fault string

// The faults a harness brings about, or says why it can't.
const (
	// Denied: the place refuses the credentials, or wants some. Open is to be
	// [transport.ErrUnauthorized].
	Denied Fault = "denied"
	// Throttled: the place was asked too often. Open is to be
	// [transport.ErrThrottled].
	Throttled Fault = "throttled"
	// Temporary: the place fails in a way that passes. Open is to be
	// [transport.ErrTemporary].
	Temporary Fault = "temporary"
	// Permanent: the place fails in a way that doesn't pass. Open is to be
	// [transport.ErrPermanent].
	Permanent Fault = "permanent"
	// ShortBody: the place agrees to send the blob and ends before its end. A
	// Read is to be io.ErrUnexpectedEOF, [transport.ErrTemporary] or
	// [transport.ErrPermanent], never io.EOF.
	ShortBody Fault = "short body"
)

// faults are all faults, in the order of their tests.
var faults = []Fault{Denied, Throttled, Temporary, Permanent, ShortBody}

// Harness is a transport and a place it reads from. Only Transport, Put and the
// two maps must be there.
//
// Its functions are called one at a time. They report their own failures
// through t, and what they make must last at least as long as t.
type Harness struct {
	// Transport is what is tested. Where it is an io.Closer, it is closed when
	// the tests that share it are over.
	Transport transport.Transport

	// Put makes b available at the server and returns the route to it.
	Put func(t testing.TB, b Blob) transport.Route
	// Huge does the same for a blob of more than 5 GiB that is nearly all
	// zeros, whose Digest is not that of its content; see [Blob.WriteFile].
	// Nil means Put.
	Huge func(t testing.TB, b Blob) transport.Route
	// Describe returns the descriptor that b is asked for with, where that needs
	// more than [Blob.Descriptor] returns, as embedded data. Optional.
	Describe func(b Blob) ocispec.Descriptor
	// MaxSize is the size in bytes of the largest blob there may be at such a
	// place; zero means any. It must be 1 MiB at least. What needs larger ones
	// is tested with the largest, or not at all (the huge one).
	MaxSize int64

	// Missing returns the route to, and the descriptor of, a blob that the
	// place doesn't have. Nil means a route of Put with another digest.
	Missing func(t testing.TB) (transport.Route, ocispec.Descriptor)
	// NeverMissing, where not empty, says why there is no such thing.
	NeverMissing string

	// Faults brings each fault about: Open of the route returned, for b, has
	// it. Where the whole server is changed for that, t.Cleanup must undo it.
	Faults map[Fault]func(t testing.TB, b Blob) transport.Route
	// Impossible says why the protocol can't have a fault. Every fault is in
	// exactly one of Faults and Impossible.
	Impossible map[Fault]string
	// RetryAfter is how long the server that Faults[Throttled] brings about
	// asks to be left alone, in whole seconds; zero where the protocol has no
	// word for that.
	RetryAfter time.Duration

	// Stop kills the server, so that its connections die, and Start starts it
	// again at the same address with the same content. Both are nil for files
	// of this machine, which have no server.
	Stop, Start func(t testing.TB)
	// Pause stops the server without closing its connections (SIGSTOP), and
	// Resume lets it go on: that is how Reads that wait are tested. Optional.
	Pause, Resume func(t testing.TB)
	// Stall returns a route to a server that accepts connections and never
	// answers. Optional; Pause does as well.
	Stall func(t testing.TB) transport.Route

	// WholeOnly is true where the place only sends whole blobs. Every other
	// range is to be [transport.ErrRangeUnsupported].
	WholeOnly bool
}

// check fails t where h is no complete harness.
func (h *Harness) check(t *testing.T) {
	t.Helper()
	if h.Transport == nil || h.Put == nil {
		t.Fatal("the harness lacks Transport or Put")
	}
	if (h.Stop == nil) != (h.Start == nil) || (h.Pause == nil) != (h.Resume == nil) {
		t.Fatal("the harness has one of Stop and Start, or one of Pause and Resume; it must have both or none")
	}
	if h.MaxSize != 0 && h.MaxSize < mib {
		t.Fatalf("the harness's MaxSize is %d; the suite needs blobs of 1 MiB", h.MaxSize)
	}
	for _, f := range faults {
		made, reason := h.Faults[f], h.Impossible[f]
		if (made == nil) == (reason == "") {
			t.Fatalf("fault %q must be in exactly one of the harness's Faults and Impossible", f)
		}
	}
}
