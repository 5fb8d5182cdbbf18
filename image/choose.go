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
	document func(context.Context, Node) (*Document, *entries, Content, error)
	config   func(ctx context.Context, manifest *Node) (*ocispec.Image, error)
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
	entry    int
	platform *ocispec.Platform
}

// better takes the entry i, which is for p, where it suits better.
func (f *found) better(filter PlatformFilter, i int, p ocispec.Platform) {
	if filter.Match(p) && (f.platform == nil || filter.Better(p, *f.platform)) {
		*f = found{i, &p}
	}
}

// choose returns the number of the entry to follow. manifests are those of index.
func (c *chooser) choose(ctx context.Context, index *Node, manifests *entries) (int, error) {
	c.seen, c.there = map[string]bool{}, nil
	best, err := c.best(ctx, index, manifests)
	if err != nil {
		return 0, err
	}
	if best.platform == nil {
		return 0, c.filter.none(c.there)
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
func (c *chooser) best(ctx context.Context, index *Node, manifests *entries) (found, error) {
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
			best.better(c.filter, i, *e.Platform)
		case IsIndex(e.MediaType):
			indexes.add(i, e.Digest)
		default:
			silent.add(i, e.Digest)
		}
	}
	if best.platform != nil {
		return best, nil
	}
	all := below{above: index, list: manifests, otherwise: RoleOther}
	best, err := c.bestNested(ctx, &all, indexes.list)
	if err != nil || best.platform != nil {
		return best, err
	}
	return c.bestSilent(ctx, &all, silent.list, c.notes == before)
}

// distinct are entries of an index, each digest once, and no more than may be looked
// into and one.
type distinct struct {
	list []int
	has  map[digest.Digest]bool
}

func (d *distinct) add(i int, of digest.Digest) {
	if d.has[of] || len(d.list) > maxProbes {
		return
	}
	if d.has == nil {
		d.has = map[digest.Digest]bool{}
	}
	d.has[of] = true
	d.list = append(d.list, i)
}

// bestNested looks into the indexes of an index.
func (c *chooser) bestNested(ctx context.Context, all *below, indexes []int) (found, error) {
	var best found
	for _, i := range indexes {
		e, err := all.node(i)
		if err != nil {
			return found{}, err
		}
		if e.Depth >= MaxDepth {
			return found{}, fmt.Errorf("indexes nested deeper than %d", MaxDepth)
		}
		d := e.Descriptor.Digest
		f, ok := c.nested[d]
		if !ok {
			c.nested[d] = found{} // a cycle has nothing more to offer
			if f, err = c.probeIndex(ctx, e); err != nil {
				return found{}, err
			}
			c.nested[d] = f
		}
		if f.platform != nil {
			best.better(c.filter, i, *f.platform)
		}
	}
	return best, nil
}

// probeIndex returns the best an index has.
func (c *chooser) probeIndex(ctx context.Context, index Node) (found, error) {
	manifests, content, err := c.probe(ctx, &index)
	if err != nil {
		return found{}, err
	}
	defer content.Close()
	return c.best(ctx, &index, manifests)
}

// bestSilent looks at manifests that state no platform. One that is all alone
// is taken; whether it fits, [chooser.checkManifest] says.
func (c *chooser) bestSilent(ctx context.Context, all *below, manifests []int, alone bool) (found, error) {
	if alone && len(manifests) == 1 {
		p := c.filter.platform()
		return found{manifests[0], &p}, nil
	}
	var best found
	for _, i := range manifests {
		e, err := all.node(i)
		if err != nil {
			return found{}, err
		}
		_, content, err := c.probe(ctx, &e)
		if err != nil {
			return found{}, err
		}
		content.Close()
		if !IsConfig(e.Document.Config.MediaType) {
			continue
		}
		config, err := c.config(ctx, &e)
		if err != nil {
			return found{}, err
		}
		c.note(config.Platform)
		best.better(c.filter, i, config.Platform)
	}
	return best, nil
}

// probe fetches the document n to learn the platforms in it.
func (c *chooser) probe(ctx context.Context, n *Node) (manifests *entries, content Content, err error) {
	if c.probes++; c.probes > maxProbes {
		return nil, nil, fmt.Errorf("the index states no platforms and has more than %d entries to look into; use --platform all, or the digest of the one wanted", maxProbes)
	}
	n.Document, manifests, content, err = c.document(ctx, *n)
	return manifests, content, err
}

// checkManifest holds a manifest against the platform that was asked for: the
// one its descriptor states, else the one its config does. Artifacts have none.
func (c *chooser) checkManifest(ctx context.Context, manifest *Node) error {
	if c.filter.want == nil {
		return nil
	}
	desc := manifest.Descriptor
	have := desc.Platform
	if have == nil {
		if !IsConfig(manifest.Document.Config.MediaType) {
			return nil
		}
		config, err := c.config(ctx, manifest)
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
