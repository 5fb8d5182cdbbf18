package image

import (
	"context"
	"crypto/sha256"
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
	// MaxDescriptors caps the whole walk; 0 means [MaxBlobs].
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
		if err := w.push(below{entries: []ocispec.Descriptor{root}, otherwise: RoleOther}); err != nil {
			yield(Node{}, err)
			return
		}
		for {
			n, ok := w.next()
			if !ok {
				return
			}
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
// consumer's loop sees each node as soon as it is known. A document of very many
// descriptors is kept as it was parsed, and nothing but few bytes for each besides.
type walker struct {
	fetch  FetchFunc
	max    int
	stack  []below
	met    map[[sha256.Size]byte]met
	count  int // of those met, once as a document and once as a leaf
	choice chooser
}

// below is what a document is made of, and what of it is still to be visited.
type below struct {
	entries   []ocispec.Descriptor
	parent    digest.Digest
	depth     int
	config    bool // the first entry is one
	otherwise Role // of what is neither a manifest nor an index; of all of them in a manifest
	fresh     []int32
}

// role returns that of an entry.
func (b *below) role(i int) Role {
	switch {
	case b.config && i == 0:
		return RoleConfig
	case b.otherwise == RoleLayer:
		return RoleLayer
	}
	return roleOf(b.entries[i], b.otherwise)
}

// met is a blob that was met before. One met as a document is told from the same
// met as a leaf: it has to be walked even where it was a layer of something.
type met struct {
	size           int64
	document, leaf bool
}

func newWalker(fetch FetchFunc, opts WalkOptions) *walker {
	w := &walker{
		fetch: fetch, max: opts.MaxDescriptors, met: map[[sha256.Size]byte]met{},
	}
	if w.max <= 0 {
		w.max = MaxBlobs
	}
	w.choice = chooser{
		filter: opts.Platform, document: w.document, config: w.config,
		nested: map[digest.Digest]found{},
	}
	return w
}

// push puts what is below a document on the stack, but for what was met before.
func (w *walker) push(b below) error {
	for i, d := range b.entries {
		key := sha256.Sum256([]byte(d.Digest))
		m, ok := w.met[key]
		if ok && m.size != d.Size {
			return fmt.Errorf("%s is described as %d bytes in one place and %d in another", d.Digest, m.size, d.Size)
		}
		seen := &m.leaf
		if r := b.role(i); r == RoleIndex || r == RoleManifest {
			seen = &m.document
		}
		if *seen {
			continue
		}
		if w.count++; w.count > w.max {
			return fmt.Errorf("image of more than %d descriptors; that is the limit", w.max)
		}
		*seen, m.size = true, d.Size
		w.met[key] = m
		b.fresh = append(b.fresh, int32(i))
	}
	w.stack = append(w.stack, b)
	return nil
}

// next takes the next node off the stack.
func (w *walker) next() (Node, bool) {
	for len(w.stack) > 0 {
		b := &w.stack[len(w.stack)-1]
		if len(b.fresh) == 0 {
			*b = below{}
			w.stack = w.stack[:len(w.stack)-1]
			continue
		}
		i := int(b.fresh[0])
		b.fresh = b.fresh[1:]
		return Node{Descriptor: b.entries[i], Role: b.role(i), Parent: b.parent, Depth: b.depth}, true
	}
	return Node{}, false
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

// children returns what is wanted of what is below n.
func (w *walker) children(ctx context.Context, n *Node) (below, error) {
	b := below{parent: n.Descriptor.Digest, depth: n.Depth + 1, otherwise: RoleOther}
	if n.Role == RoleManifest {
		b.config, b.otherwise, b.entries = true, RoleLayer, n.Document.Children()
		return b, w.choice.checkManifest(ctx, n.Descriptor, n.Document)
	}
	b.entries = n.Document.Manifests
	if !w.choice.filter.All() {
		chosen, err := w.choice.choose(ctx, n.Document, n.Depth)
		if err != nil {
			return below{}, fmt.Errorf("%s: %w", n.Descriptor.Digest, err)
		}
		b.entries = []ocispec.Descriptor{chosen}
	}
	return b, nil
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
