package ipfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
)

// patience is how long a gateway may take to answer while there are others to
// ask. The last one's time is for the caller to limit.
const patience = 5 * time.Second

// errSilent ends a request to a gateway that ran out of it.
var errSilent = fmt.Errorf("no answer in %v", patience)

// session is what one Open asks for: content below one root, of the gateways
// that may have it.
type session struct {
	t    *Transport
	uri  string
	root cid.Cid // what routers are asked for
	path []string
	only bool // the gateway the URI names, and no other

	mu        sync.Mutex
	gateways  []*gateway
	preferred *gateway // which answered last
	liars     map[*gateway]error

	routing  sync.Mutex // held while routers are asked
	routed   bool       // they were
	unrouted error      // what a router failed with, when all together named nobody
}

// session returns a session for a place that names content, its name resolved.
func (t *Transport) session(ctx context.Context, p *place) (*session, error) {
	if p.gateway != nil {
		return t.atGateway(p, p.root), nil
	}
	gateways, err := t.known()
	if err != nil {
		return nil, transport.Errorf(transport.ErrPermanent, p.uri, "%w", err)
	}
	s := &session{t: t, uri: p.uri, root: p.root, path: p.path, gateways: gateways, liars: map[*gateway]error{}}
	if p.name == "" {
		s.askFirst(t.servedBy(s.root))
		return s, nil
	}
	target, err := t.resolveName(ctx, s, p.name)
	if err != nil {
		return nil, err
	}
	s.root = target.root
	s.path = append(slices.Clone(target.path), p.path...)
	s.askFirst(t.servedBy(s.root))
	return s, nil
}

// askFirst has g asked first, which may be one that a router named.
func (s *session) askFirst(g *gateway) {
	s.preferred = g
	if g != nil && !slices.Contains(s.gateways, g) {
		s.gateways = append(s.gateways, g)
	}
}

// atGateway returns a session that asks the gateway of p only.
func (t *Transport) atGateway(p *place, root cid.Cid) *session {
	return &session{
		t: t, uri: p.uri, root: root, path: p.path, only: true,
		gateways: []*gateway{t.gateway(*p.gateway, p.floor)},
		liars:    map[*gateway]error{},
	}
}

// below returns the path of a name below the place.
func (s *session) below(name string) ([]string, error) {
	return (&place{uri: s.uri, path: s.path}).below(name)
}

// fail returns an error about the content, whoever has it.
func (s *session) fail(format string, args ...any) error {
	return transport.Errorf(transport.ErrPermanent, s.uri, format, args...)
}

// known returns err if it is one for callers, and else makes it one: content
// that is verified and yet can't be read.
func (s *session) known(ctx context.Context, err error) error {
	var te *transport.Error
	if err == nil || errors.As(err, &te) {
		return err
	}
	if ctx.Err() != nil {
		return httpclient.ContextError(ctx)
	}
	return s.fail("%w", err)
}

// resolve returns what is at a path below the root.
func (s *session) resolve(ctx context.Context, path []string) (cid.Cid, *node, error) {
	c := s.root
	n, err := s.node(ctx, c)
	for i, name := range path {
		if err != nil {
			break
		}
		if n.kind == symlink {
			return c, nil, s.fail("%s is a symbolic link, which is not followed", strings.Join(path[:i], "/"))
		}
		found := false
		if n.kind != file {
			c, found, err = s.find(ctx, n, name)
		}
		if err == nil && !found {
			return c, nil, transport.Errorf(transport.ErrNotFound, s.uri, "no %s there", strings.Join(path[:i+1], "/"))
		}
		if err == nil {
			n, err = s.node(ctx, c)
		}
	}
	return c, n, s.known(ctx, err)
}

// file returns the file that c is.
func (s *session) file(ctx context.Context, c cid.Cid) (*content, error) {
	n, err := s.node(ctx, c)
	if err != nil {
		return nil, s.known(ctx, err)
	}
	if n.kind != file {
		return nil, s.fail("%s is a %s, not a file", c, n.kind)
	}
	return &content{session: s, cid: c, node: n}, nil
}

// node returns the node of a CID.
func (s *session) node(ctx context.Context, c cid.Cid) (*node, error) {
	block, err := s.block(ctx, c)
	if err != nil {
		return nil, err
	}
	return s.parse(c, block)
}

// parse reads a block, and keeps it if it will be needed again.
func (s *session) parse(c cid.Cid, block []byte) (*node, error) {
	n, err := parseNode(c, block)
	if err == nil && c.Prefix().Codec != cid.Raw && (n.kind != file || len(n.links) > 0) {
		s.t.cache.put(c, block)
	}
	return n, err
}

// block returns a verified block, from the CID itself, the cache, or whichever
// gateway has it.
func (s *session) block(ctx context.Context, c cid.Cid) ([]byte, error) {
	if err := checkCID(c); err != nil {
		return nil, err
	}
	if block, ok := inline(c); ok {
		return block, nil
	}
	if block, ok := s.t.cache.get(c); ok {
		return block, nil
	}
	var block []byte
	err := s.ask(ctx, "block "+c.String(), func(ctx context.Context, g *gateway, answered func()) (err error) {
		block, err = g.block(ctx, s.t.client, c, answered)
		return err
	})
	return block, err
}

// ask asks gateways one after the other until one gives no error, and routers
// for more of them when all have failed.
func (s *session) ask(ctx context.Context, what string, request func(ctx context.Context, g *gateway, answered func()) error) error {
	var failures []error
	asked := map[*gateway]bool{}
	for {
		g, last := s.next(asked)
		if g == nil {
			s.findProviders(ctx)
			g, last = s.next(asked)
		}
		if g == nil {
			return s.nobody(ctx, what, failures)
		}
		asked[g] = true
		err := s.askOne(ctx, g, last, request)
		if err == nil {
			s.prefer(g)
			return nil
		}
		if ctx.Err() != nil {
			return httpclient.ContextError(ctx)
		}
		s.note(g, err)
		failures = append(failures, err)
	}
}

// askOne asks one gateway, with patience unless it is the last.
func (s *session) askOne(ctx context.Context, g *gateway, last bool, request func(ctx context.Context, g *gateway, answered func()) error) error {
	select {
	case g.slots <- struct{}{}:
		defer func() { <-g.slots }()
	case <-ctx.Done():
		return httpclient.ContextError(ctx)
	}
	limited, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	answered := func() {}
	if !last {
		timer := time.AfterFunc(patience, func() { cancel(errSilent) })
		defer timer.Stop()
		answered = func() { timer.Stop() }
	}
	begin := time.Now()
	err := request(limited, g, answered)
	switch {
	case err == nil:
		g.succeeded()
	case ctx.Err() != nil:
		// Who lost patience was our caller. If it was with this gateway,
		// another should be asked first when it comes back.
		if time.Since(begin) > stalled && !errors.Is(context.Cause(ctx), errLeft) {
			g.failed(0)
		}
	case errors.Is(context.Cause(limited), errSilent):
		err = transport.Errorf(transport.ErrTemporary, g.base, "%w", errSilent)
	}
	return err
}

// next returns the best gateway that is not in asked, and whether it is the
// last.
func (s *session) next(asked map[*gateway]bool) (g *gateway, last bool) {
	all := s.order()
	all = slices.DeleteFunc(all, func(g *gateway) bool { return asked[g] })
	if len(all) == 0 {
		return nil, true
	}
	return all[0], len(all) == 1
}

// order returns the gateways to ask, the best first: those that didn't fail
// lately, of these the one that answered last, else as they are configured.
// One that sent wrong data before comes after all others; within the session it
// is not asked again.
func (s *session) order() []*gateway {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.DeleteFunc(slices.Clone(s.gateways), func(g *gateway) bool { return s.liars[g] != nil })
	now := time.Now()
	rank := func(g *gateway) int {
		switch {
		case g.liar():
			return 3
		case !g.healthy(now):
			return 2
		case g != s.preferred:
			return 1
		}
		return 0
	}
	slices.SortStableFunc(all, func(a, b *gateway) int { return cmp.Compare(rank(a), rank(b)) })
	return all
}

// prefer remembers who answered, for this session and those to come: a kubo
// that has to look for what another gateway holds should not be asked for each
// range first.
func (s *session) prefer(g *gateway) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.preferred == g {
		return
	}
	s.preferred = g
	if s.only { // others didn't ask for it to be asked
		return
	}
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	if len(s.t.served) >= maxRemembered {
		clear(s.t.served)
	}
	s.t.served[s.root.KeyString()] = g
}

// servedBy returns the gateway that answered last for what is below root, or
// nil.
func (t *Transport) servedBy(root cid.Cid) *gateway {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.served[root.KeyString()]
}

// note remembers a gateway's failure: a liar's for good, others' for a while.
// The first of each is told. Not to have something is none.
func (s *session) note(g *gateway, err error) {
	if errors.Is(err, transport.ErrNotFound) {
		return
	}
	var te *transport.Error
	if errors.As(err, &te) {
		g.failed(te.RetryAfter)
	}
	if errors.Is(err, errMismatch) {
		if g.firstLie() {
			s.t.warn(g.base, err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.liars[g] = err
		return
	}
	// What the only one there is failed with, is the caller's error.
	if !s.only && s.others() && g.firstFailure() {
		s.t.warn(g.base, err)
	}
}

// others reports whether there are several gateways to ask.
func (s *session) others() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.gateways) > 1
}

// hopes are the kinds of failure, the one that gives most hope first: what all
// gateways together failed with is the best of theirs.
var hopes = []error{
	transport.ErrTemporary, transport.ErrThrottled, transport.ErrPermanent,
	transport.ErrUnauthorized, transport.ErrRefused, transport.ErrNotFound,
}

// nobody returns the error for what no gateway gave, with a word on each.
func (s *session) nobody(ctx context.Context, what string, failures []error) error {
	if ctx.Err() != nil {
		return httpclient.ContextError(ctx)
	}
	s.mu.Lock()
	for g, err := range s.liars {
		if !slices.Contains(failures, err) && slices.Contains(s.gateways, g) {
			failures = append(failures, err)
		}
	}
	s.mu.Unlock()
	switch {
	case len(failures) > 0:
	case s.unrouted != nil:
		failures = []error{s.unrouted}
		what = "no IPFS gateway to ask, and no delegated router that answers"
	case s.routed:
		return transport.Errorf(transport.ErrNotFound, s.uri, "no IPFS gateway to ask, and the delegated routers know of none that has it")
	default:
		return s.fail("no IPFS gateway to ask: start kubo on this machine (ipfs daemon), set $IPFS_GATEWAY, or configure ipfs.gateways")
	}
	e := &transport.Error{URI: s.uri}
	for _, kind := range hopes {
		i := slices.IndexFunc(failures, func(err error) bool { return errors.Is(err, kind) })
		if i < 0 {
			continue
		}
		e.Kind = kind
		var te *transport.Error
		if errors.As(failures[i], &te) {
			e.RetryAfter = te.RetryAfter
		}
		break
	}
	e.Err = fmt.Errorf("%s: %w", what, &failuresError{failures})
	return e
}

// failuresError is what several gateways failed with, in one line.
type failuresError struct{ all []error }

func (e *failuresError) Error() string {
	words := make([]string, len(e.all))
	for i, err := range e.all {
		words[i] = err.Error()
	}
	return strings.Join(words, "; ")
}

// Is reports whether err is the cause of a failure of any gateway, but not its
// kind: that of all together is in the [transport.Error] around this one.
func (e *failuresError) Is(err error) bool {
	return !slices.Contains(hopes, err) && slices.ContainsFunc(e.all, func(f error) bool { return errors.Is(f, err) })
}
