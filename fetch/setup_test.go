package fetch_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/waybill-project/waybill/fetch"
	"github.com/waybill-project/waybill/internal/faultserver"
	"github.com/waybill-project/waybill/store"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/https"
)

// rig is an engine on an empty store, with everything it says.
type rig struct {
	*fetch.Engine
	t      testing.TB
	store  *store.Store
	mu     sync.Mutex
	events []fetch.Event
}

func newRig(t testing.TB, change ...func(*fetch.Options)) *rig {
	t.Helper()
	return newRigAt(t, t.TempDir(), change...)
}

func newRigAt(t testing.TB, dir string, change ...func(*fetch.Options)) *rig {
	t.Helper()
	st, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	client := httpclient.New(httpclient.Options{})
	t.Cleanup(client.CloseIdleConnections)
	web := https.New(client)
	r := &rig{t: t, store: st}
	opts := fetch.Options{
		Transport: transport.Schemes{"http": web, "https": web},
		Store:     st,
		Observe: func(ev fetch.Event) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.events = append(r.events, ev)
		},
	}
	for _, f := range change {
		f(&opts)
	}
	r.Engine = fetch.New(opts)
	t.Cleanup(func() {
		if t.Failed() {
			r.dump()
		}
	})
	return r
}

// dump logs what the engine said.
func (r *rig) dump() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, ev := range r.events {
		if i == 80 {
			r.t.Logf("… %d events more", len(r.events)-i)
			break
		}
		r.t.Logf("%s %s %s: %s", ev.Time.Format("05.000"), ev.Type, ev.Source, ev.Detail)
	}
	for _, s := range r.Sources() {
		r.t.Logf("%s %s (%s) kept %d received %d", s.URI, s.Status, s.Reason, s.Bytes, s.Received)
	}
}

func (r *rig) count(typ fetch.EventType) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, ev := range r.events {
		if ev.Type == typ {
			n++
		}
	}
	return n
}

// report returns what the engine says of a server.
func (r *rig) report(s *faultserver.Server) fetch.SourceReport {
	r.t.Helper()
	for _, rep := range r.Sources() {
		if rep.URI == s.URL() {
			return rep
		}
	}
	r.t.Fatalf("the engine never met %s", s.URL())
	return fetch.SourceReport{}
}

// serve starts a server; it ends with the test.
func serve(t testing.TB, opts faultserver.Options) *faultserver.Server {
	t.Helper()
	s, err := faultserver.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// routes yields the blob's place at each server.
func routes(b faultserver.Blob, servers ...*faultserver.Server) fetch.Routes {
	return func(yield func(transport.Route, error) bool) {
		for _, s := range servers {
			if !yield(transport.Route{URI: s.BlobURL(b.Digest), Source: s.URL(), Origin: "test"}, nil) {
				return
			}
		}
	}
}

func describe(b faultserver.Blob) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: b.Digest, Size: b.Size}
}

// fetch brings b in from the servers and checks that the store has its very
// bytes.
func (r *rig) fetch(b faultserver.Blob, servers ...*faultserver.Server) *fetch.Result {
	r.t.Helper()
	result, err := r.Fetch(context.Background(), describe(b), routes(b, servers...))
	if err != nil {
		r.t.Fatalf("fetch: %v", detail(err))
	}
	r.check(b)
	var n int64
	for _, s := range result.Served {
		n += s.Length
	}
	if !result.Cached && n+result.Resumed != b.Size {
		r.t.Errorf("served %d and resumed %d of %d bytes", n, result.Resumed, b.Size)
	}
	return result
}

// refuse expects the fetch to fail with kind and to leave nothing unverified.
func (r *rig) refuse(kind error, b faultserver.Blob, servers ...*faultserver.Server) *fetch.Error {
	r.t.Helper()
	_, err := r.Fetch(context.Background(), describe(b), routes(b, servers...))
	var e *fetch.Error
	if !asError(err, &e) || e.Kind != kind {
		r.t.Fatalf("got %v, want an error that is %v", detail(err), kind)
	}
	if _, err := r.store.Stat(b.Digest); err == nil {
		r.t.Errorf("the store has a blob that failed: %v", kind)
	}
	return e
}

func (r *rig) check(b faultserver.Blob) {
	r.t.Helper()
	got, err := r.store.OpenBlob(b.Digest)
	if err != nil {
		r.t.Fatal(err)
	}
	defer got.Close()
	sameBytes(r.t, got, io.NewSectionReader(b.Content, 0, b.Size))
}

func sameBytes(t testing.TB, got, want io.Reader) {
	t.Helper()
	g, w := make([]byte, 1<<20), make([]byte, 1<<20)
	for off := int64(0); ; {
		n, gerr := io.ReadFull(got, g)
		m, werr := io.ReadFull(want, w)
		if n != m || !bytes.Equal(g[:n], w[:m]) {
			t.Fatalf("the content differs in the %d bytes from %d on", max(n, m), off)
		}
		if gerr != nil || werr != nil {
			if (gerr == nil) != (werr == nil) {
				t.Fatalf("lengths differ at %d: %v, %v", off+int64(n), gerr, werr)
			}
			return
		}
		off += int64(n)
	}
}

func detail(err error) string {
	var e *fetch.Error
	if asError(err, &e) {
		return e.Detail()
	}
	return fmt.Sprint(err)
}

// leftovers lists the ingests that are still there.
func (r *rig) leftovers() []store.IngestInfo {
	r.t.Helper()
	var out []store.IngestInfo
	for i, err := range r.store.Ingests() {
		if err != nil {
			r.t.Fatal(err)
		}
		out = append(out, i)
	}
	return out
}

func sourcesOf(result *fetch.Result) []string {
	var out []string
	for _, s := range result.BySource() {
		out = append(out, s.Source)
	}
	slices.Sort(out)
	return out
}

func mentions(e *fetch.Error, s *faultserver.Server, words ...string) bool {
	for _, se := range e.Sources {
		if se.URI != s.URL() {
			continue
		}
		for _, w := range words {
			if !strings.Contains(se.Error(), w) {
				return false
			}
		}
		return true
	}
	return false
}

// names reports whether the reason given for a source is the expected one. On a
// machine so busy that an answer takes seconds, that is one too.
func names(reason, want string) bool {
	return strings.Contains(reason, want) || strings.HasPrefix(reason, "stalled: ")
}

const mb = 1 << 20

func soon(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	context.AfterFunc(ctx, cancel)
	return ctx
}
