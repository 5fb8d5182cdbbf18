package image

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxProbes bounds how many documents are fetched only to learn their platform.
const maxProbes = 64

// chooser picks the entry of an index that leads to the wanted platform, also
// where the platform stands in a nested index or only in the configs.
type chooser struct {
	filter   PlatformFilter
	document func(context.Context, ocispec.Descriptor) (*Document, []byte, error)
	config   func(context.Context, ocispec.Descriptor) (*ocispec.Image, error)
	probes   int
	nested   map[digest.Digest]found
}

// found is what an index has for the platform; nil where it has nothing.
type found struct {
	entry    ocispec.Descriptor
	platform *ocispec.Platform
}

// choose returns the entry to follow. doc is an index at the given depth.
func (c *chooser) choose(ctx context.Context, doc *Document, depth int) (ocispec.Descriptor, error) {
	best, entries, err := c.best(ctx, doc, depth)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if best.platform == nil {
		return ocispec.Descriptor{}, c.filter.none(entries)
	}
	return best.entry, nil
}

// best looks in three places, each only where the one before had nothing. It
// also returns the entries seen, with the platforms that were learnt, for the
// error.
func (c *chooser) best(ctx context.Context, doc *Document, depth int) (found, []ocispec.Descriptor, error) {
	var stated, indexes, silent []ocispec.Descriptor
	for _, e := range doc.Manifests {
		switch {
		case !IsDocument(e.MediaType) || IsAttestation(e):
		case e.Platform != nil:
			stated = append(stated, e)
		case IsIndex(e.MediaType):
			indexes = append(indexes, e)
		default:
			silent = append(silent, e)
		}
	}
	entry, err := c.filter.Choose(stated)
	if err == nil {
		return found{entry, entry.Platform}, stated, nil
	}
	if !errors.Is(err, ErrNoPlatform) {
		return found{}, nil, err
	}
	best, seen, err := c.bestNested(ctx, indexes, depth)
	stated = append(stated, seen...)
	if err != nil || best.platform != nil {
		return best, stated, err
	}
	best, seen, err = c.bestSilent(ctx, silent, len(stated) == 0)
	return best, append(stated, seen...), err
}

// bestNested looks into the indexes of an index.
func (c *chooser) bestNested(ctx context.Context, indexes []ocispec.Descriptor, depth int) (found, []ocispec.Descriptor, error) {
	var best found
	var seen []ocispec.Descriptor
	for _, e := range indexes {
		if depth+1 >= MaxDepth {
			return found{}, nil, fmt.Errorf("indexes nested deeper than %d", MaxDepth)
		}
		f, ok := c.nested[e.Digest]
		if !ok {
			doc, err := c.probe(ctx, e)
			if err != nil {
				return found{}, nil, err
			}
			c.nested[e.Digest] = found{} // a cycle has nothing more to offer
			var below []ocispec.Descriptor
			if f, below, err = c.best(ctx, doc, depth+1); err != nil {
				return found{}, nil, err
			}
			seen = append(seen, below...)
			c.nested[e.Digest] = f
		}
		if f.platform != nil && (best.platform == nil || c.filter.Better(*f.platform, *best.platform)) {
			best = found{e, f.platform}
		}
	}
	return best, seen, nil
}

// bestSilent looks at manifests that state no platform. One that is all alone
// is taken; whether it fits, [chooser.checkManifest] says.
func (c *chooser) bestSilent(ctx context.Context, manifests []ocispec.Descriptor, alone bool) (found, []ocispec.Descriptor, error) {
	if alone && len(manifests) == 1 {
		p := c.filter.platform()
		return found{manifests[0], &p}, nil, nil
	}
	var best found
	var seen []ocispec.Descriptor
	for _, e := range manifests {
		doc, err := c.probe(ctx, e)
		if err != nil {
			return found{}, nil, err
		}
		if !IsConfig(doc.Config.MediaType) {
			continue
		}
		config, err := c.config(ctx, *doc.Config)
		if err != nil {
			return found{}, nil, err
		}
		p := config.Platform
		seen = append(seen, ocispec.Descriptor{Platform: &p})
		if c.filter.Match(p) && (best.platform == nil || c.filter.Better(p, *best.platform)) {
			best = found{e, &p}
		}
	}
	return best, seen, nil
}

// probe fetches a document to learn the platforms in it.
func (c *chooser) probe(ctx context.Context, desc ocispec.Descriptor) (*Document, error) {
	if c.probes++; c.probes > maxProbes {
		return nil, fmt.Errorf("the index states no platforms and has more than %d entries to look into; use --platform all, or the digest of the one wanted", maxProbes)
	}
	doc, _, err := c.document(ctx, desc)
	return doc, err
}

// checkManifest holds a manifest against the platform that was asked for: the
// one its descriptor states, else the one its config does. Artifacts have none.
func (c *chooser) checkManifest(ctx context.Context, desc ocispec.Descriptor, doc *Document) error {
	if c.filter.want == nil {
		return nil
	}
	have := desc.Platform
	if have == nil {
		if !IsConfig(doc.Config.MediaType) {
			return nil
		}
		config, err := c.config(ctx, *doc.Config)
		if err != nil {
			return err
		}
		have = &config.Platform
	}
	if !c.filter.Match(*have) {
		return fmt.Errorf("%s: %w (%s): it is for %s only", desc.Digest, ErrNoPlatform, c.filter, FormatPlatform(*have))
	}
	return nil
}
