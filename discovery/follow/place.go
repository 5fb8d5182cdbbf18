package follow

import (
	"context"
	"iter"
	"net/url"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
	"github.com/waybill-project/waybill/discovery/target"
	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/locate"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/layout"
	"github.com/waybill-project/waybill/webdoc"
)

// maxIndex is the largest index that such a document leads to, in bytes.
const maxIndex = 8 << 20

// index gets an index or manifest and finds the image in it.
func (c *Client) index(ctx context.Context, t target.Target, want Request) (resolve.Resolution, error) {
	doc, err := c.options.Docs.Get(ctx, webdoc.Request{
		URL: t.URI, Max: maxIndex, Floor: want.remote(t).Floor(),
		Accept: strings.Join([]string{ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, "application/json;q=0.5"}, ", "),
	})
	if err != nil {
		return resolve.Resolution{}, err
	}
	parsed, err := image.Parse("", doc.Content)
	if err != nil {
		return resolve.Resolution{}, transport.Errorf(transport.ErrPermanent, t.URI, "%w", err)
	}
	by := resolve.Testimony{Resolver: t.Kind.String(), URI: withoutQuery(doc.URL)}
	itself := ocispec.Descriptor{MediaType: parsed.MediaType, Digest: digest.FromBytes(doc.Content), Size: int64(len(doc.Content))}
	if want.Digest == itself.Digest || want.Digest == "" && !hasRefs(parsed) {
		return resolve.Resolution{Descriptor: itself, Content: doc.Content, By: by}, nil
	}
	n := name.Name{Kind: name.Place, Path: withoutQuery(doc.URL), Digest: want.Digest, Ref: want.Ref}
	if len(parsed.Manifests) == 1 {
		n.Ref = "" // whatever it is called
	}
	desc, err := layout.Select(parsed.Manifests, n)
	if err != nil {
		return resolve.Resolution{}, err
	}
	return resolve.Resolution{Descriptor: desc, Index: doc.Content, By: by}, nil
}

// hasRefs reports whether a document is the index.json of a layout: a list of
// images with what each is called there.
func hasRefs(d *image.Document) bool {
	for _, m := range d.Manifests {
		if layout.Ref(m) != "" {
			return true
		}
	}
	return false
}

// blobsBeside is the locator of the blobs of a layout whose index.json is at t;
// nil where t is called otherwise.
func blobsBeside(t target.Target, want Request) locate.Locator {
	u, err := url.Parse(t.URI)
	if err != nil || path.Base(u.Path) != ocispec.ImageIndexFile {
		return nil
	}
	base := u.ResolveReference(&url.URL{Path: "blobs/"})
	remote := want.remote(t)
	return locate.Func(func(_ context.Context, desc ocispec.Descriptor) iter.Seq2[transport.Route, error] {
		return func(yield func(transport.Route, error) bool) {
			// Before it is a part of a URI (CVE-2024-3727).
			if err := blobdigest.Validate(desc.Digest); err != nil {
				yield(transport.Route{}, err)
				return
			}
			blob := base.ResolveReference(&url.URL{Path: string(desc.Digest.Algorithm()) + "/" + desc.Digest.Encoded()})
			yield(transport.Route{URI: blob.String(), Source: base.String(), Origin: want.Origin, Remote: remote}, nil)
		}
	})
}

// fixed is the locator of one route for all blobs.
func fixed(r transport.Route) locate.Locator {
	return locate.Func(func(context.Context, ocispec.Descriptor) iter.Seq2[transport.Route, error] {
		return func(yield func(transport.Route, error) bool) { yield(r, nil) }
	})
}

// placeURI returns the URI of a place as it is asked.
func placeURI(t target.Target) string {
	if rest, ok := strings.CutPrefix(t.URI, "https://"); ok {
		return ArchiveScheme + "://" + rest
	}
	return t.URI
}

func schemeOf(uri string) string {
	scheme, _, _ := strings.Cut(uri, ":")
	return scheme
}

// withoutQuery returns a URL fit to be shown: its query may hold a signature.
func withoutQuery(u *url.URL) string {
	c := *u
	c.RawQuery, c.ForceQuery, c.User = "", false, nil
	return c.String()
}
