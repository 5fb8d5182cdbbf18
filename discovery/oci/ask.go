package oci

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery"
	"github.com/waybill-project/waybill/discovery/target"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/netclass"
	"github.com/waybill-project/waybill/uritmpl"
	"github.com/waybill-project/waybill/webdoc"
)

// question is an index to ask for.
type question struct {
	where string // the entry of the ref engine
	url   *url.URL
	floor netclass.Class
}

// reply is what came of a question.
type reply struct {
	err   error
	from  Engine // Base, From and so on of the index
	time  time.Time
	found []found
	cas   []entry // the index's own
	total int     // entries in the index
	notes []discovery.Note
}

// found is an entry that is called as the name says.
type found struct {
	desc ocispec.Descriptor
	cas  []entry
}

// ask asks the ref engines of a group, some at once, and takes their replies in
// the order of the document. An error is ctx's.
func (s *search) ask(ctx context.Context, g group) error {
	questions := s.questions(g)
	replies := make([]reply, len(questions))
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, q := range questions {
		slots <- struct{}{}
		wg.Go(func() {
			replies[i] = s.get(ctx, q)
			<-slots
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for i, q := range questions {
		s.take(g, q, replies[i])
	}
	return nil
}

// questions expands the templates of a group's ref engines. What can't be asked
// is told, and what has been is left out.
func (s *search) questions(g group) []question {
	var questions []question
	for _, e := range g.refs {
		u, err := s.target(g, e)
		if err != nil {
			s.ignore(g.like.From, "%s: %q: %v; ignored", e.where, target.Shown(e.template), err)
			continue
		}
		switch {
		case s.asked[u.String()]:
			s.tell(discovery.Note{Where: g.like.From, Text: fmt.Sprintf("%s: leads to %s, which was asked", e.where, shown(u))})
			continue
		case len(s.asked) == MaxIndexes:
			s.ignore(g.like.From, "%s: more ref engines than the limit of %d for one name; ignored", e.where, MaxIndexes)
			continue
		}
		s.asked[u.String()] = true
		q := question{where: e.where, url: u, floor: s.floorOf(g.like)(u)}
		if !g.like.Remote {
			s.free[uritmpl.Origin(u)] = true
		}
		questions = append(questions, q)
	}
	return questions
}

// target returns the URL of the index that a ref engine has for the name
// (index-template.md).
func (s *search) target(g group, e entry) (*url.URL, error) {
	tmpl, err := uritmpl.Parse(e.template)
	if err != nil {
		return nil, err
	}
	if err := tmpl.Only("name", "host", "path", "fragment"); err != nil {
		return nil, err
	}
	return expand(tmpl, s.name.variables(), g.like.Base, g.like.Remote)
}

// get gets an index and picks what the name speaks of.
func (s *search) get(ctx context.Context, q question) reply {
	doc, err := s.resolver.options.Docs.Get(ctx, webdoc.Request{
		URL: q.url.String(), Accept: ocispec.MediaTypeImageIndex, Max: MaxIndex, Floor: q.floor,
	})
	if err != nil {
		return reply{err: err}
	}
	r := reply{
		from: Engine{Base: doc.URL, Name: s.name, From: shown(doc.URL), Remote: true, Floor: doc.Floor},
		time: time.Now(),
	}
	n := notes{where: r.from.From, note: func(n discovery.Note) { r.notes = append(r.notes, n) }}
	x, err := parseIndex(doc.MediaType, doc.Content, s.name.isCalled, n.add)
	n.end()
	if err != nil {
		r.err = &transport.Error{Kind: transport.ErrPermanent, URI: r.from.From, Err: err}
		return r
	}
	r.cas, r.total = x.cas, len(x.manifests)
	for i, desc := range x.manifests {
		if len(r.found) > MaxCandidates {
			break // one more than there may be: take says so
		}
		if s.name.isCalled(desc) {
			r.found = append(r.found, found{desc, x.on[i]})
		}
	}
	return r
}

// take adds a reply to the answer.
func (s *search) take(g group, q question, r reply) {
	if r.err != nil {
		s.failed(shown(q.url), r.err)
		s.failures = append(s.failures, r.err)
		return
	}
	for _, n := range r.notes {
		s.tell(n)
	}
	n := notes{where: r.from.From, note: s.resolver.options.Note}
	defer n.end()
	if len(r.found) == 0 {
		n.read(fmt.Sprintf("an index of %d entries, none of them called as in the name", r.total))
		return
	}
	n.read(fmt.Sprintf("an index of %d entries", r.total))
	floor := s.floorOf(r.from)
	own := s.engines.add(nil, r.cas, r.from, floor, n.add)
	for _, f := range r.found {
		if len(s.answer.Candidates) == MaxCandidates {
			s.ignore(r.from.From, "the limit is %d answers; the rest is ignored", MaxCandidates)
			return
		}
		engines := s.engines.add(nil, f.cas, r.from, floor, n.add)
		if len(engines) == 0 {
			engines = own
		} else {
			engines = s.engines.add(engines, r.cas, r.from, floor, n.add)
		}
		s.answer.Candidates = append(s.answer.Candidates, Candidate{
			Descriptor: f.desc, From: r.from.From, Via: g.like.From, Time: r.time, CASEngines: engines,
		})
	}
}
