package resolve

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/locate"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/store"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/layout"
)

// ErrNotFound: whoever was asked doesn't know the name.
var ErrNotFound = errors.New("name not found")

// Testimony says who gave an answer, and when.
type Testimony struct {
	Resolver string    `json:"resolver"` // the protocol: "registry", "oci", "store", …
	URI      string    `json:"uri"`      // who was asked
	Time     time.Time `json:"time"`
	// Also are others who gave the same answer, where several had to, and those
	// on whose word it rests: the registry that a document leads to.
	Also []Testimony `json:"also,omitempty"`
}

// All returns the testimony and those that agree with it, each by itself.
func (t Testimony) All() []Testimony {
	also := t.Also
	t.Also = nil
	return append([]Testimony{t}, also...)
}

// Resolution is what a name means.
type Resolution struct {
	// Descriptor is the image's. Its Size is -1 and its MediaType empty where
	// only the digest is known.
	Descriptor ocispec.Descriptor
	// Content is the manifest or index itself where it came with the answer.
	// Like all content it is to be verified against Descriptor.
	Content []byte
	// Index is the index that Descriptor stood in, where that is no blob: the
	// index.json of a layout.
	Index []byte
	By    Testimony
	// Hints are places that the same documents say may hold the image's blobs.
	Hints []locate.Locator
}

// Resolver resolves names of one kind. Implementations are safe for concurrent
// use.
type Resolver interface {
	// Resolve returns what n means. known is the digest the caller already
	// has the content of, or empty: an answer that is the same may leave
	// Content out, and the resolver should ask for less. A name nobody knows
	// is [ErrNotFound]; other errors are the transport's.
	Resolve(ctx context.Context, n name.Name, known ocispec.Descriptor) (Resolution, error)
}

// Names is a Resolver that hands a name to the one for its kind.
type Names map[name.Kind]Resolver

// Resolve implements [Resolver].
func (ns Names) Resolve(ctx context.Context, n name.Name, known ocispec.Descriptor) (Resolution, error) {
	r := ns[n.Kind]
	if r == nil {
		return Resolution{}, fmt.Errorf("name %q: no resolver for names of kind %q", n, n.Kind)
	}
	return r.Resolve(ctx, n, known)
}

// Manifests reads manifests from registries; *registry.Client is one.
type Manifests interface {
	Get(ctx context.Context, host, repository, reference string) (ocispec.Descriptor, []byte, error)
	Head(ctx context.Context, host, repository, reference string) (ocispec.Descriptor, error)
}

// Registry resolves names of registries (distribution-spec, "Pulling
// manifests"). What it has to fetch to answer it hands on, so that a first
// pull is one request and a repeated one is one that carries no content.
type Registry struct {
	Client Manifests
}

// Resolve implements [Resolver]. A name with a digest means what the digest
// says, whatever the tag beside it; the registry is then only asked for the
// content, and not even for that where it is known.
func (r Registry) Resolve(ctx context.Context, n name.Name, known ocispec.Descriptor) (Resolution, error) {
	by := Testimony{Resolver: "registry", URI: "docker://" + n.Host + "/" + n.Repository, Time: time.Now()}
	if n.Digest != "" && known.Digest == n.Digest {
		return digestOnly(n, known), nil
	}
	if n.Digest == "" && known.Digest != "" {
		desc, err := r.Client.Head(ctx, n.Host, n.Repository, n.Tag)
		if err == nil && desc.Digest == known.Digest {
			return Resolution{Descriptor: known, By: by}, nil
		}
		if err != nil && (errors.Is(err, transport.ErrNotFound) || errors.Is(err, transport.ErrUnauthorized)) {
			return Resolution{}, notFound(n, err)
		}
		// It moved, or the registry can't answer HEAD: read it.
	}
	desc, content, err := r.Client.Get(ctx, n.Host, n.Repository, n.Reference())
	if err != nil {
		return Resolution{}, notFound(n, err)
	}
	return Resolution{Descriptor: desc, Content: content, By: by}, nil
}

// digestOnly answers with what the name itself says.
func digestOnly(n name.Name, known ocispec.Descriptor) Resolution {
	by := Testimony{Resolver: "digest", URI: n.String(), Time: time.Now()}
	if known.Digest == n.Digest {
		return Resolution{Descriptor: known, By: by}
	}
	return Resolution{Descriptor: ocispec.Descriptor{Digest: n.Digest, Size: -1}, By: by}
}

// notFound adds ErrNotFound to an error that says as much.
func notFound(n name.Name, err error) error {
	if errors.Is(err, transport.ErrNotFound) {
		return fmt.Errorf("%w: %s: %w", ErrNotFound, n.Familiar(), err)
	}
	return err
}

// Digests resolves bare digests: they say all there is to say.
type Digests struct{}

// Resolve implements [Resolver]. It asks nobody and never fails.
func (Digests) Resolve(_ context.Context, n name.Name, known ocispec.Descriptor) (Resolution, error) {
	return digestOnly(n, known), nil
}

// Finder finds images in layouts and archives; layout.Transport,
// archive.Transport and filetree.Tree are some.
type Finder interface {
	Resolve(ctx context.Context, n name.Name) (layout.Found, error)
}

// Local resolves names of layouts and archives, wherever they are.
type Local struct {
	Finder Finder
}

// Resolve implements [Resolver].
func (l Local) Resolve(ctx context.Context, n name.Name, _ ocispec.Descriptor) (Resolution, error) {
	found, err := l.Finder.Resolve(ctx, n)
	if err != nil {
		return Resolution{}, notFound(n, err)
	}
	by := Testimony{Resolver: n.Kind.String(), URI: n.Kind.String() + ":" + n.Path, Time: time.Now()}
	if n.Kind == name.Place {
		by.Resolver, by.URI = placeResolver(n.Path), n.Path
	}
	return Resolution{Descriptor: found.Descriptor, Index: found.Index, By: by}, nil
}

// placeResolver says by which protocol a place says what it holds. Most are a
// layout's index.json and no more; what stands behind ipns:// is said by a
// signed record, or where it is a domain by that one's DNS (DNSLink).
func placeResolver(uri string) string {
	scheme, rest, _ := strings.Cut(uri, "://")
	host, _, _ := strings.Cut(rest, "/")
	switch {
	case !strings.EqualFold(scheme, "ipns"):
		return "oci"
	case strings.Contains(host, "."):
		return "dnslink"
	}
	return "ipns"
}

// Refs reads the store's refs; *store.Store is one.
type Refs interface {
	Ref(name string) (store.Ref, error)
	ReadBlob(d digest.Digest, max int64) ([]byte, error)
}

// Store resolves names by the record the store keeps of an earlier answer, for
// when nobody may be asked.
type Store struct {
	Refs Refs
}

// Resolve implements [Resolver].
func (s Store) Resolve(_ context.Context, n name.Name, _ ocispec.Descriptor) (Resolution, error) {
	ref, err := s.Refs.Ref(n.String())
	if errors.Is(err, store.ErrNotFound) && n.Digest != "" {
		return s.byDigest(n)
	}
	if errors.Is(err, store.ErrNotFound) {
		return Resolution{}, fmt.Errorf("%w: %s is not in the store", ErrNotFound, n.Familiar())
	}
	if err != nil {
		return Resolution{}, err
	}
	return Resolution{Descriptor: ref.Descriptor, By: recorded(ref)}, nil
}

// recorded returns who said, once, what a ref holds.
func recorded(ref store.Ref) Testimony {
	by := Testimony{Resolver: "store", URI: ref.ResolvedBy, Time: ref.Time}
	for _, w := range ref.Also {
		by.Also = append(by.Also, Testimony{Resolver: w.Resolver, URI: w.URI, Time: w.Time})
	}
	return by
}

// Ref returns the record to keep of an answer, with who gave it. An answer that
// came from such a record keeps its date and its witnesses.
func Ref(n name.Name, desc ocispec.Descriptor, by Testimony) store.Ref {
	ref := store.Ref{Name: n.String(), Descriptor: desc, ResolvedBy: transport.Redact(by.URI), Time: by.Time}
	for _, w := range by.Also {
		ref.Also = append(ref.Also, store.Witness{Resolver: w.Resolver, URI: transport.Redact(w.URI), Time: w.Time})
	}
	return ref
}

// byDigest finds out what the content with the name's digest is.
func (s Store) byDigest(n name.Name) (Resolution, error) {
	content, err := s.Refs.ReadBlob(n.Digest, image.MaxDocument)
	if errors.Is(err, store.ErrNotFound) {
		return Resolution{}, fmt.Errorf("%w: %s is not in the store", ErrNotFound, n.Familiar())
	}
	if err != nil {
		return Resolution{}, err
	}
	mediaType, err := image.DetectMediaType(image.Bytes(content))
	if err != nil {
		return Resolution{}, fmt.Errorf("%s: %w", n.Familiar(), err)
	}
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: n.Digest, Size: int64(len(content))}
	return Resolution{Descriptor: desc, Content: content, By: Testimony{Resolver: "digest", URI: n.String(), Time: time.Now()}}, nil
}
