package fetch

import (
	"context"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/waybill-project/waybill/store"
	"github.com/waybill-project/waybill/transport"
)

// Options configure an [Engine]. Transport and Store are required; the zero
// value of everything else is a good default.
type Options struct {
	// Transport reads ranges; commonly a [transport.Schemes].
	Transport transport.Transport
	// Store keeps partials and takes what was verified.
	Store *store.Store
	// Observe, when set, is told what happens. It is called from many
	// goroutines and must be quick. An event may come a moment after another
	// that it happened before; its Time is right.
	Observe func(Event)

	// Pieces, when set, is asked for the hashes of each large blob's pieces,
	// beside its download. A lie is then found at the piece, and what an
	// interrupted fetch left is known to be right or not as soon as it is
	// read; readers of the growing blob are given checked pieces.
	Pieces FindPieces

	// MaxConnections bounds the connections to one source for one blob.
	// More than one is only used while it adds throughput. Default 6.
	MaxConnections int
	// FirstByte is how long a source that is the only one may take to begin
	// to answer. With others at hand it is given up much sooner. Default 20 s.
	FirstByte time.Duration
	// Stall is how long a source that is the only one may pause while it
	// sends. With others at hand its work is given to them much sooner.
	// Default 20 s.
	Stall time.Duration
	// MinRate is the least bytes per second a source that is the only one
	// must keep up over half a minute. Default 512.
	MinRate int64
}

func (o *Options) setDefaults() {
	if o.Observe == nil {
		o.Observe = func(Event) {}
	}
	if o.MaxConnections <= 0 {
		o.MaxConnections = 6
	}
	if o.FirstByte <= 0 {
		o.FirstByte = 20 * time.Second
	}
	if o.Stall <= 0 {
		o.Stall = 20 * time.Second
	}
	if o.MinRate <= 0 {
		o.MinRate = 512
	}
}

// Engine fetches blobs, each from all of its sources at once, into a store. It
// remembers over its life what it learns about sources. Safe for concurrent
// use.
type Engine struct {
	opts Options

	mu        sync.Mutex
	transfers map[blobKey]*transfer
	sources   map[sourceKey]*source
	order     []*source // in the order they became known
}

// blobKey says what a transfer is of. Descriptors that differ in size are brought
// in apart: at most one of them is right, and it must not suffer for the other.
type blobKey struct {
	digest digest.Digest
	size   int64
}

// New returns an engine.
func New(opts Options) *Engine {
	opts.setDefaults()
	return &Engine{
		opts:      opts,
		transfers: map[blobKey]*transfer{},
		sources:   map[sourceKey]*source{},
	}
}

// Routes is what a locator yields for one blob: places, as it learns of them.
// An error concerns one place of knowledge and doesn't end the sequence's use.
type Routes = iter.Seq2[transport.Route, error]

// Result says how a blob came to be in the store.
type Result struct {
	Digest digest.Digest
	Size   int64
	// Cached: it was there already, or another process committed it.
	Cached bool
	// Resumed is how many of its bytes an earlier, interrupted fetch left.
	Resumed int64
	// Served lists who served which range in this fetch, in order of offset.
	// Without the resumed ranges where they turned out right.
	Served []Served
}

// Served is a range of a blob and the source that served it.
type Served struct {
	Source         string
	Offset, Length int64
}

// BySource sums Served: sources in order of first appearance, and bytes.
func (r *Result) BySource() []Served {
	var out []Served
	for _, s := range r.Served {
		i := slices.IndexFunc(out, func(o Served) bool { return o.Source == s.Source })
		if i < 0 {
			out = append(out, Served{Source: s.Source, Offset: s.Offset})
			i = len(out) - 1
		}
		out[i].Length += s.Length
	}
	return out
}

// Fetch brings the blob desc into the store and returns how. It is [Engine.Start]
// and [Task.Wait].
func (e *Engine) Fetch(ctx context.Context, desc ocispec.Descriptor, routes Routes) (*Result, error) {
	return e.Start(ctx, desc, routes).Wait()
}

// Start begins to bring the blob desc into the store, reading it from the
// routes as they become known, or joins the fetch of it that is under way in
// this engine. desc.Size may be -1 where it isn't known; the sources are then
// asked for it. Ending ctx gives up this caller's interest; the fetch stops,
// keeping what it has, when nobody's is left.
//
// The blob is in the store when Wait returns nil: every byte verified against
// desc.Digest, synced to disk. Errors of Wait are an [*Error], a
// [*store.SpaceError], or ctx's.
func (e *Engine) Start(ctx context.Context, desc ocispec.Descriptor, routes Routes) *Task {
	e.mu.Lock()
	defer e.mu.Unlock()
	key := blobKey{desc.Digest, desc.Size}
	t := e.transfers[key]
	if t == nil || !t.join(routes) {
		t = newTransfer(e, desc, context.WithoutCancel(ctx))
		t.join(routes)
		e.transfers[key] = t
		go func() {
			t.run()
			e.mu.Lock()
			defer e.mu.Unlock()
			if e.transfers[key] == t {
				delete(e.transfers, key)
			}
		}()
	}
	return newTask(ctx, t)
}

// sourceKey tells sources apart. A place that a stranger's document named is
// another than the same place named by the user: it may be refused what that is
// allowed, and must not spoil it.
type sourceKey struct {
	shown  string
	remote transport.Remote
}

// source returns what is known of the route's source. Passwords are left out of
// keys, which are shown and written to disk.
func (e *Engine) source(r transport.Route) *source {
	key := sourceKey{transport.Redact(r.SourceKey()), r.Remote}
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.sources[key]
	if s == nil {
		s = &source{key: key.shown, origin: r.Origin}
		e.sources[key] = s
		e.order = append(e.order, s)
	}
	return s
}

// credit notes bytes that were kept of a source: of those of one name, of the
// one that sent the most.
func (e *Engine) credit(served Served) {
	e.mu.Lock()
	var by *source
	most := int64(-1)
	for _, s := range e.order {
		if s.key == served.Source {
			if n := s.sent(); n > most {
				by, most = s, n
			}
		}
	}
	e.mu.Unlock()
	if by == nil { // nobody was asked: the descriptor held the content
		by = e.source(transport.Route{URI: served.Source})
	}
	by.keep(served.Length)
}

// Sources reports on every source the engine has met, in the order it did.
func (e *Engine) Sources() []SourceReport {
	e.mu.Lock()
	order := slices.Clone(e.order)
	e.mu.Unlock()
	now := time.Now()
	out := make([]SourceReport, len(order))
	for i, s := range order {
		out[i] = s.report(now)
	}
	return out
}

// Progress is how far a blob has come.
type Progress struct {
	Digest    digest.Digest
	Size      int64 // -1 when not known yet
	Done      int64 // bytes on disk
	Resumed   int64 // of these, left by an earlier fetch
	Repairing bool  // the digest was wrong; the liar is being looked for
}

func (e *Engine) event(typ EventType, d digest.Digest, src *source, format string, args ...any) {
	e.opts.Observe(newEvent(typ, d, src, format, args...))
}
