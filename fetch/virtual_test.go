package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/waybill-project/waybill/internal/faultserver"
	"github.com/waybill-project/waybill/store"
	"github.com/waybill-project/waybill/transport"
)

// What follows runs in virtual time: sources of exact rate and latency, on a
// clock that only goes on when everybody waits. So how long a fetch takes can be
// asserted, on however busy a machine.

// virtual is a source. It serves its rate over all connections together.
type virtual struct {
	rate     float64 // bytes a second
	conn     float64 // of one connection; zero is no limit
	latency  time.Duration
	whole    bool          // it only sends whole blobs
	from     time.Duration // nothing is wrong before
	dies     bool          // refuses, and resets
	stalls   bool          // sends nothing more
	lies     bool
	crawls   float64 // bytes a second instead of rate
	most     int     // connections at a time; more are refused with 429
	mute     bool    // never answers
	chunk    int64   // it sends only whole chunks of so many bytes, where not 0,
	first    int64   // one of which begins here
	revives  time.Duration
	t        *virtualTest
	name     string
	mu       sync.Mutex
	spent    time.Time // the time up to which the rate is used up
	requests int
	open     int
	sent     int64
	shorter  int // ranges of which a part turned out not to be needed
}

// virtualTest is a blob, its sources, and what is expected of fetching it.
type virtualTest struct {
	size    int64
	sources []*virtual
	// within is how long it may take, and wasted how many bytes may be sent
	// twice.
	within time.Duration
	wasted int64
	// requests is how many there may be in all.
	requests int
	resumed  spans // what is on disk already
	fails    error

	blob  faultserver.Blob
	began time.Time
}

const vmb = 1_000_000

func TestVirtual(t *testing.T) {
	ms := time.Millisecond
	// mute is n sources that never answer.
	mute := func(n int) []*virtual {
		var out []*virtual
		for range n {
			out = append(out, &virtual{rate: 1, mute: true})
		}
		return out
	}
	// alike is n sources of the same rate and latency.
	alike := func(n int, rate float64, latency time.Duration, more ...*virtual) []*virtual {
		var out []*virtual
		for range n {
			out = append(out, &virtual{rate: rate, latency: latency})
		}
		return append(out, more...)
	}
	for name, test := range map[string]*virtualTest{
		"one":         {size: 100 * vmb, sources: alike(1, 20*vmb, 0), within: 5200 * ms, requests: 20},
		"eight alike": {size: 160 * vmb, sources: alike(8, 10*vmb, 0), within: 2100 * ms, wasted: vmb, requests: 140},
		"four unlike": {size: 150 * vmb, within: 2100 * ms, wasted: vmb, requests: 70,
			sources: []*virtual{{rate: 5 * vmb}, {rate: 10 * vmb}, {rate: 20 * vmb}, {rate: 40 * vmb}}},
		"very unlike": {size: 150 * vmb, within: 3200 * ms, wasted: vmb, requests: 70,
			sources: []*virtual{{rate: 1 * vmb}, {rate: 50 * vmb}}},
		"one far away":  {size: 100 * vmb, sources: alike(1, 20*vmb, 100*ms), within: 5500 * ms, requests: 20},
		"four far away": {size: 150 * vmb, sources: alike(4, 10*vmb, 100*ms), within: 4400 * ms, wasted: vmb, requests: 100},
		"very far away": {size: 150 * vmb, sources: alike(4, 10*vmb, 600*ms), within: 8000 * ms, wasted: 8 * vmb, requests: 100},
		"near and far": {size: 150 * vmb, within: 4600 * ms, wasted: vmb, requests: 100,
			sources: []*virtual{{rate: 2.5 * vmb, latency: 50 * ms}, {rate: 5 * vmb, latency: 100 * ms}, {rate: 10 * vmb, latency: 200 * ms}, {rate: 20 * vmb, latency: 20 * ms}}},
		"each connection limited": {size: 300 * vmb, within: 13000 * ms, requests: 200, wasted: vmb,
			sources: []*virtual{{rate: 30 * vmb, conn: 5 * vmb}}},
		"one slow to begin": {size: 150 * vmb, within: 3600 * ms, wasted: vmb, requests: 100,
			sources: alike(4, 10*vmb, 0, &virtual{rate: 10 * vmb, latency: 1200 * ms})},
		"dies":       {size: 120 * vmb, within: 6500 * ms, wasted: vmb, sources: alike(3, 5*vmb, 10*ms, &virtual{rate: 15 * vmb, from: 2 * time.Second, dies: true})},
		"stalls":     {size: 120 * vmb, within: 6500 * ms, wasted: vmb, sources: alike(3, 5*vmb, 10*ms, &virtual{rate: 15 * vmb, from: 2 * time.Second, stalls: true})},
		"crawls":     {size: 120 * vmb, within: 6500 * ms, wasted: vmb, sources: alike(3, 5*vmb, 10*ms, &virtual{rate: 15 * vmb, from: 2 * time.Second, crawls: 1})},
		"lies":       {size: 120 * vmb, within: 7500 * ms, wasted: 50 * vmb, sources: alike(3, 5*vmb, 10*ms, &virtual{rate: 15 * vmb, from: 2 * time.Second, lies: true})},
		"comes back": {size: 100 * vmb, within: 11000 * ms, wasted: 2 * vmb, sources: []*virtual{{rate: 20 * vmb, conn: 5 * vmb, from: 3 * time.Second, dies: true, revives: 5 * time.Second}}},
		"all stall for a while": {size: 100 * vmb, within: 13000 * ms, wasted: 2 * vmb, sources: []*virtual{
			{rate: 10 * vmb, from: 2 * time.Second, stalls: true, revives: 5 * time.Second},
			{rate: 10 * vmb, from: 2 * time.Second, stalls: true, revives: 5 * time.Second}}},
		"only slow ones are left": {size: 60 * vmb, within: 16000 * ms, wasted: 4 * vmb, sources: []*virtual{
			{rate: 4 * vmb, crawls: 10_000, revives: 6 * time.Second},
			{rate: 5 * vmb, from: 5 * time.Second, dies: true}}},
		"slow to begin, all":        {size: 20 * vmb, sources: alike(2, 10*vmb, 5*time.Second), within: 30 * time.Second, wasted: 10 * vmb},
		"mute and good":             {size: 20 * vmb, sources: alike(1, 10*vmb, 10*ms, &virtual{rate: 1, mute: true}), within: 2500 * ms, wasted: vmb},
		"many mute, one good":       {size: 900_000, sources: append(mute(60), &virtual{rate: 10 * vmb}), within: 16 * time.Second, wasted: vmb},
		"many mute, one good, more": {size: 20 * vmb, sources: append(mute(60), &virtual{rate: 10 * vmb}), within: 18 * time.Second, wasted: 10 * vmb},
		"mute, good, little":        {size: 700_000, sources: []*virtual{{rate: 1, mute: true}, {rate: 10 * vmb}}, within: 500 * ms},
		"little from many":          {size: 1_000_000, sources: alike(8, 10*vmb, 200*ms), within: 600 * ms, requests: 16, wasted: 2 * vmb},
		"whole only":                {size: 100 * vmb, sources: []*virtual{{rate: 20 * vmb, whole: true}}, within: 5200 * ms, requests: 2},
		"whole only, slow, resumed": {size: 100 * vmb, resumed: spans{{0, 90 * vmb}}, wasted: 90 * vmb,
			sources: []*virtual{{rate: 1 * vmb, whole: true}}, within: 101 * time.Second, requests: 2},
		"whole only and ranges": {size: 100 * vmb, sources: []*virtual{{rate: 20 * vmb, whole: true}, {rate: 20 * vmb}}, within: 3500 * ms, wasted: 50 * vmb, requests: 30},
		"in chunks": {size: 200 * vmb, within: 4300 * ms, wasted: 10 * vmb, requests: 120,
			sources: alike(3, 10*vmb, 0, &virtual{rate: 10 * vmb, chunk: 1 << 20}, &virtual{rate: 10 * vmb, chunk: 4 << 20, first: -1_000_000})},
		"only in chunks": {size: 200 * vmb, within: 10500 * ms, wasted: 8 * vmb, requests: 60,
			sources: alike(0, 0, 0, &virtual{rate: 10 * vmb, chunk: 1 << 20}, &virtual{rate: 10 * vmb, chunk: 1 << 20})},
		"one connection only":  {size: 100 * vmb, sources: []*virtual{{rate: 20 * vmb, latency: 20 * ms, most: 1}}, within: 6 * time.Second, requests: 30},
		"two connections only": {size: 200 * vmb, sources: []*virtual{{rate: 20 * vmb, conn: 5 * vmb, most: 2}}, within: 22 * time.Second, wasted: vmb, requests: 60},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) { test.run(t, dir) })
		})
	}
}

// What a slow source is to bring is cut when others are done, and it is told.
func TestShorten(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		slow := &virtual{rate: 10 * vmb, from: time.Second, crawls: 3 * vmb}
		test := &virtualTest{size: 50 * vmb, within: 2500 * time.Millisecond, wasted: vmb, sources: []*virtual{slow, {rate: 20 * vmb}}}
		test.run(t, dir)
		if slow.shorter == 0 {
			t.Error("the slow source wasn't told that less is needed")
		}
	})
}

func (v *virtualTest) run(t *testing.T, dir string) {
	v.blob = faultserver.RandomBlob(uint64(v.size), v.size)
	for i, s := range v.sources {
		s.t, s.name = v, fmt.Sprintf("virtual:%d", i)
	}
	st, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	v.prepare(t, st)
	v.began = time.Now()
	var events []string
	var mu sync.Mutex
	e := New(Options{Store: st, Transport: v, Observe: func(ev Event) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, fmt.Sprintf("%.3f %s %s %s", ev.Time.Sub(v.began).Seconds(), ev.Type, ev.Source, ev.Detail))
	}})
	desc := ocispec.Descriptor{Digest: v.blob.Digest, Size: v.size}
	_, err = e.Fetch(context.Background(), desc, func(yield func(transport.Route, error) bool) {
		for _, s := range v.sources {
			if !yield(transport.Route{URI: s.name}, nil) {
				return
			}
		}
	})
	took := time.Since(v.began)
	v.judge(t, st, took, err)
	if t.Failed() {
		for _, ev := range events {
			t.Log(ev)
		}
	}
}

// prepare puts on disk what an earlier fetch left.
func (v *virtualTest) prepare(t *testing.T, st *store.Store) {
	if len(v.resumed) == 0 {
		return
	}
	ing, err := st.Ingest(context.Background(), v.blob.Digest, v.size)
	if err != nil {
		t.Fatal(err)
	}
	defer ing.Close()
	for _, r := range v.resumed {
		b := make([]byte, r.len())
		if _, err := v.blob.Content.ReadAt(b, r.start); err != nil {
			t.Fatal(err)
		}
		if _, err := ing.WriteAt(b, r.start); err != nil {
			t.Fatal(err)
		}
		if err := ing.Record(r.start, r.len(), "earlier"); err != nil {
			t.Fatal(err)
		}
	}
}

func (v *virtualTest) judge(t *testing.T, st *store.Store, took time.Duration, err error) {
	if !errors.Is(err, v.fails) {
		var fe *Error
		if errors.As(err, &fe) {
			t.Error(fe.Detail())
		}
		t.Fatalf("got %v, want %v", err, v.fails)
	}
	if err == nil {
		for _, err := range st.Verify(context.Background()) {
			if err != nil {
				t.Error(err)
			}
		}
	}
	var sent int64
	requests, each := 0, ""
	for _, s := range v.sources {
		sent += s.sent
		requests += s.requests
		each += fmt.Sprintf(" %.1f MB in %d", float64(s.sent)/vmb, s.requests)
	}
	sent -= v.size - v.resumed.size()
	t.Logf("took %v of %v, %d requests of %d, %d bytes wasted of %d;%s", took, v.within, requests, v.requests, sent, v.wasted, each)
	if took > v.within {
		t.Errorf("took %v, want at most %v", took, v.within)
	}
	if v.requests > 0 && requests > v.requests {
		t.Errorf("%d requests, want at most %d", requests, v.requests)
	}
	if err == nil && sent > v.wasted {
		t.Errorf("%d bytes wasted, want at most %d", sent, v.wasted)
	}
}

// Open implements transport.Transport.
func (v *virtualTest) Open(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	for _, s := range v.sources {
		if s.name == route.URI {
			return s.answer(ctx, offset, length)
		}
	}
	return nil, transport.Errorf(transport.ErrNotFound, route.URI, "not found")
}

// wrong reports whether what is wrong with the source shows by now.
func (s *virtual) wrong() bool {
	age := time.Since(s.t.began)
	return age >= s.from && (s.revives == 0 || age < s.revives)
}

func (s *virtual) answer(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	s.mu.Lock()
	s.requests++
	s.open++
	open := s.open
	s.mu.Unlock()
	b := &virtualBody{s: s, ctx: ctx, pos: offset, end: offset + length}
	if err := sleep(ctx, s.latency); err != nil {
		b.Close()
		return nil, err
	}
	var err error
	switch {
	case s.mute || s.stalls && s.wrong():
		<-ctx.Done()
		err = ctx.Err()
	case s.dies && s.wrong():
		err = transport.Errorf(transport.ErrTemporary, s.name, "connection refused")
	case s.most > 0 && open > s.most:
		err = transport.Errorf(transport.ErrThrottled, s.name, "too many connections")
	case s.whole && length != s.t.size:
		err = transport.Errorf(transport.ErrRangeUnsupported, s.name, "no ranges")
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	if s.chunk > 0 {
		b.here = offset
		return chunkedBody{b}, nil
	}
	return b, nil
}

// chunkedBody is one of a source that sends only whole chunks.
type chunkedBody struct{ *virtualBody }

// Chunks implements transport.Chunked.
func (b chunkedBody) Chunks() (size, first int64) { return b.s.chunk, b.s.first }

// Read implements io.Reader.
func (b chunkedBody) Read(p []byte) (int, error) {
	s := b.s
	if b.pos == b.here && b.pos < b.end {
		chunk := chunks{s.chunk, s.first}
		b.here = min(chunk.up(b.pos+1), s.t.size)
		whole := b.here - max(b.here-s.chunk, 0)
		s.mu.Lock()
		at := reserve(&s.spent, int(whole), s.rate)
		s.sent += whole
		s.mu.Unlock()
		if err := sleep(b.ctx, time.Until(at)); err != nil {
			return 0, err
		}
	}
	if b.pos == b.end {
		return 0, io.EOF
	}
	n, err := s.t.blob.Content.ReadAt(p[:min(int64(len(p)), b.end-b.pos, b.here-b.pos)], b.pos)
	b.pos += int64(n)
	return n, err
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// virtualBody is an answer.
type virtualBody struct {
	s        *virtual
	ctx      context.Context
	pos, end int64
	here     int64 // what was sent, in whole chunks
	spent    time.Time
	once     sync.Once
}

func (b *virtualBody) Close() error {
	b.once.Do(func() {
		b.s.mu.Lock()
		defer b.s.mu.Unlock()
		b.s.open--
	})
	return nil
}

// Shorten implements transport.Shortener.
func (b *virtualBody) Shorten(length int64) {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	b.s.shorter++
}

const virtualPiece = 64 << 10

func (b *virtualBody) Read(p []byte) (int, error) {
	s := b.s
	if b.pos == b.end {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), b.end-b.pos, virtualPiece)]
	rate := s.rate
	if s.crawls > 0 && s.wrong() {
		rate = s.crawls
		p = p[:min(len(p), max(1, int(rate/10)))]
	}
	s.mu.Lock()
	at := reserve(&s.spent, len(p), rate)
	s.mu.Unlock()
	if s.conn > 0 {
		if own := reserve(&b.spent, len(p), s.conn); own.After(at) {
			at = own
		}
	}
	if err := sleep(b.ctx, time.Until(at)); err != nil {
		return 0, err
	}
	switch {
	case s.wrong() && s.stalls:
		<-b.ctx.Done()
		return 0, b.ctx.Err()
	case s.wrong() && s.dies:
		return 0, transport.Errorf(transport.ErrTemporary, s.name, "connection reset")
	}
	n, err := s.t.blob.Content.ReadAt(p, b.pos)
	if s.lies && s.wrong() {
		for i := range p[:n] {
			p[i]++
		}
	}
	b.pos += int64(n)
	s.mu.Lock()
	s.sent += int64(n)
	s.mu.Unlock()
	return n, err
}

// reserve takes n bytes from a bucket and returns when they are there.
func reserve(spent *time.Time, n int, rate float64) time.Time {
	if now := time.Now(); spent.Before(now) {
		*spent = now
	}
	*spent = spent.Add(time.Duration(float64(n) / rate * float64(time.Second)))
	return *spent
}
