package waybills

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/waybill"
)

const (
	// MaxFound is how many documents are read at one place for one image.
	MaxFound = 8
	// MaxFoundBytes is how large the documents of one image may be together.
	MaxFoundBytes = 2 * waybill.MaxDocument
	// searchTime bounds what a search takes, of which nothing is known as long as
	// nothing was found.
	searchTime = 20 * time.Second
	// grace is how long the places that haven't answered are waited for once
	// something was found at another: a newer document of the same signer would
	// be preferred, but who is silent must not keep what is there from being
	// used.
	grace = 2 * time.Second
)

// Source is a place where waybills about an image may be found (spec/waybill.md
// §2): [Client.Referrers], [Client.WellKnown] and [Client.Layout] are those there
// are.
type Source struct {
	where string
	// find yields what calls itself a waybill about the image. An error is that
	// the place can't be asked or has none; what is wrong with one that is
	// there stands in it.
	find func(ctx context.Context, image digest.Digest) iter.Seq2[found, error]
}

// found is a document that calls itself a waybill about the image.
type found struct {
	where   string
	content []byte
	// base is where it came from in the end, nil where that is no URI.
	base *url.URL
	own  transport.Remote
	err  error // why it can't be used
}

// Search is what the waybills say that are found about an image. They are looked
// for once, when it is first asked. It is a [locate.Locator].
type Search struct {
	client  *Client
	ctx     context.Context // of the pull that it is for
	image   digest.Digest
	sources []Source

	once sync.Once
	done chan struct{} // closed when documents is set
	docs []*document
}

// Search returns a search for waybills about an image at all of the places at
// once. It ends with ctx, and tells nothing afterwards.
func (c *Client) Search(ctx context.Context, image digest.Digest, sources ...Source) *Search {
	return &Search{client: c, ctx: ctx, image: image, sources: sources, done: make(chan struct{})}
}

// Locate implements [locate.Locator]. All routes are marked as remote.
func (s *Search) Locate(ctx context.Context, desc ocispec.Descriptor) iter.Seq2[transport.Route, error] {
	return func(yield func(transport.Route, error) bool) {
		for _, d := range s.documents(ctx) {
			if !d.locate(desc, func(r transport.Route) bool { return yield(r, nil) }) {
				return
			}
		}
	}
}

// Pieces returns the hashes of a blob's pieces, from the first document that
// knows them, and its name; nil where none does.
func (s *Search) Pieces(ctx context.Context, desc ocispec.Descriptor) (*waybill.PieceTable, string, error) {
	for _, d := range s.documents(ctx) {
		table, by, err := d.pieces(ctx, desc)
		if ctx.Err() != nil {
			return nil, "", context.Cause(ctx)
		}
		if err != nil {
			d.ignore("%v", err)
		} else if table != nil {
			return table, by, nil
		}
	}
	return nil, "", nil
}

// documents returns those in force; none where ctx ends before that is known.
func (s *Search) documents(ctx context.Context) []*document {
	s.once.Do(func() {
		go func() {
			defer close(s.done)
			s.docs = s.judge(s.gather())
		}()
	})
	select {
	case <-s.done:
		return s.docs
	case <-ctx.Done():
		return nil
	}
}

// answer is something found at a place, or that there is no more.
type answer struct {
	source Source
	found
	failure error // of the place
	end     bool
}

// gather asks all places at once for what they have.
func (s *Search) gather() []found {
	ctx, cancel := context.WithTimeout(s.ctx, searchTime)
	defer cancel()
	answers := make(chan answer)
	for _, source := range s.sources {
		go s.ask(ctx, source, answers)
	}
	open := map[string]bool{}
	for _, source := range s.sources {
		open[source.where] = true
	}
	var all []found
	var enough <-chan time.Time
	silent := false
	for len(open) > 0 && !silent {
		select {
		case a := <-answers:
			switch {
			case a.failure != nil:
				s.looked(a.source.where, a.failure)
			case a.end:
				delete(open, a.source.where)
			default:
				all = append(all, a.found)
				if enough == nil {
					enough = time.After(grace)
				}
			}
		case <-enough:
			silent = true
		case <-ctx.Done():
			silent = true
		}
	}
	for where := range open {
		s.looked(where, errSilent)
	}
	return all
}

// errSilent is why a place isn't waited for any longer.
var errSilent = errors.New("no answer in time")

// looked tells what came of looking at a place that has nothing, or nothing more.
func (s *Search) looked(where string, err error) {
	s.note(discovery.Note{Where: where, Text: fmt.Sprintf("looked for waybills: %v", err), Absent: true})
}

// ask sends what one place has.
func (s *Search) ask(ctx context.Context, source Source, answers chan<- answer) {
	send := func(a answer) bool {
		a.source = source
		select {
		case answers <- a:
			return true
		case <-ctx.Done():
			return false
		}
	}
	n, size := 0, 0
	for f, err := range source.find(ctx, s.image) {
		if ctx.Err() != nil {
			return // what it says now is about us
		}
		if n++; err == nil && n > MaxFound {
			f = found{where: source.where, err: fmt.Errorf("more than %d waybills; the rest isn't read", MaxFound)}
		} else if size += len(f.content); size > MaxFoundBytes {
			f = found{where: source.where, err: fmt.Errorf("more than %d bytes of waybills; the rest isn't read", MaxFoundBytes)}
		}
		if !send(answer{found: f, failure: err}) || n > MaxFound || size > MaxFoundBytes {
			break
		}
	}
	send(answer{end: true})
}

// judge returns the documents that are in force, and tells of all others.
func (s *Search) judge(all []found) []*document {
	if s.ctx.Err() != nil {
		return nil
	}
	var candidates []waybill.Candidate
	var of []found // by candidate
	known := map[string]bool{}
	for _, f := range all {
		doc, err := f.parse()
		if err != nil {
			s.ignored(f, err)
			continue
		}
		c := waybill.Candidate{Signer: f.origin(), Digest: digest.FromBytes(f.content), Document: doc}
		if key := c.Signer + " " + string(c.Digest); !known[key] {
			known[key] = true
			candidates, of = append(candidates, c), append(of, f)
		}
	}
	var docs []*document
	i := 0
	for c, err := range waybill.Choose(candidates, s.client.o.Now(), s.seen) {
		f := of[i]
		i++
		if err == nil {
			var d *document
			if d, err = s.use(f, c.Document); err == nil {
				s.note(discovery.Note{Where: f.where, Text: fmt.Sprintf("a waybill in force, number %d", c.Document.Sequence)})
				s.remember(c)
				docs = append(docs, d)
			}
		}
		if err != nil {
			s.ignored(f, err)
		}
	}
	return docs
}

// seen returns what is remembered of a signer: nothing, where that can't be read.
func (s *Search) seen(signer string) waybill.Seen {
	if s.client.o.Memory == nil {
		return waybill.Seen{}
	}
	seen, err := s.client.o.Memory.Seen(s.remembered(signer), s.image)
	if err != nil {
		s.note(discovery.Note{Where: signer, Text: fmt.Sprintf("which of its waybills was used last isn't known: %v", err), Ignored: true})
		return waybill.Seen{}
	}
	return seen
}

// remembered is what an origin is remembered as: where many publish at one, what
// one says of an image must not hide what another does.
func (s *Search) remembered(signer string) string { return signer + " " + s.sources[0].where }

// remember keeps the number of a document that is used. Nobody vouches for it, so
// that isn't kept for good (spec/waybill.md §8).
func (s *Search) remember(c waybill.Candidate) {
	if s.client.o.Memory == nil {
		return
	}
	until := c.Document.Expires
	if most := s.client.o.Now().Add(MaxMemory); until.After(most) {
		until = most
	}
	what := waybill.Seen{Sequence: c.Document.Sequence, Digest: c.Digest}
	if err := s.client.o.Memory.Remember(s.remembered(c.Signer), s.image, what, until); err != nil {
		s.note(discovery.Note{Where: c.Signer, Text: fmt.Sprintf("that its waybill %d was used can't be remembered: %v", c.Document.Sequence, err), Ignored: true})
	}
}

func (f found) parse() (*waybill.Document, error) {
	if f.err != nil {
		return nil, f.err
	}
	return waybill.Parse(f.content)
}

// origin is the origin that served it, which stands for a signer of what nobody
// signed.
func (f found) origin() string {
	if f.base == nil {
		return f.where
	}
	return strings.ToLower(f.base.Scheme + "://" + f.base.Host)
}

func (s *Search) use(f found, doc *waybill.Document) (*document, error) {
	d := &document{teller: &teller{client: s.client, where: f.where}, base: f.base, own: f.own}
	var from waybill.From
	if f.base != nil {
		from.Base = f.base.String()
	}
	return d, d.use(doc, from)
}

func (s *Search) ignored(f found, err error) {
	s.note(discovery.Note{Where: f.where, Text: fmt.Sprintf("the waybill is ignored: %v", err), Ignored: true})
}

// note tells something, unless nobody waits for it any more.
func (s *Search) note(n discovery.Note) {
	if s.ctx.Err() == nil {
		s.client.o.Note(n)
	}
}
