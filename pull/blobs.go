package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/waybill-project/waybill/fetch"
	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/store"
	"github.com/waybill-project/waybill/transport"
)

// enter takes a blob on, once, and holds it against garbage collection.
func (s *Session) enter(desc ocispec.Descriptor, role image.Role) (*entry, error) {
	if err := s.lease.Hold(desc.Digest); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.byD[desc.Digest]; e != nil {
		return e, nil
	}
	e := &entry{desc: desc, role: role, started: make(chan struct{})}
	s.byD[desc.Digest] = e
	s.entries = append(s.entries, e)
	return e, nil
}

// begin starts the blob's fetch, as that of n. It is called once for an entry.
func (s *Session) begin(e *entry, n *image.Node) {
	ctx := s.ctx
	var routes fetch.Routes
	if !s.req.Offline {
		located := s.locate(ctx, n)
		routes = func(yield func(transport.Route, error) bool) {
			if size, err := s.p.Store.Stat(e.desc.Digest); err == nil && (e.desc.Size < 0 || size == e.desc.Size) {
				return // and nobody is asked where it may be
			}
			for r, err := range located {
				if err != nil {
					s.Note(EventIgnored, "", err.Error())
				} else {
					s.found(r)
				}
				if !yield(r, err) {
					return
				}
			}
		}
	}
	task := s.engine.Start(ctx, e.desc, routes)
	s.mu.Lock()
	e.task = task
	s.mu.Unlock()
	close(e.started)
}

// await waits for a blob whose fetch has begun.
func (s *Session) await(e *entry) error {
	s.mu.Lock()
	task := e.task
	s.mu.Unlock()
	if task == nil {
		return nil // it came with the answer to the name
	}
	result, err := task.Wait()
	if err != nil && s.req.Offline && errors.Is(err, fetch.ErrNotFound) {
		err = &fetch.Error{Kind: fetch.ErrOffline, Digest: e.desc.Digest}
	}
	s.mu.Lock()
	e.result, e.err = result, err
	if err == nil {
		e.task = nil // the store has it now, and an image may be of very many blobs
	}
	s.mu.Unlock()
	return err
}

// document fetches a document, or config, and opens its verified content.
func (s *Session) document(_ context.Context, n image.Node) (image.Content, error) {
	e, err := s.enter(n.Descriptor, image.RoleOther)
	if err != nil {
		return nil, err
	}
	select {
	case <-e.started:
	default:
		s.begin(e, &n)
		if err := s.await(e); err != nil {
			return nil, err
		}
	}
	return s.p.Store.OpenDocument(n.Descriptor.Digest)
}

// nodes are the blobs of the image that are wanted.
func (s *Session) nodes(ctx context.Context, root ocispec.Descriptor) iter.Seq2[image.Node, error] {
	return image.Walk(ctx, root, s.document, image.WalkOptions{Platform: s.req.Platform, Extension: s.req.Within})
}

// walk goes through the image and brings in every blob, several at a time, in
// the order good for unpacking.
func (s *Session) walk(root ocispec.Descriptor) error {
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	parallel := s.p.Parallel
	if parallel <= 0 {
		parallel = 4
	}
	free := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	defer s.closeWalked()
	var walkErr error
	space := s.newSpace()
	for node, err := range s.nodes(ctx, root) {
		if err != nil {
			walkErr = err
			break
		}
		e, err := s.enter(node.Descriptor, node.Role)
		if err != nil {
			walkErr = err
			break
		}
		s.mu.Lock()
		e.role, e.desc.MediaType = node.Role, node.Descriptor.MediaType
		s.mu.Unlock()
		if node.Document != nil {
			if walkErr = s.plan(node, space); walkErr != nil {
				break
			}
			continue
		}
		select {
		case <-e.started: // a config the walk itself has read
			continue
		default:
		}
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		s.begin(e, &node)
		wg.Go(func() {
			defer func() { <-free }()
			if err := s.await(e); err != nil {
				cancel(err)
			}
		})
	}
	if walkErr != nil {
		cancel(walkErr)
	}
	if ctx.Err() != nil {
		s.cancel() // nothing more is worth fetching; what has come is kept
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return nil
}

// plan makes sure of the space for a manifest's blobs before the first is
// fetched, and enters them so that progress knows the whole.
func (s *Session) plan(node image.Node, space *space) error {
	if node.Document.IsIndex() {
		return nil
	}
	for _, child := range node.Document.Children() {
		if err := space.add(child); err != nil {
			return err
		}
		if _, err := s.enter(child, image.RoleLayer); err != nil {
			return err
		}
	}
	if err := space.check(); err != nil {
		return err
	}
	s.mu.Lock()
	s.top, s.config = node.Document, *node.Document.Config
	s.mu.Unlock()
	if !s.req.Platform.All() {
		s.closeWalked()
	}
	return nil
}

// space sums up what a pull still has to write.
type space struct {
	s       *Session
	partial map[digest.Digest]int64 // what is allocated to partials already
	seen    map[digest.Digest]bool
	need    int64
}

func (s *Session) newSpace() *space {
	sp := &space{s: s, partial: map[digest.Digest]int64{}, seen: map[digest.Digest]bool{}}
	for i, err := range s.p.Store.Ingests() {
		if err == nil {
			sp.partial[i.Digest] = i.Disk
		}
	}
	return sp
}

func (sp *space) add(desc ocispec.Descriptor) error {
	if sp.seen[desc.Digest] {
		return nil
	}
	sp.seen[desc.Digest] = true
	_, err := sp.s.p.Store.Stat(desc.Digest)
	switch {
	case errors.Is(err, store.ErrNotFound):
		sp.need += max(0, desc.Size-sp.partial[desc.Digest])
		return nil
	default:
		return err
	}
}

func (sp *space) check() error {
	have, err := sp.s.p.Store.Free()
	if err != nil {
		return err
	}
	if sp.need > have {
		return &store.SpaceError{Need: sp.need, Have: have, Path: sp.s.p.Store.Dir()}
	}
	return nil
}

// Manifest waits until the image's one manifest is known and returns it. It
// fails when the pull does before, and for a pull of all platforms.
func (s *Session) Manifest(ctx context.Context) (*image.Document, error) {
	select {
	case <-s.walked:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.top == nil || s.req.Platform.All() {
		return nil, fmt.Errorf("%s: no single manifest was pulled", s.name.Familiar())
	}
	return s.top, nil
}

// Open returns a reader of one of the pull's blobs that yields bytes as they
// arrive, before they are verified; see [fetch.Task.Reader].
func (s *Session) Open(ctx context.Context, d digest.Digest) (io.ReadCloser, error) {
	s.mu.Lock()
	e := s.byD[d]
	s.mu.Unlock()
	if e == nil {
		return nil, fmt.Errorf("blob %s is not part of %s", d, s.name.Familiar())
	}
	select {
	case <-e.started:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-s.done:
		if s.err != nil {
			return nil, s.err
		}
	}
	s.mu.Lock()
	task := e.task
	s.mu.Unlock()
	if task == nil {
		return s.p.Store.OpenBlob(d)
	}
	return task.Reader(), nil
}
