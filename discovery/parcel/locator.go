package parcel

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"net/url"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
	"github.com/waybill-project/waybill/discovery/target"
	"github.com/waybill-project/waybill/locate"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/netclass"
	"github.com/waybill-project/waybill/uritmpl"
)

// MaxRoutes is how many templates are tried for one blob.
const MaxRoutes = 1000

// Locator returns the locator of what blobURIs says. Entries whose media type
// conflicts with a blob's are not used for it; where the blob's isn't known,
// nothing conflicts. What the entries say themselves comes before what further
// descriptors say, which have to be got. The routes are marked as
// remote, and held to [Distribution.Floor].
func (d *Distribution) Locator() locate.Locator { return locate.Func(d.locate) }

// Floor returns the narrowest network that one of the locator's routes may lead
// to (spec/security.md §3): the internet, but any at the very host and port of
// the name, which the user typed, and at the distribution's own origin the one
// that it was had from.
func (d *Distribution) Floor(uri string) netclass.Class {
	u, err := url.Parse(uri)
	if err != nil {
		return netclass.Public
	}
	return d.floorOf(u)
}

// floorOf is Floor for a URL.
func (d *Distribution) floorOf(u *url.URL) netclass.Class {
	if d.URL != nil && uritmpl.Origin(u) == uritmpl.Origin(d.URL) {
		return min(d.floor, d.Name.floor(u))
	}
	return d.Name.floor(u)
}

func (d *Distribution) locate(ctx context.Context, desc ocispec.Descriptor) iter.Seq2[transport.Route, error] {
	return func(yield func(transport.Route, error) bool) {
		// Before it is a part of a URI (CVE-2024-3727).
		if err := blobdigest.Validate(desc.Digest); err != nil {
			yield(transport.Route{}, fmt.Errorf("parcel %s: %w", d.Name, err))
			return
		}
		l := d.newListing(desc, yield)
		for _, nested := range []bool{false, true} {
			for _, entry := range d.Blobs {
				if nested == (entry.MediaType == MediaTypeDescriptor) {
					l.entry(ctx, entry, d.URL, 0)
				}
			}
		}
		if !l.ended && l.matched && len(l.seen) == 0 {
			yield(transport.Route{}, fmt.Errorf("parcel %s: no usable template for %s in %s", d.Name, desc.Digest, shown(d.URL)))
		}
	}
}

// listing is the search for one blob's routes.
type listing struct {
	*walk
	distribution *Distribution

	desc  ocispec.Descriptor
	yield func(transport.Route, error) bool

	seen    map[string]bool // URIs yielded
	tried   int             // templates
	matched bool            // an entry was for the blob
	ended   bool            // nobody listens any more, or there are enough
}

func (d *Distribution) newListing(desc ocispec.Descriptor, yield func(transport.Route, error) bool) *listing {
	w := d.client.newWalk(d.Name, d.URL, nil)
	w.floor = d.floorOf
	w.known = slices.Concat(discoveryVariables, blobVariables)
	maps.Copy(w.values, map[string]string{
		varBlobAlgorithm:    desc.Digest.Algorithm().String(),
		varBlobAlgorithmToo: desc.Digest.Algorithm().String(),
		varBlobDigest:       desc.Digest.Encoded(),
	})
	return &listing{walk: w, distribution: d, desc: desc, yield: yield, seen: map[string]bool{}}
}

// entry yields the routes of one entry, which stands in the document at where.
func (l *listing) entry(ctx context.Context, d Descriptor, where *url.URL, depth int) {
	switch {
	case d.MediaType == MediaTypeDescriptor:
		l.nestedEntry(ctx, d, depth)
		return
	case d.MediaType != MediaTypeOpaque && l.desc.MediaType != "" && d.MediaType != l.desc.MediaType:
		return
	}
	l.matched = true
	for _, t := range d.Templates {
		if l.tried++; l.tried > MaxRoutes && !l.ended {
			l.ended = true
			l.ignore(l.base, "more than %d templates for one blob; the rest is ignored", MaxRoutes)
		}
		if l.ended {
			return
		}
		uri, err := l.uri(t)
		if err != nil {
			l.ignore(where, "template %q not used: %v", target.Shown(t.String()), err)
			continue
		}
		l.emit(transport.Route{URI: uri, Source: l.source(t), Origin: "parcel " + shown(where), Remote: transport.RemoteIn(l.distribution.Floor(uri))})
	}
}

// nestedEntry goes on with the first of d's documents that can be had: they
// are copies of one descriptor.
func (l *listing) nestedEntry(ctx context.Context, d Descriptor, depth int) {
	for _, t := range d.Templates {
		if l.ended || ctx.Err() != nil {
			return
		}
		doc, err := l.get(ctx, t, MediaTypeDescriptor)
		if err != nil {
			l.ignore(l.base, "template %q not used: %v", target.Shown(t.String()), err)
			continue
		}
		next, err := l.descriptor(doc, depth)
		if err != nil {
			l.ignore(doc.URL, "descriptor not used: %v", err)
			continue
		}
		l.read(doc.URL)
		l.entry(ctx, next, doc.URL, depth+1)
		return
	}
	l.matched = true // for all anybody knows
}

func (l *listing) emit(r transport.Route) {
	if !l.seen[r.URI] {
		l.seen[r.URI] = true
		l.ended = !l.yield(r, nil)
	}
}

// uri returns where the blob is by a template, as transports read it.
func (l *listing) uri(t *uritmpl.Template) (string, error) {
	u, err := t.Resolve(l.base, l.values)
	if err != nil {
		return "", err
	}
	if u.Scheme == "ipfs" || u.Scheme == "ipns" {
		return "", fmt.Errorf("scheme %q, which the draft reserves", u.Scheme)
	}
	return locate.BlobURI(u.String())
}

// source is the place that a template's routes have in common. One that is
// relative is the distribution's.
func (l *listing) source(t *uritmpl.Template) string {
	text := t.String()
	if scheme, _, ok := strings.Cut(text, ":"); ok && !strings.ContainsAny(scheme, "/{") {
		return text
	}
	return shown(l.base) + " " + text
}
