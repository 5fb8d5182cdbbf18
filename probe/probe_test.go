package probe_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/probe"
	"github.com/waybill-project/waybill/transport"
)

// place is a transport that holds one blob.
type place struct {
	content []byte
	whole   bool  // knows no ranges
	short   int   // bytes left out at the end
	err     error // of Open
	hang    bool
}

func (p place) Open(ctx context.Context, r transport.Route, _ ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	if p.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if p.err != nil {
		return nil, p.err
	}
	if length == -1 {
		length = int64(len(p.content))
	}
	if p.whole && (offset > 0 || length < int64(len(p.content))) {
		return nil, transport.Errorf(transport.ErrRangeUnsupported, r.URI, "no ranges")
	}
	return io.NopCloser(bytes.NewReader(p.content[offset : offset+length-int64(p.short)])), nil
}

// sized is a place that says how large its blobs are.
type sized struct {
	place
	size int64
}

func (s sized) Size(context.Context, transport.Route, ocispec.Descriptor) (int64, error) {
	return s.size, s.err
}

func TestRoute(t *testing.T) {
	large, small := make([]byte, 3<<20), []byte("x")
	gone := transport.Errorf(transport.ErrNotFound, "test:place", "gone")
	for _, tt := range []struct {
		name   string
		t      transport.Transport
		size   int64 // of the descriptor
		ranges bool
		want   int64 // the size found
		rated  bool
		says   string
	}{
		{"ranges", sized{place{content: large}, int64(len(large))}, int64(len(large)), true, int64(len(large)), true, ""},
		{"no sizes", place{content: large}, int64(len(large)), true, -1, true, ""},
		{"size unknown, told", sized{place{content: large}, int64(len(large))}, -1, true, int64(len(large)), true, ""},
		{"size unknown, found", place{content: small}, -1, false, 1, false, ""},
		{"whole only", place{content: large, whole: true}, int64(len(large)), false, -1, true, ""},
		{"one byte", sized{place{content: small}, 1}, 1, false, 1, false, ""},
		{"empty", sized{place{}, 0}, 0, false, 0, false, ""},
		{"another size", sized{place{content: small}, 1}, 7, false, 1, false, "has 1 bytes, want 7"},
		{"short", place{content: large, short: 1}, int64(len(large)), true, -1, false, "ended after"},
		{"gone", sized{place{err: gone}, -1}, 1, false, -1, false, "gone"},
		{"refused at Open", place{err: gone}, 1, false, -1, false, "gone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			desc := ocispec.Descriptor{Digest: digest.FromString("any"), Size: tt.size}
			r := probe.Route(t.Context(), tt.t, transport.Route{URI: "test:place"}, desc)
			if (r.Err == nil) != (tt.says == "") || r.Err != nil && !strings.Contains(r.Err.Error(), tt.says) {
				t.Errorf("error %v, want %q", r.Err, tt.says)
			}
			if r.Ranges != tt.ranges || r.Size != tt.want || tt.says == "" && (r.BytesPerSecond > 0) != tt.rated {
				t.Errorf("got %+v", r)
			}
			if r.Err == nil && r.Latency <= 0 {
				t.Errorf("latency %v", r.Latency)
			}
		})
	}
}

// A place that never answers is reported as such when the time is up.
func TestRouteHangs(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(fmt.Errorf("time is up"))
	r := probe.Route(ctx, place{hang: true}, transport.Route{URI: "test:place"}, ocispec.Descriptor{Size: 9})
	if !errors.Is(r.Err, transport.ErrTemporary) || !strings.Contains(r.Err.Error(), "time is up") {
		t.Errorf("got %v", r.Err)
	}
}

// drip is a place that sends its first bytes at once, and then a byte each time.
type drip struct {
	first int
	every time.Duration
}

func (d drip) Open(ctx context.Context, r transport.Route, _ ocispec.Descriptor, _, _ int64) (io.ReadCloser, error) {
	return io.NopCloser(&dripping{drip: d, ctx: ctx}), nil
}

type dripping struct {
	drip
	ctx   context.Context
	begun bool
}

func (d *dripping) Read(p []byte) (int, error) {
	if !d.begun {
		d.begun = true
		return d.first, nil
	}
	select {
	case <-time.After(d.every):
		return 1, nil
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
}

// A place that crawls is rated, however little it sends; one that stops says
// after how much.
func TestRouteCrawls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := probe.Route(t.Context(), drip{first: 10, every: 100 * time.Millisecond}, transport.Route{URI: "test:place"}, ocispec.Descriptor{Size: 1 << 20})
		if r.Err != nil || r.BytesPerSecond != 10 {
			t.Errorf("crawling: got %+v", r)
		}
		r = probe.Route(t.Context(), drip{first: 10, every: time.Hour}, transport.Route{URI: "test:place"}, ocispec.Descriptor{Size: 1 << 20})
		if !errors.Is(r.Err, transport.ErrTemporary) || !strings.Contains(r.Err.Error(), "sent 10 bytes, and then nothing more") {
			t.Errorf("stalling: got %+v", r)
		}
	})
}
