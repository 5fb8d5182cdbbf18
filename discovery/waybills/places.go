package waybills

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/layout"
	"github.com/waybill-project/waybill/transport/local"
	"github.com/waybill-project/waybill/transport/netclass"
	"github.com/waybill-project/waybill/waybill"
	"github.com/waybill-project/waybill/webdoc"
)

// maxManifest is the largest manifest that is read; registries take no larger
// one.
const maxManifest = 4 << 20

// Registry lists and reads referrers; *registry.Client is one.
type Registry interface {
	// Referrers yields what is listed as referrers of a manifest, of one type.
	Referrers(ctx context.Context, uri string, subject digest.Digest, artifactType string) iter.Seq2[ocispec.Descriptor, error]
	// Read returns verified content, and where it came from.
	Read(ctx context.Context, uri string, desc ocispec.Descriptor) ([]byte, *url.URL, error)
}

// Referrers finds waybills among the referrers of an image in a repository, the
// URI of which is as the registry reads it (docker://HOST/REPO).
func (c *Client) Referrers(registry Registry, uri string) Source {
	where, _, _ := strings.Cut(uri, "?")
	read := func(ctx context.Context, desc ocispec.Descriptor) ([]byte, *url.URL, error) {
		return registry.Read(ctx, uri, desc)
	}
	return Source{where, func(ctx context.Context, subject digest.Digest) iter.Seq2[found, error] {
		return func(yield func(found, error) bool) {
			var listed []ocispec.Descriptor
			var failure error
			for desc, err := range registry.Referrers(ctx, uri, subject, waybill.MediaType) {
				if err != nil {
					failure = err
					break
				}
				if slices.ContainsFunc(listed, func(d ocispec.Descriptor) bool { return d.Digest == desc.Digest }) {
					continue
				}
				if listed = append(listed, desc); len(listed) > 16*MaxFound {
					listed = newestFirst(listed)[:MaxFound+1] // one more than are read: that there are more is told
					slices.Reverse(listed)
				}
			}
			for _, desc := range newestFirst(listed) {
				if !yield(artifact(ctx, where, desc, subject, read), nil) {
					return
				}
			}
			if failure != nil {
				yield(found{}, failure)
			}
		}
	}}
}

// newestFirst puts those first that say they were made last, and of others those
// listed last, which is where tools put what they attach. Waybills that are out
// of force are seldom removed, and would else keep the one in force from being read.
func newestFirst(list []ocispec.Descriptor) []ocispec.Descriptor {
	slices.Reverse(list)
	made := func(d ocispec.Descriptor) time.Time {
		t, _ := time.Parse(time.RFC3339, d.Annotations[ocispec.AnnotationCreated])
		return t
	}
	slices.SortStableFunc(list, func(a, b ocispec.Descriptor) int { return made(b).Compare(made(a)) })
	return list
}

// artifact reads the document of a waybill's manifest that a list names.
func artifact(ctx context.Context, where string, desc ocispec.Descriptor, subject digest.Digest,
	read func(context.Context, ocispec.Descriptor) ([]byte, *url.URL, error),
) found {
	f := found{where: where + "@" + string(desc.Digest)}
	fail := func(err error) found {
		f.err = err
		return f
	}
	if desc.MediaType != ocispec.MediaTypeImageManifest || desc.Size > maxManifest {
		return fail(fmt.Errorf("%w: a %q of %d bytes", waybill.ErrNotManifest, clip(desc.MediaType), desc.Size))
	}
	content, base, err := read(ctx, desc)
	if err != nil {
		return fail(err)
	}
	m, err := parseManifest(content)
	if err != nil {
		return fail(err)
	}
	layer, err := waybill.CheckManifest(m, subject)
	if err != nil {
		return fail(err)
	}
	if f.content = embedded(layer); f.content == nil {
		if f.content, base, err = read(ctx, layer); err != nil {
			return fail(err)
		}
	}
	if f.base = base; base != nil {
		f.own = near(base, hostOf(where))
	}
	return f
}

// WellKnown finds a waybill that a host serves about an image, over https, at the
// place that is agreed on. host is HOST or HOST:PORT, and may be in any network,
// since the user named it.
func (c *Client) WellKnown(host string) Source {
	below := "https://" + host + "/.well-known/waybill/"
	return Source{below, func(ctx context.Context, subject digest.Digest) iter.Seq2[found, error] {
		return func(yield func(found, error) bool) {
			uri := below + string(subject.Algorithm()) + "/" + subject.Encoded()
			doc, err := c.o.Docs.Get(ctx, webdoc.Request{URL: uri, Max: maxFile, Floor: netclass.Loopback, Accept: accept})
			if err == nil && !mayBeWaybill(doc.MediaType) {
				err = fmt.Errorf("answered with a document of type %q", clip(doc.MediaType))
			}
			if err != nil {
				yield(found{}, err)
				return
			}
			f := found{where: uri, base: doc.URL, own: near(doc.URL, host)}
			var about digest.Digest
			f.content, about, f.err = unwrap(doc.MediaType, doc.Content)
			if f.err == nil && about != "" && about != subject {
				f.err = fmt.Errorf("%w: its subject is %s", waybill.ErrSubject, about)
			}
			yield(f, nil)
		}
	}}
}

// mayBeWaybill reports whether what a web server says of a document leaves it
// open that it is a waybill. Many answer with a page to whatever they are asked.
func mayBeWaybill(mediaType string) bool {
	switch mediaType {
	case waybill.MediaType, ocispec.MediaTypeImageManifest, "application/json", "application/octet-stream", "text/plain", "":
		return true
	}
	return false
}

// Layout finds waybills in the layout that a name means: manifests that
// index.json lists, itself or in the index of a referrers tag.
func (c *Client) Layout(n name.Name) Source {
	where := layout.URI(n.Path)
	n = name.Name{Kind: name.Layout, Path: n.Path}
	read := func(_ context.Context, desc ocispec.Descriptor) ([]byte, *url.URL, error) {
		content, err := readBlob(n, desc)
		return content, nil, err
	}
	return Source{where, func(ctx context.Context, subject digest.Digest) iter.Seq2[found, error] {
		return func(yield func(found, error) bool) {
			entries, err := layoutReferrers(ctx, n, subject)
			if err != nil {
				yield(found{}, err)
				return
			}
			for _, desc := range entries {
				if ctx.Err() != nil {
					return
				}
				f := artifact(ctx, where, desc, subject, read)
				if errors.Is(f.err, waybill.ErrSubject) {
					continue // of another image that is in the layout too
				}
				if !yield(f, nil) {
					return
				}
			}
		}
	}}
}

// layoutReferrers returns the waybills in a layout, once each; some may be about
// other images.
func layoutReferrers(ctx context.Context, n name.Name, subject digest.Digest) ([]ocispec.Descriptor, error) {
	entries, err := layout.Transport{}.Entries(ctx, n)
	if err != nil {
		return nil, err
	}
	tag := strings.Replace(string(subject), ":", "-", 1)
	for _, d := range entries {
		if d.Annotations[ocispec.AnnotationRefName] != tag || d.MediaType != ocispec.MediaTypeImageIndex {
			continue
		}
		content, err := readBlob(n, d)
		if err != nil {
			return nil, err
		}
		index, err := image.Parse(d.MediaType, content)
		if err != nil {
			return nil, transport.Errorf(transport.ErrPermanent, n.String(), "referrers tag %s: %w", tag, err)
		}
		entries = append(entries, index.Manifests...)
	}
	var all []ocispec.Descriptor
	unsaid, seen := 0, map[digest.Digest]bool{}
	for _, d := range entries {
		if seen[d.Digest] {
			continue
		}
		seen[d.Digest] = true
		if d.ArtifactType == "" && d.MediaType == ocispec.MediaTypeImageManifest && unsaid < maxUnsaid {
			unsaid++
			d.ArtifactType = artifactType(n, d)
		}
		if d.ArtifactType == waybill.MediaType {
			all = append(all, d)
		}
	}
	return newestFirst(all), nil
}

// maxUnsaid is how many manifests of a layout are read to see whether they are of
// waybills, where its index doesn't say: that is what some tools leave out.
const maxUnsaid = 1000

// artifactType returns what a manifest in a layout says of itself; empty where that
// is nothing, or it isn't there.
func artifactType(n name.Name, desc ocispec.Descriptor) string {
	content, err := readBlob(n, desc)
	if err != nil {
		return ""
	}
	m, err := parseManifest(content)
	if err != nil {
		return ""
	}
	return m.ArtifactType
}

// readBlob reads a small blob of a layout, verified.
func readBlob(n name.Name, desc ocispec.Descriptor) ([]byte, error) {
	path, err := layout.BlobPath(desc.Digest)
	if err != nil {
		return nil, err
	}
	content, err := local.ReadFile(n.String(), n.Path, filepath.FromSlash(path), maxManifest)
	if err != nil {
		return nil, err
	}
	d, err := blobdigest.FromBytes(desc.Digest.Algorithm(), content)
	if err == nil && d != desc.Digest {
		err = transport.Errorf(transport.ErrPermanent, n.String(), "%s has digest %s", desc.Digest, d)
	}
	return content, err
}

// clip keeps short what is repeated of other people's documents.
func clip(s string) string {
	const most = 100
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
