package fetch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/waybill-project/waybill/store"
	"github.com/waybill-project/waybill/transport"
)

// transfer brings one blob into the store. Its run goroutine owns the order of
// things; lanes (connections) read and write; the hasher follows the prefix.
type transfer struct {
	e      *Engine
	desc   ocispec.Descriptor
	size   int64 // desc.Size, or what sources said; fixed before bytes flow
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
	result *Result // with err, set before done is closed
	err    error

	mu   sync.Mutex
	work *sync.Cond // for lanes: ranges to claim may have appeared
	data *sync.Cond // for readers and the hasher: the prefix may have grown

	// Who wants it, and who may have it.
	interest int
	left     bool // nobody wants it any more
	locating int  // locators still at work
	members  []*member
	locErrs  []error
	news     chan struct{} // a member joined, or a locator ended
	dataLied *SourceError  // what was wrong with the content in the descriptor

	// Events that happened under mu, which no observer is called with.
	untold []Event

	// The bytes. need ⊇ unclaimed; have and need never overlap, and what is
	// in neither is being written.
	ingest    *store.Ingest
	have      ledger
	prefix    int64
	need      spans
	unclaimed spans
	claims    map[*claim]struct{}
	writing   int
	local     error // this machine's fault: disk full, …; ends the transfer
	hash      hasher
	readers   map[*reader]struct{}
	resumed   int64
	finished  bool
	lastBytes time.Time // when any came from anybody

	// The download under way.
	plan      plan
	over      bool // lanes are to end
	lanes     sync.WaitGroup
	kick      chan struct{} // the controller is to look at once
	repairing bool
	repair    *repair
	check     *pieceCheck // nil where no hashes of pieces are known
	judged    bool        // the digest of all of it was computed
}

// member is a source in its role for one blob.
type member struct {
	src   *source
	route transport.Route

	met     bool  // candidates has looked at it
	gone    bool  // not to be asked again for this blob
	doubted bool  // a table of piece hashes and another source speak against it
	lied    bool  // convicted over this blob
	last    error // the last failure
	asked   bool

	turn    time.Duration // how long it may let newcomers wait; see transport.Queuer
	working bool          // it brought bytes, and has not failed since
	stalls  int           // how often it stood still since it last brought any
	serial  bool          // it refuses a request while it answers another
	chunks  chunks        // how it keeps the blob, as far as it said
	lanes   int           // connections in use
	width   int           // connections allowed
	trial   trial         // whether one more connection helps
}

func newTransfer(e *Engine, desc ocispec.Descriptor, ctx context.Context) *transfer {
	t := &transfer{
		e: e, desc: desc, size: desc.Size,
		done: make(chan struct{}), news: make(chan struct{}, 1), kick: make(chan struct{}, 1),
		claims: map[*claim]struct{}{}, readers: map[*reader]struct{}{},
		over: true,
	}
	t.ctx, t.cancel = context.WithCancel(ctx)
	t.work, t.data = sync.NewCond(&t.mu), sync.NewCond(&t.mu)
	return t
}

// join adds a caller's interest, and the routes it knows of; false if the
// transfer is past joining.
func (t *transfer) join(routes Routes) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left || t.finished {
		return false
	}
	t.interest++
	if routes != nil {
		t.locating++
		go t.locate(routes)
	}
	return true
}

func (t *transfer) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.interest--
	if t.interest == 0 && !t.finished {
		t.left = true
		t.cancel()
		t.data.Broadcast()
	}
}

func (t *transfer) abandoned() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.left
}

// locate takes in a locator's routes as it yields them.
func (t *transfer) locate(routes Routes) {
	for r, err := range routes {
		if t.ctx.Err() != nil {
			break
		}
		t.addRoute(r, err)
	}
	t.mu.Lock()
	t.locating--
	t.mu.Unlock()
	signal(t.news)
}

func (t *transfer) addRoute(r transport.Route, err error) {
	if err != nil {
		t.mu.Lock()
		t.locErrs = append(t.locErrs, err)
		t.mu.Unlock()
		return
	}
	src := t.e.source(r)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.members {
		if m.route.URI == r.URI && m.route.Remote == r.Remote {
			return
		}
	}
	m := &member{src: src, route: r, width: 1}
	if q, ok := t.e.opts.Transport.(transport.Queuer); ok {
		m.turn = q.Turn(r)
	}
	t.members = append(t.members, m)
	signal(t.news)
	signal(t.kick)
}

// signal wakes whoever waits on ch, or will next.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// say enters an event while t.mu is held. It is told with the next tell: an
// observer may hold a lock of its own that somebody else holds who asks for
// the transfer's progress.
func (t *transfer) say(typ EventType, src *source, format string, args ...any) {
	t.untold = append(t.untold, newEvent(typ, t.desc.Digest, src, format, args...))
}

// tell passes on what was said.
func (t *transfer) tell() {
	t.mu.Lock()
	events := t.untold
	t.untold = nil
	t.mu.Unlock()
	for _, ev := range events {
		t.e.opts.Observe(ev)
	}
}

// run brings the blob in and publishes the outcome.
func (t *transfer) run() {
	for {
		result, err := t.bring()
		t.tell()
		if t.end(result, err) {
			break
		}
		t.reset()
	}
	t.cancel()
	close(t.done)
}

// end enters the outcome. It reports false when it isn't final, because the
// blob can't be had and somebody joined meanwhile who knows another source.
func (t *transfer) end(result *Result, err error) bool {
	if err == nil {
		for _, s := range result.Served {
			t.e.credit(s)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil && t.left {
		err = context.Canceled
	}
	if t.ctx.Err() == nil && errors.As(err, new(*Error)) && t.unmet() {
		return false
	}
	t.result, t.err, t.finished = result, err, true
	if result != nil {
		t.size = result.Size
	}
	t.data.Broadcast()
	return true
}

// unmet reports whether there is, or may come, a source that nobody has looked
// at. t.mu is held.
func (t *transfer) unmet() bool {
	return t.locating > 0 || slices.ContainsFunc(t.members, func(m *member) bool { return !m.met })
}

// reset makes everything as it was before the first byte. No lane is left.
func (t *transfer) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for r := range t.readers {
		r.rewound = r.rewound || r.seen > 0
	}
	t.size = t.desc.Size
	t.have, t.need, t.prefix, t.resumed, t.hash = nil, nil, 0, 0, hasher{}
	t.ingest, t.repair, t.plan, t.check, t.judged = nil, nil, plan{}, nil, false
	t.data.Broadcast()
}

func (t *transfer) bring() (*Result, error) {
	d := t.desc.Digest
	if err := checkDigest(d); err != nil {
		return nil, err
	}
	if r, err := t.cached(); r != nil || err != nil {
		return r, err
	}
	if r, err := t.embedded(); r != nil || err != nil {
		return r, err
	}
	t.e.event(EventStarted, d, nil, "")
	if t.desc.Size < 0 {
		return t.sizeUnknown()
	}
	return t.sizeKnown()
}

func (t *transfer) sizeKnown() (*Result, error) {
	if t.size <= smallMax {
		return t.small()
	}
	return t.large()
}

// cached answers from the store; with neither a result nor an error where the
// blob isn't there.
func (t *transfer) cached() (*Result, error) {
	d := t.desc.Digest
	n, err := t.e.opts.Store.Stat(d)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if t.desc.Size >= 0 && n != t.desc.Size {
		return nil, fmt.Errorf("blob %s: the store has %d bytes of it, the descriptor says %d", d, n, t.desc.Size)
	}
	t.e.event(EventCached, d, nil, "%d bytes in the store", n)
	return &Result{Digest: d, Size: n, Cached: true}, nil
}

// embedded takes the content from the descriptor (image-spec, descriptor.md,
// "data") or, for an empty blob, from nowhere; no source is asked. It returns
// neither a result nor an error when the content isn't there. Data that doesn't
// match the digest counts as one more source that lied.
func (t *transfer) embedded() (*Result, error) {
	d, content := t.desc.Digest, t.desc.Data
	if t.desc.Size == 0 {
		content = nil
	} else if t.desc.Size > 0 && t.desc.Size != int64(len(content)) {
		return nil, nil
	}
	if sum := sumOf(d, content); sum != d {
		lie := SourceError{"data:", fmt.Errorf("the %d bytes in the descriptor have digest %s", len(content), sum)}
		if t.desc.Size == 0 {
			return nil, &Error{Kind: ErrVerification, Digest: d, Sources: []SourceError{lie}}
		}
		if len(content) > 0 {
			t.mu.Lock()
			t.dataLied = &lie
			t.mu.Unlock()
		}
		return nil, nil
	}
	if err := t.e.opts.Store.Put(d, content); err != nil {
		return nil, err
	}
	t.e.event(EventVerified, d, nil, "embedded in the descriptor")
	r := &Result{Digest: d, Size: int64(len(content))}
	if r.Size > 0 {
		r.Served = []Served{{Source: "data:", Length: r.Size}}
	}
	return r, nil
}

// report tells how far the transfer has come.
func (t *transfer) report() Progress {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := Progress{Digest: t.desc.Digest, Size: t.size, Resumed: t.resumed, Repairing: t.repairing}
	for _, e := range t.have {
		r.Done += e.len()
	}
	return r
}

// failure says why the blob can't be had, from what each source answered.
func (t *transfer) failure() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := &Error{Digest: t.desc.Digest}
	var lied, liar, missing, refused, other int
	for _, m := range t.members {
		m.src.mu.Lock()
		quarantined, forbidden, reason := m.src.quarantined, m.src.forbidden, m.src.reason
		m.src.mu.Unlock()
		err := m.last
		switch {
		case m.lied:
			lied++
			if quarantined {
				err = errors.New(reason)
			}
		case quarantined:
			liar++
			err = errors.New("not asked: it " + reason)
		case errors.Is(err, transport.ErrNotFound):
			missing++
		case errors.Is(err, transport.ErrRefused):
			refused++
		case err == nil && forbidden: // over another blob
			refused++
			err = errors.New("not asked: " + reason)
		case err == nil:
			other++
			err = errors.New("not asked: " + orElse(reason, "no answer was waited for"))
		default:
			other++
		}
		e.Sources = append(e.Sources, SourceError{m.src.key, err})
	}
	if t.dataLied != nil {
		lied++
		e.Sources = append(e.Sources, *t.dataLied)
	}
	for _, err := range t.locErrs {
		other++
		e.Sources = append(e.Sources, SourceError{"locator", err})
	}
	switch {
	case lied > 0:
		e.Kind = ErrVerification
	case other > 0:
		e.Kind = ErrUnavailable
	case liar > 0:
		e.Kind = ErrVerification
	case refused > 0:
		e.Kind = transport.ErrRefused
	default:
		e.Kind = ErrNotFound
	}
	return e
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// candidates returns the members that may be asked now, and whether more may
// come later: from a locator, or after a back-off.
func (t *transfer) candidates(now time.Time) (ready []*member, later bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	later = t.locating > 0
	for _, m := range t.members {
		m.met = true
		if !t.allowed(m) {
			continue
		}
		switch ok, wait := m.src.usable(now); {
		case !ok:
			m.gone = true
		case wait > 0:
			later = true
		default:
			ready = append(ready, m)
		}
	}
	return ready, later
}
