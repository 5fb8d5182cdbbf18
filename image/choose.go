package image

import (
	"context"
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
	document func(context.Context, ocispec.Descriptor) (*Document, *entries, Content, error)
	config   func(context.Context, ocispec.Descriptor) (*ocispec.Image, error)
	probes   int
	nested   map[digest.Digest]found
	// seen is one entry of each platform that was stated or learnt, as far as the
	// error may have to list them.
	seen  map[string]bool
	there []ocispec.Descriptor
	notes int // how often a platform was stated or learnt
}

// found is what an index has for the platform; nil where it has nothing.
type found struct {
	entry    ocispec.Descriptor
	platform *ocispec.Platform
}

// better takes e, which is for p, where it suits better.
func (f *found) better(filter PlatformFilter, e ocispec.Descriptor, p ocispec.Platform) {
	if filter.Match(p) && (f.platform == nil || filter.Better(p, *f.platform)) {
		*f = found{e, &p}
	}
}

// choose returns the entry to follow. manifests are those of an index at the given
// depth.
func (c *chooser) choose(ctx context.Context, manifests *entries, depth int) (ocispec.Descriptor, error) {
	c.seen, c.there = map[string]bool{}, nil
	best, err := c.best(ctx, manifests, depth)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if best.platform == nil {
		return ocispec.Descriptor{}, c.filter.none(c.there)
	}
	return best.entry, nil
}

// note remembers that there is something for a platform.
func (c *chooser) note(p ocispec.Platform) {
	c.notes++
	if s := FormatPlatform(p); !c.seen[s] && len(c.seen) < MaxMembers {
		c.seen[s] = true
		c.there = append(c.there, ocispec.Descriptor{Platform: &p})
	}
}

// best looks in three places, each only where the one before had nothing.
func (c *chooser) best(ctx context.Context, manifests *entries, depth int) (found, error) {
	var best found
	var indexes, silent distinct
	before := c.notes
	for i := range manifests.len() {
		e, err := manifests.get(i)
		if err != nil {
			return found{}, err
		}
		switch {
		case !IsDocument(e.MediaType) || IsAttestation(e):
		case e.Platform != nil:
			c.note(*e.Platform)
			best.better(c.filter, e, *e.Platform)
		case IsIndex(e.MediaType):
			indexes.add(e)
		default:
			silent.add(e)
		}
	}
	if best.platform != nil {
		return best, nil
	}
	best, err := c.bestNested(ctx, indexes.list, depth)
	if err != nil || best.platform != nil {
		return best, err
	}
	return c.bestSilent(ctx, silent.list, c.notes == before)
}

// distinct are entries of an index, each digest once, and no more than may be looked
// into and one.
type distinct struct {
	list []ocispec.Descriptor
	has  map[digest.Digest]bool
}

func (d *distinct) add(e ocispec.Descriptor) {
	if d.has[e.Digest] || len(d.list) > maxProbes {
		return
	}
	if d.has == nil {
		d.has = map[digest.Digest]bool{}
	}
	d.has[e.Digest] = true
	d.list = append(d.list, e)
}

// bestNested looks into the indexes of an index.
func (c *chooser) bestNested(ctx context.Context, indexes []ocispec.Descriptor, depth int) (found, error) {
	var best found
	for _, e := range indexes {
		if depth+1 >= MaxDepth {
			return found{}, fmt.Errorf("indexes nested deeper than %d", MaxDepth)
		}
		f, ok := c.nested[e.Digest]
		if !ok {
			c.nested[e.Digest] = found{} // a cycle has nothing more to offer
			var err error
			if f, err = c.probeIndex(ctx, e, depth+1); err != nil {
				return found{}, err
			}
			c.nested[e.Digest] = f
		}
		if f.platform != nil {
			best.better(c.filter, e, *f.platform)
		}
	}
	return best, nil
}

// probeIndex returns the best an index at the given depth has.
func (c *chooser) probeIndex(ctx context.Context, desc ocispec.Descriptor, depth int) (found, error) {
	_, manifests, content, err := c.probe(ctx, desc)
	if err != nil {
		return found{}, err
	}
	defer content.Close()
	return c.best(ctx, manifests, depth)
}

// bestSilent looks at manifests that state no platform. One that is all alone
// is taken; whether it fits, [chooser.checkManifest] says.
func (c *chooser) bestSilent(ctx context.Context, manifests []ocispec.Descriptor, alone bool) (found, error) {
	if alone && len(manifests) == 1 {
		p := c.filter.platform()
		return found{manifests[0], &p}, nil
	}
	var best found
	for _, e := range manifests {
		doc, _, content, err := c.probe(ctx, e)
		if err != nil {
			return found{}, err
		}
		content.Close()
		if !IsConfig(doc.Config.MediaType) {
			continue
		}
		config, err := c.config(ctx, *doc.Config)
		if err != nil {
			return found{}, err
		}
		c.note(config.Platform)
		best.better(c.filter, e, config.Platform)
	}
	return best, nil
}

// probe fetches a document to learn the platforms in it.
func (c *chooser) probe(ctx context.Context, desc ocispec.Descriptor) (*Document, *entries, Content, error) {
	if c.probes++; c.probes > maxProbes {
		return nil, nil, nil, fmt.Errorf("the index states no platforms and has more than %d entries to look into; use --platform all, or the digest of the one wanted", maxProbes)
	}
	return c.document(ctx, desc)
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
