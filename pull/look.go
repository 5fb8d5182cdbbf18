package pull

import (
	"context"
	"iter"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/transport"
)

// Located is a blob of an image and where it may be had.
type Located struct {
	Descriptor ocispec.Descriptor
	Role       image.Role
	// Routes asks the locators and yields what they say as they say it. It may
	// be ranged over by any goroutine, as long as Look's context lasts.
	Routes iter.Seq2[transport.Route, error]
}

// Look resolves n and yields every blob of the image, parents first, with the
// places it may be had. Only documents are fetched, into the store; no ref and
// no record are written. With req.Digest, that blob alone is yielded and
// nothing is fetched. An error is the last thing yielded and is one of those
// of [Session.Wait].
func (p *Puller) Look(ctx context.Context, n name.Name, req Request) iter.Seq2[Located, error] {
	return func(yield func(Located, error) bool) {
		s, err := p.prepare(ctx, n, req)
		if err != nil {
			yield(Located{}, err)
			return
		}
		defer s.cancel()
		more := true
		err = s.look(ctx, func(n image.Node) bool {
			more = yield(Located{n.Descriptor, n.Role, s.locate(ctx, &n)}, nil)
			return more
		})
		if releaseErr := s.lease.Release(); err == nil {
			err = releaseErr
		}
		if err != nil && more {
			yield(Located{}, err)
		}
	}
}

// look visits the blobs of the image until visit returns false. What is visited
// is asked about as long as ctx lasts.
func (s *Session) look(ctx context.Context, visit func(image.Node) bool) error {
	if s.req.Digest != "" {
		s.consult(ctx, s.req.Digest)
		visit(image.Node{Descriptor: ocispec.Descriptor{Digest: s.req.Digest, Size: s.req.Size}, Role: image.RoleOther})
		return nil
	}
	root, err := s.resolve()
	if err != nil {
		return err
	}
	s.consult(ctx, root.Digest)
	if root, err = s.fetchRoot(root); err != nil {
		return err
	}
	for node, err := range s.nodes(s.ctx, root) {
		if err != nil {
			return err
		}
		if !visit(node) {
			return nil
		}
	}
	return nil
}
