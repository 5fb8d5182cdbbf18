package image

import (
	"context"
	"fmt"
	"iter"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
)

// MaxDepth is how deep indexes may nest.
const MaxDepth = 16

// Role is what a blob is in an image.
type Role int

// The roles, by the place a descriptor stands in and not by its media type
// alone.
const (
	RoleIndex    Role = iota + 1 // an index or manifest list
	RoleManifest                 // a manifest
	RoleConfig                   // the config of a manifest
	RoleLayer                    // a layer of a manifest
	RoleOther                    // what else an index holds
)

// String returns the role's name in the words of the image-spec.
func (r Role) String() string {
	switch r {
	case RoleIndex:
		return "index"
	case RoleManifest:
		return "manifest"
	case RoleConfig:
		return "config"
	case RoleLayer:
		return "layer"
	case RoleOther:
		return "other"
	}
	return fmt.Sprintf("Role(%d)", int(r))
}

// Node is one blob of an image.
type Node struct {
	Descriptor ocispec.Descriptor
	Role       Role
	// Parent is the digest of the document Descriptor stood in; empty for the
	// root.
	Parent digest.Digest
	// Depth is the number of documents above this one.
	Depth int
	// Document and Content are set for indexes and manifests, which the walk
	// fetched to go on.
	Document *Document
	Content  []byte
}

// FetchFunc returns the verified content of a document or config. It must
// read no more than desc.Size bytes; desc.Size was checked to be at most
// [MaxDocument].
type FetchFunc func(ctx context.Context, desc ocispec.Descriptor) ([]byte, error)

// WalkOptions are the choices of a [Walk]. The zero value walks the host's
// platform.
type WalkOptions struct {
	// Platform says what of an index is walked.
	Platform PlatformFilter
	// MaxDescriptors caps the whole walk; 0 means the constant of that name.
	MaxDescriptors int
}

// Walk yields root and every wanted blob below it, each digest once, parents
// before children and config before layers: the order good for fetching. Only
// indexes and manifests are fetched (and configs where the platform stands
// nowhere else). A root without a media type is looked into; one of unknown
// size (-1) gets that of its content.
//
// With one platform wanted, the walk follows one entry of each index: the best
// that states a matching platform; else the best in the indexes nested below;
// else the best of the manifests that state none, by their configs. Nothing
// fitting is [ErrNoPlatform].
//
// An error ends the walk. Indexes nested deeper than [MaxDepth], too many
// descriptors, a digest that is given two sizes and documents that [Parse]
// refuses are errors.
func Walk(ctx context.Context, root ocispec.Descriptor, fetch FetchFunc, opts WalkOptions) iter.Seq2[Node, error] {
	return func(yield func(Node, error) bool) {
		if err := blobdigest.Validate(root.Digest); err != nil {
			yield(Node{}, err)
			return
		}
		w := newWalker(fetch, opts)
		if err := w.push([]Node{{Descriptor: root, Role: roleOf(root, RoleOther)}}); err != nil {
			yield(Node{}, err)
			return
		}
		for len(w.stack) > 0 {
			n := w.stack[len(w.stack)-1]
			w.stack = w.stack[:len(w.stack)-1]
			err := w.visit(ctx, &n)
			if err != nil {
				yield(Node{}, err)
				return
			}
			if !yield(n, nil) {
				return
			}
		}
	}
}

// walker is the state of a walk. It is a stack and not recursion, so that the
// consumer's loop sees each node as soon as it is known.
type walker struct {
	fetch  FetchFunc
	max    int
	stack  []Node
	sizes  map[digest.Digest]int64
	seen   map[seenKey]bool
	choice chooser
}

// seenKey tells a blob met as a document from the same blob met as a leaf: it
// has to be walked even where it was a layer of something before.
type seenKey struct {
	digest   digest.Digest
	document bool
}

func newWalker(fetch FetchFunc, opts WalkOptions) *walker {
	w := &walker{
		fetch: fetch, max: opts.MaxDescriptors,
		sizes: map[digest.Digest]int64{}, seen: map[seenKey]bool{},
	}
	if w.max <= 0 {
		w.max = MaxDescriptors
	}
	w.choice = chooser{
		filter: opts.Platform, document: w.document, config: w.config,
		nested: map[digest.Digest]found{},
	}
	return w
}

// push puts nodes on the stack, the first on top, but for those met before.
func (w *walker) push(nodes []Node) error {
	fresh := nodes[:0]
	for _, n := range nodes {
		d := n.Descriptor
		if size, ok := w.sizes[d.Digest]; ok && size != d.Size {
			return fmt.Errorf("%s is described as %d bytes in one place and %d in another", d.Digest, size, d.Size)
		}
		w.sizes[d.Digest] = d.Size
		key := seenKey{d.Digest, n.Role == RoleIndex || n.Role == RoleManifest}
		if w.seen[key] {
			continue
		}
		w.seen[key] = true
		fresh = append(fresh, n)
	}
	if len(w.seen) > w.max {
		return fmt.Errorf("image of more than %d descriptors; that is the limit", w.max)
	}
	for i := len(fresh) - 1; i >= 0; i-- {
		w.stack = append(w.stack, fresh[i])
	}
	return nil
}

// visit fills in n and pushes what is below it.
func (w *walker) visit(ctx context.Context, n *Node) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if n.Role == RoleOther && n.Descriptor.MediaType == "" {
		return w.visitUntyped(ctx, n)
	}
	switch n.Role {
	case RoleIndex, RoleManifest:
	default:
		return nil
	}
	if n.Role == RoleIndex && n.Depth >= MaxDepth {
		return fmt.Errorf("%s: indexes nested deeper than %d", n.Descriptor.Digest, MaxDepth)
	}
	doc, content, err := w.document(ctx, n.Descriptor)
	if err != nil {
		return err
	}
	n.Document, n.Content = doc, content
	if n.Descriptor.Size < 0 {
		n.Descriptor.Size = int64(len(content))
	}
	children, err := w.children(ctx, n)
	if err != nil {
		return err
	}
	return w.push(children)
}

// visitUntyped finds out what a root without a media type is.
func (w *walker) visitUntyped(ctx context.Context, n *Node) error {
	doc, _, err := w.document(ctx, n.Descriptor)
	if err != nil {
		return err
	}
	n.Descriptor.MediaType = doc.MediaType
	n.Role = roleOf(n.Descriptor, RoleOther)
	return w.visit(ctx, n)
}

// children returns the wanted nodes below n.
func (w *walker) children(ctx context.Context, n *Node) ([]Node, error) {
	below := func(d ocispec.Descriptor, r Role) Node {
		return Node{Descriptor: d, Role: r, Parent: n.Descriptor.Digest, Depth: n.Depth + 1}
	}
	if n.Role == RoleManifest {
		if err := w.choice.checkManifest(ctx, n.Descriptor, n.Document); err != nil {
			return nil, err
		}
		nodes := []Node{below(*n.Document.Config, RoleConfig)}
		for _, d := range n.Document.Layers {
			nodes = append(nodes, below(d, RoleLayer))
		}
		return nodes, nil
	}
	entries := n.Document.Manifests
	if !w.choice.filter.All() {
		chosen, err := w.choice.choose(ctx, n.Document, n.Depth)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n.Descriptor.Digest, err)
		}
		entries = []ocispec.Descriptor{chosen}
	}
	nodes := make([]Node, 0, len(entries))
	for _, d := range entries {
		nodes = append(nodes, below(d, roleOf(d, RoleOther)))
	}
	return nodes, nil
}

// document fetches and parses a manifest or index.
func (w *walker) document(ctx context.Context, desc ocispec.Descriptor) (*Document, []byte, error) {
	content, err := w.fetchSmall(ctx, desc)
	if err != nil {
		return nil, nil, err
	}
	doc, err := Parse(desc.MediaType, content)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", desc.Digest, err)
	}
	return doc, content, nil
}

// config fetches and parses an image configuration.
func (w *walker) config(ctx context.Context, desc ocispec.Descriptor) (*ocispec.Image, error) {
	content, err := w.fetchSmall(ctx, desc)
	if err != nil {
		return nil, err
	}
	c, err := ParseConfig(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", desc.Digest, err)
	}
	return c, nil
}

func (w *walker) fetchSmall(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	if desc.Size > MaxDocument {
		return nil, fmt.Errorf("%s: %s of %d bytes; the limit is %d", desc.Digest, desc.MediaType, desc.Size, MaxDocument)
	}
	return w.fetch(ctx, desc)
}

// roleOf returns the role of an entry of an index, or of a root.
func roleOf(desc ocispec.Descriptor, otherwise Role) Role {
	switch {
	case IsIndex(desc.MediaType):
		return RoleIndex
	case IsManifest(desc.MediaType):
		return RoleManifest
	}
	return otherwise
}
