package oci

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery"
	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/netclass"
	"github.com/waybill-project/waybill/uritmpl"
	"github.com/waybill-project/waybill/webdoc"
)

// Options configures a [Resolver].
type Options struct {
	// Docs gets the documents. It must be set.
	Docs *webdoc.Client
	// Env returns variables of the environment; nil means os.Getenv.
	Env func(string) string
	// Home is the user's directory; empty means $HOME.
	Home string
	// Note, where set, is told what came of each document and of each entry
	// that can't be used. It is called by Resolve, from one goroutine.
	Note func(discovery.Note)
	// All has every ref engine asked there is. Otherwise those that are less
	// preferred (by shorter expressions, by the host after local ones) are
	// asked only where the others had no answer.
	All bool
	// NoLocal leaves the local discovery documents (XDG) out, NoWellKnown those
	// of the name's host.
	NoLocal, NoWellKnown bool
}

// Resolver finds out what host-based names mean. It is safe for concurrent use;
// Options.Note then is called from several goroutines.
type Resolver struct {
	options Options
}

// New returns a resolver.
func New(options Options) *Resolver {
	if options.Env == nil {
		options.Env = os.Getenv
	}
	if options.Home == "" {
		options.Home = options.Env("HOME")
	}
	if options.Note == nil {
		options.Note = func(discovery.Note) {}
	}
	return &Resolver{options: options}
}

// Answer is what was found out about a name.
type Answer struct {
	// Candidates are the entries of indexes that are called as the name says:
	// at least one, by the preference of the ref engines they came from and
	// their order in its index. Those of one index may be for unlike
	// platforms; without a fragment in the name they are all there is.
	Candidates []Candidate
	// CASEngines are those of the discovery documents, in their order.
	CASEngines []Engine
}

// Candidate is one answer.
type Candidate struct {
	// Descriptor may be of any media type.
	Descriptor ocispec.Descriptor
	// From is the index, fit to be shown: its URL after redirects.
	From string
	// Via is the discovery document that named the ref engine.
	Via string
	// Time is when the index was had.
	Time time.Time
	// CASEngines are those on the descriptor and then those of its index.
	CASEngines []Engine
}

// Resolution returns the candidate as package resolve wants it.
func (c Candidate) Resolution() resolve.Resolution {
	by := resolve.Testimony{Resolver: "oci-discovery", URI: c.From, Time: c.Time}
	return resolve.Resolution{Descriptor: c.Descriptor, By: by}
}

// Resolve finds out what n means. A name nobody knows is [resolve.ErrNotFound];
// where somebody who might know it couldn't be asked, the error is that one's
// [*transport.Error]. Everything else that went wrong is in the notes.
func (r *Resolver) Resolve(ctx context.Context, n Name) (Answer, error) {
	s := &search{resolver: r, name: n, free: map[string]bool{}, asked: map[string]bool{}, engines: engineSet{}}
	if err := s.run(ctx); err != nil {
		return Answer{}, err
	}
	if len(s.answer.Candidates) == 0 {
		return Answer{}, s.failure()
	}
	return s.answer, nil
}

// search is one Resolve.
type search struct {
	resolver *Resolver
	name     Name
	answer   Answer

	// free are the origins that the name or local configuration had asked.
	// Remote documents may name them whatever network they are in.
	free    map[string]bool
	asked   map[string]bool // the indexes, by URL
	engines engineSet

	failures []error // of those who might have known
	left     string  // who wasn't asked, and why; may be empty
}

// group is a list of ref engines among which order carries no meaning, and what
// goes for all of them.
type group struct {
	like Engine // with Base, Name, From, Remote and Floor of the document
	refs []entry
}

// run asks one group of ref engines after the other.
func (s *search) run(ctx context.Context) error {
	if !s.resolver.options.NoLocal {
		for _, g := range s.localGroups() {
			if err := s.ask(ctx, g); err != nil || s.done() {
				return err
			}
		}
	}
	if s.resolver.options.NoWellKnown {
		return nil
	}
	groups, err := s.wellKnown(ctx)
	if err != nil {
		return err
	}
	for _, g := range groups {
		if err := s.ask(ctx, g); err != nil || s.done() {
			return err
		}
	}
	return nil
}

func (s *search) done() bool {
	return len(s.answer.Candidates) > 0 && !s.resolver.options.All
}

func (s *search) tell(n discovery.Note) { s.resolver.options.Note(n) }

// ignore tells of what isn't used.
func (s *search) ignore(where, format string, args ...any) {
	s.tell(discovery.Note{Where: where, Text: fmt.Sprintf(format, args...), Ignored: true})
}

// failed tells of a document that couldn't be had. That none is there is usual.
func (s *search) failed(where string, err error) {
	absent := errors.Is(err, transport.ErrNotFound)
	s.tell(discovery.Note{Where: where, Text: reason(err), Ignored: !absent, Absent: absent})
}

// localGroups returns the ref engines of the local discovery documents.
func (s *search) localGroups() []group {
	keys := s.resolver.local(s.resolver.options.Note)
	matching := match(keys, s.name.String(), func(key, text string) {
		s.ignore(keys[key].file, "%q: %s", clip(key), text)
	})
	var groups []group
	for _, key := range matching {
		v := keys[key]
		like := Engine{Base: fileURL(v.file), Name: s.name, From: v.file}
		if g, err := s.group(v.content, like, fmt.Sprintf("%q: ", clip(key))); err != nil {
			s.ignore(v.file, "%q: %v; ignored", clip(key), err)
		} else {
			groups = append(groups, g)
		}
	}
	return groups
}

// group reads a document of ref engines and keeps its CAS engines. Notes begin
// with prefix.
func (s *search) group(content []byte, like Engine, prefix string) (group, error) {
	n := notes{where: like.From, note: s.resolver.options.Note}
	defer n.end()
	note := func(text string) { n.add(prefix + text) }
	doc, err := parseRefEngines(content, note)
	if err != nil {
		return group{}, err
	}
	n.read(prefix + fmt.Sprintf("%d ref engines and %d CAS engines", len(doc.refs), len(doc.cas)))
	s.answer.CASEngines = s.engines.add(s.answer.CASEngines, doc.cas, like, s.floorOf(like), note)
	return group{like: like, refs: doc.refs}, nil
}

// floorOf returns what says which networks a document may lead to: at its own
// origin to where it was had itself, which redirects may have decided.
func (s *search) floorOf(like Engine) func(*url.URL) netclass.Class {
	return func(u *url.URL) netclass.Class {
		switch {
		case !like.Remote || s.free[uritmpl.Origin(u)]:
			return netclass.Loopback
		case uritmpl.Origin(u) == uritmpl.Origin(like.Base):
			return like.Floor
		}
		return netclass.Public
	}
}

// wellKnown returns the ref engines of the name's host, or of the nearest of its
// ancestors that has any (well-known-uri-ref-engine-discovery.md).
func (s *search) wellKnown(ctx context.Context) ([]group, error) {
	ask, left := hosts(s.name.Host)
	s.left = left
	var failures []error
	for _, host := range ask {
		u := &url.URL{Scheme: "https", Host: host, Path: WellKnown}
		s.free[uritmpl.Origin(u)] = true
		groups, err := s.discoveryDocument(ctx, u)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err == nil {
			return groups, nil
		}
		s.failed(u.String(), err)
		failures = append(failures, err)
	}
	if left != "" {
		s.tell(discovery.Note{Where: s.name.Host, Text: left})
	}
	s.failures = append(s.failures, failures...)
	return nil, nil
}

// discoveryDocument gets and reads a discovery document of either kind.
func (s *search) discoveryDocument(ctx context.Context, u *url.URL) ([]group, error) {
	doc, err := s.resolver.options.Docs.Get(ctx, webdoc.Request{
		URL: u.String(), Max: MaxDocument,
		Accept: MediaTypeRefEngines + ", " + MediaTypeRegexpRefEngines + ";q=0.9",
	})
	if err != nil {
		return nil, err
	}
	like := Engine{Base: doc.URL, Name: s.name, From: shown(doc.URL), Remote: true, Floor: doc.Floor}
	var groups []group
	switch {
	case doc.MediaType == MediaTypeRegexpRefEngines:
		groups, err = s.remoteRegexps(doc.Content, like)
	case doc.MediaType == MediaTypeRefEngines, isGeneric(doc.MediaType):
		groups = make([]group, 1)
		groups[0], err = s.group(doc.Content, like, "")
	default:
		err = fmt.Errorf("the Content-Type is %q; %s is wanted", clip(doc.MediaType), MediaTypeRefEngines)
	}
	if err != nil {
		return nil, &transport.Error{Kind: transport.ErrPermanent, URI: like.From, Err: err}
	}
	return groups, nil
}

// remoteRegexps returns the ref engines that a host has for names like this one.
func (s *search) remoteRegexps(content []byte, like Engine) ([]group, error) {
	keys, err := parseRegexps(content)
	if err != nil {
		return nil, err
	}
	n := notes{where: like.From, note: s.resolver.options.Note}
	defer n.end()
	var groups []group
	for _, key := range match(keys, s.name.String(), func(key, text string) { n.add(fmt.Sprintf("%q: %s", clip(key), text)) }) {
		g, err := s.group(keys[key], like, fmt.Sprintf("%q: ", clip(key)))
		if err != nil {
			n.add(fmt.Sprintf("%q: %v; ignored", clip(key), err))
			continue
		}
		groups = append(groups, g)
	}
	return groups, nil
}

// failure says why there is no candidate.
func (s *search) failure() error {
	for _, err := range s.failures {
		if !errors.Is(err, transport.ErrNotFound) {
			return fmt.Errorf("%s: nobody could say what it is: %w", clip(s.name.String()), err)
		}
	}
	err := fmt.Errorf("%w: %s: no ref engine knows it", resolve.ErrNotFound, clip(s.name.String()))
	if s.left != "" {
		err = fmt.Errorf("%w: %s", err, s.left)
	}
	return err
}
