package image

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
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
	// Above is the document Descriptor stood in; nil for the root.
	Above *Node
	// Depth is the number of documents above this one.
	Depth int
	// Extension is what the [Extension] of the walk has made of that of the
	// descriptor, where it stood in an index that was a blob; nil where it has none.
	Extension any
	// Document is set for indexes and manifests, which the walk fetched to go on.
	// The manifests of an index aren't in it: they are yielded.
	Document *Document
}

// FetchFunc returns the verified content of the document or config n, which the walk
// closes. It must be of no more than n.Descriptor.Size bytes, which was checked to be
// at most [MaxDocument]. n.Document isn't known yet.
type FetchFunc func(ctx context.Context, n Node) (Content, error)

// WalkOptions are the choices of a [Walk]. The zero value walks the host's
// platform.
type WalkOptions struct {
	// Platform says what of an index is walked.
	Platform PlatformFilter
	// MaxDescriptors caps the whole walk; 0 means [MaxBlobs].
	MaxDescriptors int
	// Extension, when set, is read of indexes and of what they list.
	Extension *Extension
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
		defer w.close()
		if err := w.push(below{list: descriptors{root}, otherwise: RoleOther}); err != nil {
			yield(Node{}, err)
			return
		}
		for {
			n, ok, err := w.next()
			if err == nil && ok {
				err = w.visit(ctx, &n)
			}
			if err != nil {
				yield(Node{}, err)
				return
			}
			if !ok || !yield(n, nil) {
				return
			}
		}
	}
}

// walker is the state of a walk. It is a stack and not recursion, so that the
// consumer's loop sees each node as soon as it is known. Of what a document lists
// few bytes each are kept, however many there are.
type walker struct {
	fetch     FetchFunc
	extension *Extension
	max       int
	stack     []below
	met       map[key]met
	count     int // of those met, once as a document and once as a leaf
	choice    chooser
}

// list is what a document is made of.
type list interface {
	len() int
	get(i int) (ocispec.Descriptor, error)
	extension(i int) (any, error)
}

// descriptors are a list in memory.
type descriptors []ocispec.Descriptor

func (d descriptors) len() int                              { return len(d) }
func (d descriptors) get(i int) (ocispec.Descriptor, error) { return d[i], nil }
func (d descriptors) extension(int) (any, error)            { return nil, nil }

// chosen is one of a list.
type chosen struct {
	list
	i int
}

func (c chosen) len() int                            { return 1 }
func (c chosen) get(int) (ocispec.Descriptor, error) { return c.list.get(c.i) }
func (c chosen) extension(int) (any, error)          { return c.list.extension(c.i) }

// below is what a document is made of, and what of it is still to be visited.
type below struct {
	list      list
	content   io.Closer // what list is read from; may be nil
	above     *Node
	config    bool // the first of list is one
	otherwise Role // of what is neither a manifest nor an index; of all of them in a manifest
	fresh     []int32
}

// role returns that of the i-th of the list, which is desc.
func (b *below) role(i int, desc ocispec.Descriptor) Role {
	switch {
	case b.config && i == 0:
		return RoleConfig
	case b.otherwise == RoleLayer:
		return RoleLayer
	}
	return roleOf(desc, b.otherwise)
}

// node returns that of the i-th of the list.
func (b *below) node(i int) (Node, error) {
	desc, err := b.list.get(i)
	n := Node{Descriptor: desc, Role: b.role(i, desc), Above: b.above}
	if b.above != nil {
		n.Depth = b.above.Depth + 1
	}
	if err == nil {
		n.Extension, err = b.list.extension(i)
	}
	return n, err
}

func (b *below) close() {
	if b.content != nil {
		b.content.Close()
	}
}

// key stands for a digest, in as many bytes as make sure that nobody finds two of
// the same.
type key [16]byte

func keyOf(d digest.Digest) key {
	sum := sha256.Sum256([]byte(d))
	return key(sum[:16])
}

// met is a blob that was met before: its size, and in the last bits whether as a
// document and as a leaf. One met as a document is told from the same met as a
// leaf: it has to be walked even where it was a layer of something.
type met int64

const (
	metDocument met = 1 << iota
	metLeaf
	metBits = iota
)

func (m met) size() int64 { return int64(m >> metBits) }

func newWalker(fetch FetchFunc, opts WalkOptions) *walker {
	w := &walker{
		fetch: fetch, extension: opts.Extension, max: opts.MaxDescriptors, met: map[key]met{},
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
	w.stack = append(w.stack, b)
	top := &w.stack[len(w.stack)-1]
	for i := range b.list.len() {
		desc, err := b.list.get(i)
		if err != nil {
			return err
		}
		k, as := keyOf(desc.Digest), metLeaf
		if r := b.role(i, desc); r == RoleIndex || r == RoleManifest {
			as = metDocument
		}
		m, ok := w.met[k]
		if ok && m.size() != desc.Size {
			return fmt.Errorf("%s is described as %d bytes in one place and %d in another", desc.Digest, m.size(), desc.Size)
		}
		if m&as != 0 {
			continue
		}
		if w.count++; w.count > w.max {
			return fmt.Errorf("image of more than %d descriptors; that is the limit", w.max)
		}
		if !ok {
			m = met(desc.Size << metBits)
		}
		w.met[k] = m | as
		top.fresh = append(top.fresh, int32(i))
	}
	return nil
}

// next takes the next node off the stack; false is the end.
func (w *walker) next() (Node, bool, error) {
	for len(w.stack) > 0 {
		b := &w.stack[len(w.stack)-1]
		if len(b.fresh) == 0 {
			b.close()
			*b = below{}
			w.stack = w.stack[:len(w.stack)-1]
			continue
		}
		i := int(b.fresh[0])
		b.fresh = b.fresh[1:]
		n, err := b.node(i)
		return n, true, err
	}
	return Node{}, false, nil
}

// close closes what is still being read.
func (w *walker) close() {
	for i := range w.stack {
		w.stack[i].close()
	}
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
	doc, manifests, content, err := w.document(ctx, *n)
	if err != nil {
		return err
	}
	n.Document = doc
	if n.Descriptor.Size < 0 {
		n.Descriptor.Size = content.Size()
	}
	above := *n
	children, err := w.children(ctx, &above, manifests)
	if n.Role == RoleIndex && err == nil {
		children.content = content
	} else {
		content.Close()
	}
	if err != nil {
		return err
	}
	return w.push(children)
}

// visitUntyped finds out what a root without a media type is.
func (w *walker) visitUntyped(ctx context.Context, n *Node) error {
	content, err := w.fetchSmall(ctx, *n)
	if err != nil {
		return err
	}
	n.Descriptor.MediaType, err = DetectMediaType(content)
	content.Close()
	if err != nil {
		return fmt.Errorf("%s: %w", n.Descriptor.Digest, err)
	}
	n.Role = roleOf(n.Descriptor, RoleOther)
	return w.visit(ctx, n)
}

// children returns what is wanted of what is below n.
func (w *walker) children(ctx context.Context, n *Node, manifests *entries) (below, error) {
	b := below{above: n, otherwise: RoleOther, list: manifests}
	if n.Role == RoleManifest {
		b.config, b.otherwise, b.list = true, RoleLayer, descriptors(n.Document.Children())
		return b, w.choice.checkManifest(ctx, n)
	}
	if !w.choice.filter.All() {
		i, err := w.choice.choose(ctx, n, manifests)
		if err != nil {
			return below{}, fmt.Errorf("%s: %w", n.Descriptor.Digest, err)
		}
		b.list = chosen{manifests, i}
	}
	return b, nil
}

// document fetches and reads a manifest or index. The manifests of an index are
// read from the content, which is to be closed.
func (w *walker) document(ctx context.Context, n Node) (*Document, *entries, Content, error) {
	content, err := w.fetchSmall(ctx, n)
	if err != nil {
		return nil, nil, nil, err
	}
	doc, manifests, err := read(n.Descriptor.MediaType, content, w.extension, n.Descriptor.Digest)
	if err != nil {
		content.Close()
		return nil, nil, nil, fmt.Errorf("%s: %w", n.Descriptor.Digest, err)
	}
	return doc, manifests, content, nil
}

// config fetches and parses the image configuration of a manifest.
func (w *walker) config(ctx context.Context, manifest *Node) (*ocispec.Image, error) {
	desc := *manifest.Document.Config
	content, err := w.fetchSmall(ctx, Node{Descriptor: desc, Role: RoleConfig, Above: manifest, Depth: manifest.Depth + 1})
	if err != nil {
		return nil, err
	}
	defer content.Close()
	var c *ocispec.Image
	b, err := readAll(content, MaxConfig)
	if err == nil {
		c, err = ParseConfig(b)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", desc.Digest, err)
	}
	return c, nil
}

func (w *walker) fetchSmall(ctx context.Context, n Node) (Content, error) {
	if desc := n.Descriptor; desc.Size > MaxDocument {
		return nil, fmt.Errorf("%s: %s of %d bytes; the limit is %d", desc.Digest, desc.MediaType, desc.Size, MaxDocument)
	}
	return w.fetch(ctx, n)
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
