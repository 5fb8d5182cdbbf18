package waybill

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
)

// Places is a document made ready to be asked where blobs are. It is safe for
// concurrent use; the document must not be changed meanwhile.
type Places struct {
	uris         uriContext
	consignments map[digest.Digest]located
	carriers     []carrier
	refused      []error
}

// located is a consignment and its place in the document.
type located struct {
	*Consignment
	where pointer
}

// carrier is one that can be used.
type carrier struct {
	entry Entry
	// template makes the URI; nil where the entry's is that of every blob.
	template *casTemplate
}

// Entry is one place a blob may be had.
type Entry struct {
	// URI is absolute. A route's, and that of a carrier of
	// [ProtocolCASTemplate], is the blob's; that of another carrier is the
	// carrier's, whose protocol says how to ask it for the blob.
	URI string
	// Protocol is the carrier's; empty for a route.
	Protocol string
	// Repository is the carrier's, for [ProtocolDistribution].
	Repository string
	// Source is the same for all blobs that one carrier is asked for, so that
	// what is learnt of it on one holds for the next; empty for a route.
	Source string
	// Priority is from 1, asked first, to [MaxPriority].
	Priority int
	// Geo is the country the place is in, or empty.
	Geo string
	// Stated says that the document claims this very blob to be there. A
	// carrier may or may not have it.
	Stated bool
	// Where is a JSON pointer (RFC 6901) to the entry in the document.
	Where string
}

// Places makes the document ready to be asked. A base that isn't an absolute
// URI is an error.
func (d *Document) Places(from From) (*Places, error) {
	uris, err := newURIContext(from)
	if err != nil {
		return nil, err
	}
	p := &Places{uris: uris, consignments: make(map[digest.Digest]located, len(d.Consignments))}
	for i := range d.Consignments {
		c := &d.Consignments[i]
		p.consignments[c.Digest] = located{c, pointer{"consignments", i}}
	}
	for i, c := range d.Carriers {
		where := pointer{"carriers", i}
		ready, err := newCarrier(c, where, uris)
		if err != nil {
			p.refused = append(p.refused, err)
			continue
		}
		p.carriers = append(p.carriers, ready)
	}
	slices.SortStableFunc(p.carriers, func(a, b carrier) int { return cmp.Compare(a.entry.Priority, b.entry.Priority) })
	return p, nil
}

// Refused yields what is wrong with each carrier that can't be used: an
// [*Error] of [ErrRefused] or [ErrUnknown].
func (p *Places) Refused() iter.Seq[error] { return slices.Values(p.refused) }

// Routes yields the places desc may be had: those stated for it and all usable
// carriers, by priority, the carriers last among equals. A route that can't be
// used is an [*Error] of [ErrRefused] at its turn, with an Entry that has no URI,
// and more may follow. A consignment whose size isn't desc's (where desc has one; -1 is none) speaks of
// something else: its routes are one [ErrRefused] together.
func (p *Places) Routes(desc ocispec.Descriptor) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if err := blobdigest.Validate(desc.Digest); err != nil {
			yield(Entry{}, fmt.Errorf("waybill: %w", err))
			return
		}
		carriers := p.carriers
		for _, stated := range p.stated(desc) {
			for len(carriers) > 0 && carriers[0].entry.Priority < stated.entry.Priority {
				if !yield(carriers[0].locate(desc.Digest)) {
					return
				}
				carriers = carriers[1:]
			}
			if !yield(stated.entry, stated.err) {
				return
			}
		}
		for _, c := range carriers {
			if !yield(c.locate(desc.Digest)) {
				return
			}
		}
	}
}

// statedRoute is what came of one route: its place or what is wrong with it.
type statedRoute struct {
	entry Entry
	err   error
}

// stated returns the routes of desc's consignment, by priority.
func (p *Places) stated(desc ocispec.Descriptor) []statedRoute {
	c, ok, err := p.consignment(desc)
	if err != nil {
		return []statedRoute{{err: err}}
	}
	if !ok {
		return nil
	}
	return p.routes(c.Routes, c.where.at("routes"))
}

// consignment returns what is said of desc.
func (p *Places) consignment(desc ocispec.Descriptor) (located, bool, error) {
	c, ok := p.consignments[desc.Digest]
	if ok && desc.Size >= 0 && c.Size != desc.Size {
		return located{}, false, errorf(ErrRefused, c.where.at("size"), "it says that %s has %d bytes; it has %d", desc.Digest, c.Size, desc.Size)
	}
	return c, ok, nil
}

// routes resolves a list of routes and brings it into the order of priority.
func (p *Places) routes(routes []Route, where pointer) []statedRoute {
	all := make([]statedRoute, 0, len(routes))
	for i, r := range routes {
		at := where.at(i)
		s := statedRoute{entry: Entry{Priority: r.Priority, Geo: r.Geo, Stated: true, Where: at.String()}}
		u, err := p.uris.resolve(r.URI)
		if err != nil {
			s.err = refusal(at, r.URI, err)
		} else {
			s.entry.URI = u.String()
		}
		all = append(all, s)
	}
	slices.SortStableFunc(all, func(a, b statedRoute) int { return cmp.Compare(a.entry.Priority, b.entry.Priority) })
	return all
}

// Aliases yields what desc is called elsewhere, where the document says so. An
// alias of a kind this package doesn't know is an [*Error] of [ErrUnknown], one
// that is no such name is an [ErrRefused]; more may follow.
func (p *Places) Aliases(desc ocispec.Descriptor) iter.Seq2[Alias, error] {
	return func(yield func(Alias, error) bool) {
		c, _, err := p.consignment(desc)
		if err != nil {
			yield(Alias{}, err)
			return
		}
		if c.Consignment == nil {
			return
		}
		for i, a := range c.Aliases {
			if err := a.check(c.where.at("aliases", i)); err != nil {
				a = Alias{}
				if !yield(a, err) {
					return
				}
			} else if !yield(a, nil) {
				return
			}
		}
	}
}

// PieceHints is what a document says of a blob's pieces.
type PieceHints struct {
	*Pieces
	// Size is the blob's, in bytes.
	Size int64
	// Table describes the table of hashes, a blob to be fetched where
	// Pieces.Data is nil.
	Table ocispec.Descriptor
	// Entries are the places of the table that can be used, by priority.
	Entries []Entry
	// Refused is what is wrong with the others: an [*Error] of [ErrRefused]
	// each.
	Refused []error
}

// Pieces returns what the document says of desc's pieces, or false where it
// says nothing. That of a consignment whose size isn't desc's is an [ErrRefused].
func (p *Places) Pieces(desc ocispec.Descriptor) (PieceHints, bool, error) {
	c, _, err := p.consignment(desc)
	if err != nil || c.Consignment == nil || c.Consignment.Pieces == nil {
		return PieceHints{}, false, err
	}
	pieces := c.Consignment.Pieces
	table, err := pieces.Table(c.Size)
	if err != nil {
		return PieceHints{}, false, err
	}
	hints := PieceHints{Pieces: pieces, Size: c.Size, Table: table}
	for _, s := range p.routes(pieces.Routes, c.where.at("pieces", "routes")) {
		if s.err != nil {
			hints.Refused = append(hints.Refused, s.err)
			continue
		}
		hints.Entries = append(hints.Entries, s.entry)
	}
	return hints, true, nil
}

// locate returns the place of a blob at the carrier.
func (c carrier) locate(d digest.Digest) (Entry, error) {
	if c.template == nil {
		return c.entry, nil
	}
	u, err := c.template.place(d)
	if err != nil {
		return Entry{}, &Error{Kind: ErrRefused, Where: c.entry.Where, Err: err}
	}
	e := c.entry
	e.URI = u.String()
	return e, nil
}

// newCarrier makes a carrier ready, by the rules of its protocol
// (spec/waybill.md §4.4).
func newCarrier(c Carrier, where pointer, uris uriContext) (carrier, error) {
	entry := Entry{Protocol: c.Protocol, Repository: c.Repository, Priority: c.effectivePriority(), Where: where.String()}
	if c.Protocol == ProtocolCASTemplate {
		if c.Repository != "" {
			return carrier{}, refusal(where, c.URI, errNoRepository(c.Protocol))
		}
		t, err := newCASTemplate(c.URI, uris)
		if err != nil {
			return carrier{}, refusal(where, c.URI, err)
		}
		entry.Source = c.URI
		if uris.base != nil {
			entry.Source = absoluteTemplate(c.URI, uris.base)
		}
		return carrier{entry, t}, nil
	}
	check, ok := carrierChecks[c.Protocol]
	if !ok {
		return carrier{}, errorf(ErrUnknown, where, "protocol %q is unknown; the carrier is ignored", clip(c.Protocol))
	}
	u, err := uris.resolve(c.URI)
	if err == nil {
		err = check(u, c.Repository)
	}
	if err != nil {
		return carrier{}, refusal(where, c.URI, err)
	}
	entry.URI = u.String()
	entry.Source = entry.URI
	if c.Repository != "" {
		entry.Source = strings.TrimSuffix(entry.URI, "/") + "/" + c.Repository
	}
	return carrier{entry: entry}, nil
}

// absoluteTemplate returns a template with the base it is relative to in front,
// which is enough to tell places apart.
func absoluteTemplate(text string, base *url.URL) string {
	literal, _, _ := strings.Cut(text, "{")
	if u, err := url.Parse(literal); err == nil && u.IsAbs() {
		return text
	}
	u, err := base.Parse(literal + "-")
	if err != nil {
		return text
	}
	return strings.TrimSuffix(u.String(), "-") + strings.TrimPrefix(text, literal)
}

// carrierChecks hold what the protocols want of a carrier beside a URI that may
// be used.
var carrierChecks = map[string]func(u *url.URL, repository string) error{
	ProtocolDistribution: func(u *url.URL, repository string) error {
		if u.Path != "" && u.Path != "/" {
			return errors.New("a path in the URI; the repository has a member of its own")
		}
		if err := checkRepository(repository); err != nil {
			return err
		}
		return checkWebPlace(u)
	},
	ProtocolIPFSGateway: func(u *url.URL, repository string) error {
		if repository != "" {
			return errNoRepository(ProtocolIPFSGateway)
		}
		return checkWebPlace(u)
	},
	ProtocolSSHLayout: func(u *url.URL, repository string) error {
		if repository != "" {
			return errNoRepository(ProtocolSSHLayout)
		}
		if u.Scheme != "sftp" && u.Scheme != "ssh" {
			return fmt.Errorf("scheme %q; %s is about sftp and ssh", clip(u.Scheme), ProtocolSSHLayout)
		}
		return nil
	},
}

// checkWebPlace checks that u is the base of a web service.
func checkWebPlace(u *url.URL) error {
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("scheme %q where https or http is wanted", clip(u.Scheme))
	case u.RawQuery != "" || u.ForceQuery:
		return errors.New("a query in the URI")
	}
	return nil
}

func errNoRepository(protocol string) error {
	return fmt.Errorf("%s has no repository", protocol)
}

// refusal returns the error for an entry whose URI may not be used.
func refusal(where pointer, uri string, err error) error {
	return errorf(ErrRefused, where, "%s: %w", shown(uri), err)
}
