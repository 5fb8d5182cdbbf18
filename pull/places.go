package pull

import (
	"context"
	"iter"

	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/locate"
	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/transport"
)

// maxWithin is how many places that indexes name are asked for one blob.
const maxWithin = 100

// within returns the locators that the indexes above n hold, the nearest first.
func within(n *image.Node) []locate.Locator {
	var all []locate.Locator
	add := func(read any) {
		if l, ok := read.(locate.Locator); ok {
			all = append(all, l)
		}
	}
	add(n.Extension)
	for above := n.Above; above != nil; above = above.Above {
		if above.Document != nil {
			add(above.Document.Extension)
		}
		add(above.Extension)
	}
	return all
}

// locate returns the places where a blob may be had, from all there is to ask.
func (s *Session) locate(ctx context.Context, n *image.Node) iter.Seq2[transport.Route, error] {
	desc, all := n.Descriptor, s.sources
	if more := within(n); len(more) > 0 {
		all = locate.All(all, locate.InOrder(maxWithin, more...))
	}
	if s.p.Further != nil {
		all = s.p.Further(all)
	}
	return all.Locate(ctx, desc)
}

// readAbove takes the places that the index of an answer names for all of the image.
func (s *Session) readAbove(r resolve.Resolution) error {
	if r.Index == nil || s.req.Within == nil || s.req.Offline {
		return nil
	}
	all, err := s.req.Within.Above(r.Descriptor.Digest, r.Index)
	for _, read := range all {
		if l, ok := read.(locate.Locator); ok {
			s.sources = locate.All(s.sources, l)
		}
	}
	return err
}
