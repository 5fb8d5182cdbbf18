package pull

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/waybill-project/waybill/fetch"
	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/locate"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/store"
	"github.com/waybill-project/waybill/transport"
)

// Puller pulls images. Its fields are set once; Store, Fetch.Transport and
// Names are required.
type Puller struct {
	Store *store.Store
	// Fetch configures the engine; Store and Observe are filled in.
	Fetch fetch.Options
	// Names resolves names.
	Names resolve.Resolver
	// Locate returns the locator of the places a name itself speaks of, nil
	// where it speaks of none. By default that is [locate.FromName], and nil for
	// digests and for names that somebody publishes.
	Locate func(n name.Name) (locate.Locator, error)
	// Locators are asked about every blob, after the places of the name and of
	// the request.
	Locators []locate.Locator
	// Further, when set, returns a locator that yields what the one of all
	// others does, and what becomes known by that.
	Further func(locate.Locator) locate.Locator
	// Parallel is how many blobs are fetched at once. Default 4.
	Parallel int
	// Observe, when set, is told what happens, quickly and from many
	// goroutines.
	Observe func(Event)
}

// Request says what of an image is wanted, and from where.
type Request struct {
	// Platform says what of an index is wanted. The zero value is the host's.
	Platform image.PlatformFilter
	// From are further sources for every blob.
	From []locate.Locator
	// Hints, when set, is asked what else is known of the image, once its
	// digest is: what waybills say. ctx lasts as long as somebody may ask them.
	Hints func(ctx context.Context, image digest.Digest) []Hint
	// Within, when set, is read of the indexes of the image. What it reads is a
	// [locate.Locator] of everything below, or nil.
	Within *image.Extension
	// Elsewhere says that Hints know of other places, which the user named too:
	// with a digest in its name the image is pulled even if its origin is gone.
	Elsewhere bool
	// Offline forbids asking anybody: the image must be in the store.
	Offline bool
	// Digest, when set, makes this a pull of one blob, whatever it is, rather
	// than of an image; Size is its size or -1.
	Digest digest.Digest
	Size   int64
}

// Hint is what a document says of where an image's blobs are.
type Hint struct {
	Locator locate.Locator
	Pieces  fetch.FindPieces
}

// Session is a pull under way.
type Session struct {
	p       *Puller
	req     Request
	name    name.Name
	engine  *fetch.Engine
	sources locate.Locator
	hints   []Hint // set before the first blob is fetched
	lease   *store.Lease
	ctx     context.Context
	cancel  context.CancelFunc
	done    chan struct{}
	err     error // set before done is closed

	closed   sync.Once
	closeErr error

	mu      sync.Mutex
	record  Record
	entries []*entry
	byD     map[digest.Digest]*entry
	named   map[string]bool // sources that were told of
	phase   string
	top     *image.Document // the manifest, where just one was wanted
	config  ocispec.Descriptor
	walked  chan struct{} // closed when the manifest is known, or never will be
}

// entry is one blob of the pull.
type entry struct {
	desc    ocispec.Descriptor
	role    image.Role
	started chan struct{}
	task    *fetch.Task // nil before the fetch, and once the store has the blob
	result  *fetch.Result
	err     error
}

// Start begins to pull the image n. The session ends with ctx; Wait must be
// called. The error is only about what can be seen without asking anybody.
func (p *Puller) Start(ctx context.Context, n name.Name, req Request) (*Session, error) {
	s, err := p.prepare(ctx, n, req)
	if err != nil {
		return nil, err
	}
	go s.run()
	return s, nil
}

// prepare returns a session that doesn't run yet. Its lease is to be released
// and its cancel to be called.
func (p *Puller) prepare(ctx context.Context, n name.Name, req Request) (*Session, error) {
	abs, err := n.Absolute()
	if err != nil {
		return nil, err
	}
	s := &Session{
		p: p, req: req, name: abs, byD: map[digest.Digest]*entry{}, named: map[string]bool{},
		done: make(chan struct{}), walked: make(chan struct{}), phase: "resolving",
	}
	s.record = Record{Pull: store.NewPullID(), Name: abs.String(), Platform: req.Platform.String(), Started: time.Now(),
		Blobs: []Blob{}, Sources: []Source{}, Events: []Event{}}
	locators := slices.Clone(req.From)
	own := p.Locate
	if own == nil {
		own = located
	}
	if l, err := own(abs); err != nil {
		return nil, err
	} else if l != nil {
		locators = append([]locate.Locator{l}, locators...)
	}
	locators = append(locators, p.Locators...)
	if req.Offline {
		locators = nil
	}
	s.sources = locate.All(locators...)
	opts := p.Fetch
	opts.Store = p.Store
	opts.Observe = func(ev fetch.Event) { s.note(Event(ev)) }
	if req.Hints != nil {
		opts.Pieces = s.findPieces
	}
	s.engine = fetch.New(opts)
	if s.lease, err = p.Store.Lease(s.record.Pull); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	return s, nil
}

// located is Puller.Locate where none is set.
func located(n name.Name) (locate.Locator, error) {
	if n.Kind == name.Digest || n.IsPublished() {
		return nil, nil
	}
	return locate.FromName(n, "name")
}

// Wait returns the record of the pull once it has ended, and why it failed.
// Every blob of the image is then in the store, verified, and the name is kept
// as a ref; or the error is a [*fetch.Error], a [*store.SpaceError], one of
// package image about what the documents say, or ctx's. The record is written,
// and the blobs are no longer held against garbage collection, when Wait is
// first called: work beside the pull is to have ended by then.
func (s *Session) Wait() (*Record, error) {
	<-s.done
	s.closed.Do(func() {
		s.finish()
		s.closeErr = errors.Join(s.write(), s.lease.Release())
	})
	return &s.record, cmp.Or(s.err, s.closeErr)
}

// note enters an event in the record and passes it on.
func (s *Session) note(ev Event) {
	if ev.Time.IsZero() {
		ev.Time = time.Now()
	}
	ev.Source = transport.Redact(ev.Source)
	s.mu.Lock()
	if len(s.record.Events) < maxEvents {
		s.record.Events = append(s.record.Events, ev)
	} else {
		s.record.EventsDropped++
	}
	s.mu.Unlock()
	if s.p.Observe != nil {
		s.p.Observe(ev)
	}
}

// Note enters in the record what somebody beside the engine has to tell: who
// resolves the name, reads documents, unpacks. what is one of the events of this
// package.
func (s *Session) Note(what fetch.EventType, source, text string) {
	s.note(Event{Type: what, Source: source, Detail: text})
}

// found tells of a source that is named for the first time.
func (s *Session) found(r transport.Route) {
	source := cmp.Or(r.Source, r.URI)
	s.mu.Lock()
	known := s.named[source] || len(s.named) >= maxFound
	if !known {
		s.named[source] = true
	}
	s.mu.Unlock()
	if !known {
		s.note(Event{Type: EventFound, Source: source, Detail: fmt.Sprintf("named by %s, priority %d", r.Origin, r.Priority)})
	}
}

func (s *Session) run() {
	defer close(s.done)
	defer s.cancel()
	err := s.pull()
	s.mu.Lock()
	if err != nil {
		s.phase = "failed"
		s.record.Error = firstLine(err)
	} else {
		s.phase = "done"
	}
	s.record.Ended = time.Now()
	s.mu.Unlock()
	s.err = err
	s.closeWalked()
}

func (s *Session) closeWalked() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.walked:
	default:
		close(s.walked)
	}
}

// pull does the work: name → descriptor → documents → blobs → ref.
func (s *Session) pull() error {
	if s.req.Digest != "" {
		s.consult(s.ctx, s.req.Digest)
		e, err := s.enter(ocispec.Descriptor{Digest: s.req.Digest, Size: s.req.Size}, image.RoleOther)
		if err != nil {
			return err
		}
		s.setPhase("fetching")
		s.begin(e, &image.Node{Descriptor: e.desc})
		if err := s.await(e); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.record.Digest, s.record.Size = s.req.Digest, e.result.Size
		return nil
	}
	root, err := s.resolve()
	if err != nil {
		return err
	}
	s.consult(s.ctx, root.Digest)
	s.setPhase("fetching")
	root, err = s.fetchRoot(root)
	if err != nil {
		return err
	}
	if err := s.walk(root); err != nil {
		return err
	}
	return s.p.Store.PutRef(resolve.Ref(s.name, bare(root), *s.record.By))
}

// consult asks what else is known of an image, for the blobs fetched from now on.
func (s *Session) consult(ctx context.Context, image digest.Digest) {
	if s.req.Hints == nil || s.req.Offline {
		return
	}
	s.hints = s.req.Hints(ctx, image)
	locators := []locate.Locator{s.sources}
	for _, h := range s.hints {
		locators = append(locators, h.Locator)
	}
	s.sources = locate.All(locators...)
}

// findPieces asks the hints, in order, for the hashes of a blob's pieces.
func (s *Session) findPieces(ctx context.Context, desc ocispec.Descriptor) (fetch.Pieces, string, error) {
	var failures []error
	for _, h := range s.hints {
		pieces, by, err := h.Pieces(ctx, desc)
		if pieces != nil {
			return pieces, by, nil
		}
		failures = append(failures, err)
	}
	return nil, "", errors.Join(failures...)
}

// bare returns what a ref needs of a descriptor.
func bare(d ocispec.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, ArtifactType: d.ArtifactType}
}

func (s *Session) setPhase(phase string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase = phase
}

// resolve asks what the name means, or looks it up where nobody may be asked.
func (s *Session) resolve() (ocispec.Descriptor, error) {
	ref, err := s.p.Store.Ref(s.name.String())
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return ocispec.Descriptor{}, err
	}
	var known ocispec.Descriptor
	if err == nil {
		if err := s.lease.Hold(ref.Descriptor.Digest); err != nil {
			return ocispec.Descriptor{}, err
		}
		if _, err := s.p.Store.Stat(ref.Descriptor.Digest); err == nil {
			known = ref.Descriptor
		}
	}
	r, err := s.ask(known)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	by := r.By // and not what came with it, which may be large
	s.mu.Lock()
	s.record.By = &by
	s.mu.Unlock()
	if len(r.Hints) > 0 && !s.req.Offline {
		s.sources = locate.All(append([]locate.Locator{s.sources}, r.Hints...)...)
	}
	if err := s.readAbove(r); err != nil {
		return ocispec.Descriptor{}, err
	}
	for _, by := range r.By.All() {
		how := "by " + by.Resolver
		if by.Time.Before(s.record.Started) {
			how += ", on an answer of " + by.Time.UTC().Format(time.RFC3339)
		}
		s.note(Event{Type: EventResolved, Digest: r.Descriptor.Digest, Source: by.URI, Detail: how})
	}
	if err := s.lease.Hold(r.Descriptor.Digest); err != nil {
		return ocispec.Descriptor{}, err
	}
	if r.Content != nil {
		return r.Descriptor, s.keep(r)
	}
	return r.Descriptor, nil
}

// ask has a resolver answer. Where the name holds a digest, an origin that is
// down or misbehaves is no reason to fail as long as there are other sources.
func (s *Session) ask(known ocispec.Descriptor) (resolve.Resolution, error) {
	if s.req.Offline {
		return resolve.Store{Refs: s.p.Store}.Resolve(s.ctx, s.name, known)
	}
	retry := resolve.Retry{Resolver: s.p.Names, Timeout: s.p.Fetch.FirstByte, Observe: func(err error, wait time.Duration) {
		s.Note(EventWarning, "", fmt.Sprintf("asking again in %v: %v", wait, err))
	}}
	fallback := s.name.Digest != "" && (len(s.req.From) > 0 || s.req.Elsewhere)
	if fallback {
		retry.Attempts = 1
	}
	r, err := retry.Resolve(s.ctx, s.name, known)
	if err != nil && fallback && s.ctx.Err() == nil {
		s.Note(EventWarning, "", fmt.Sprintf("the origin doesn't give the manifest; asking the other sources: %v", err))
		return resolve.Digests{}.Resolve(s.ctx, s.name, known)
	}
	return r, err
}

// keep puts a document that came with the answer into the store.
func (s *Session) keep(r resolve.Resolution) error {
	e, err := s.enter(r.Descriptor, image.RoleOther)
	if err != nil {
		return err
	}
	defer close(e.started)
	e.result = &fetch.Result{Digest: r.Descriptor.Digest, Size: r.Descriptor.Size}
	if n, err := s.p.Store.Stat(r.Descriptor.Digest); err == nil && n == r.Descriptor.Size {
		e.result.Cached = true
		return nil
	}
	e.result.Served = []fetch.Served{{Source: r.By.URI, Length: r.Descriptor.Size}}
	return s.p.Store.Put(r.Descriptor.Digest, r.Content)
}

// fetchRoot makes sure of the root document where only its digest is known,
// and completes its descriptor from the content.
func (s *Session) fetchRoot(root ocispec.Descriptor) (ocispec.Descriptor, error) {
	if root.Size < 0 {
		e, err := s.enter(root, image.RoleOther)
		if err != nil {
			return root, err
		}
		s.begin(e, &image.Node{Descriptor: root})
		if err := s.await(e); err != nil {
			return root, err
		}
		root.Size = e.result.Size
		s.mu.Lock()
		e.desc.Size = root.Size
		s.mu.Unlock()
	}
	if root.MediaType == "" {
		content, err := s.document(s.ctx, image.Node{Descriptor: root})
		if err != nil {
			return root, err
		}
		root.MediaType, err = image.DetectMediaType(content)
		content.Close()
		if err != nil {
			return root, fmt.Errorf("%s: %w", s.name.Familiar(), err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record.Digest, s.record.MediaType, s.record.Size = root.Digest, root.MediaType, root.Size
	if e := s.byD[root.Digest]; e != nil {
		e.desc.MediaType = root.MediaType
	}
	return root, nil
}

func firstLine(err error) string {
	text := err.Error()
	for i, r := range text {
		if r == '\n' {
			return text[:i]
		}
	}
	return text
}
