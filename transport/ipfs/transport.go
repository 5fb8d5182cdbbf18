package ipfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/ipfs/go-cid"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/filetree"
	"github.com/waybill-project/waybill/transport/httpclient"
)

// Resolver looks DNSLink names up. [net.Resolver] is one.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// Reading is how the blocks of a file are asked for.
type Reading uint8

const (
	// Auto asks gateways on this machine for blocks, others for CARs.
	Auto Reading = iota
	// CARs asks for a whole range in one stream (IPIP-402), and for blocks
	// where a gateway can't make that.
	CARs
	// Blocks asks for each block by itself, several ahead.
	Blocks
)

// Options configures a [Transport]. The zero value uses a kubo on this machine
// and nobody else.
type Options struct {
	// Gateways are the base URLs of gateways asked for ipfs: and ipns:, the
	// best first; user information in them is sent as Basic authentication.
	// There is no default: what is fetched is told to nobody unasked.
	Gateways []string

	// NoLocal leaves the kubo on this machine alone. Otherwise it is looked
	// for, again whenever something is asked, as other programs do:
	// $IPFS_GATEWAY, the file gateway in $IPFS_PATH or ~/.ipfs, and the
	// configuration there if the file api says that kubo is running.
	NoLocal bool

	// Routers are the base URLs of delegated routers (IPIP-337, /routing/v1).
	// They are asked when no gateway has something: for gateways that do, and
	// for IPNS records. What they name may only be in the public network,
	// unless the client trusts the host.
	Routers []string

	// Resolver looks up DNSLink names; nil means [net.DefaultResolver].
	Resolver Resolver

	// Reading is how blocks are asked for.
	Reading Reading

	// Warn is told of a gateway that sent wrong data, failed while there are
	// others, or of a router that failed: the base URL, without user
	// information, and one line. Of each it is told once, and it may be told by
	// several goroutines at once. Nil means nobody is told.
	Warn func(base, text string)

	// Hints returns the CID of a blob, in text, that is too large to be one
	// block, or "" if none is known. It is asked for ipfs+https: only. Nil
	// knows none.
	Hints func(desc ocispec.Descriptor) string
}

// Transport is the [transport.Transport] and [transport.Sizer] of this
// package's schemes. Where a place is an OCI layout, Resolve and Entries read
// its names. It is safe for concurrent use.
type Transport struct {
	*filetree.Tree
	client  *httpclient.Client
	options Options

	configured []endpoint
	routers    []endpoint
	cache      *cache
	names      names
	providers  providers

	mu       sync.Mutex
	gateways map[gatewayKey]*gateway
	served   map[string]*gateway // by root
}

var (
	_ transport.Transport = (*Transport)(nil)
	_ transport.Sizer     = (*Transport)(nil)
	_ io.Closer           = (*Transport)(nil)
)

// New returns a transport that makes its requests with client. It fails where a
// gateway or router of options is not an http or https URL.
func New(client *httpclient.Client, options Options) (*Transport, error) {
	t := &Transport{
		client:   client,
		options:  options,
		cache:    newCache(),
		gateways: map[gatewayKey]*gateway{},
		served:   map[string]*gateway{},
	}
	if t.options.Resolver == nil {
		t.options.Resolver = net.DefaultResolver
	}
	for _, l := range []struct {
		what string
		urls []string
		to   *[]endpoint
	}{{"gateway", options.Gateways, &t.configured}, {"router", options.Routers, &t.routers}} {
		for _, u := range l.urls {
			e, err := parseEndpoint(u)
			if err != nil {
				return nil, fmt.Errorf("IPFS %s %s: %w", l.what, transport.Redact(u), err)
			}
			*l.to = append(*l.to, *e)
		}
	}
	t.Tree = filetree.New(files{t})
	return t, nil
}

// Check says what is wrong with a URI, as the function [Check] does.
func (t *Transport) Check(uri string) error { return Check(uri) }

// warn tells of a failure at base that need not be an error for the caller.
func (t *Transport) warn(base string, err error) {
	if t.options.Warn != nil {
		t.options.Warn(base, cause(base, err).Error())
	}
}

// cause returns err without the name of base, where it happened there.
func cause(base string, err error) error {
	var te *transport.Error
	if errors.As(err, &te) && te.Err != nil && strings.HasPrefix(te.URI, base) {
		return te.Err
	}
	return err
}

// Close closes the connections no request is using.
func (t *Transport) Close() error {
	t.client.CloseIdleConnections()
	return nil
}

// Open implements [transport.Transport]. A directory is a place of files named
// by digest; a file is a source of the blob that has its size and, where the
// CID tells, its digest, and [transport.ErrNotFound] for any other.
func (t *Transport) Open(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	f, err := t.blob(ctx, route, desc)
	if err != nil {
		return nil, err
	}
	if f == nil {
		return t.Tree.Open(ctx, route, desc, offset, length)
	}
	return f.open(ctx, filetree.Part{Size: desc.Size, Offset: offset, Length: length})
}

// Size implements [transport.Sizer].
func (t *Transport) Size(ctx context.Context, route transport.Route, desc ocispec.Descriptor) (int64, error) {
	f, err := t.blob(ctx, route, desc)
	if err != nil {
		return 0, err
	}
	if f == nil {
		return t.Tree.Size(ctx, route, desc)
	}
	return f.node.size, nil
}

// blob returns the file that a route's URI itself means for desc, or nil where
// it means a directory.
func (t *Transport) blob(ctx context.Context, route transport.Route, desc ocispec.Descriptor) (*content, error) {
	p, err := parsePlace(route.URI)
	if err != nil {
		return nil, err
	}
	if err := blobdigest.Validate(desc.Digest); err != nil {
		return nil, transport.Errorf(transport.ErrPermanent, p.uri, "%w", err)
	}
	p.floor = route.Remote.Floor()
	if p.anyBlob() {
		c, err := t.cidOf(p, desc)
		if err != nil {
			return nil, err
		}
		return t.atGateway(p, c).file(ctx, c)
	}
	s, err := t.session(ctx, p)
	if err != nil {
		return nil, err
	}
	c, n, err := s.resolve(ctx, s.path)
	if err != nil {
		return nil, err
	}
	switch n.kind {
	case directory, shard:
		if p.gateway != nil && route.Remote != 0 {
			// What reads directories doesn't know how near a gateway may be.
			return nil, transport.Errorf(transport.ErrRefused, p.uri, "is a directory, at a gateway that %s named", route.Origin)
		}
		return nil, nil
	case symlink:
		return nil, s.fail("is a symbolic link, which is not followed")
	}
	if d, ok := digestOf(c); ok && d.Algorithm() == desc.Digest.Algorithm() && d != desc.Digest {
		return nil, transport.Errorf(transport.ErrNotFound, p.uri, "is one file, with digest %s", d)
	}
	if desc.Size >= 0 && desc.Size != n.size {
		return nil, transport.Errorf(transport.ErrNotFound, p.uri, "is one file, of %d bytes; %s has %d", n.size, desc.Digest, desc.Size)
	}
	return &content{session: s, cid: c, node: n}, nil
}

// cidOf returns the CID under which a gateway may have a blob.
func (t *Transport) cidOf(p *place, desc ocispec.Descriptor) (cid.Cid, error) {
	if t.options.Hints != nil {
		if hint := t.options.Hints(desc); hint != "" {
			c, err := parseCID(hint)
			if err != nil {
				return cid.Undef, transport.Errorf(transport.ErrPermanent, p.uri, "hint for %s: %w", desc.Digest, err)
			}
			return c, nil
		}
	}
	if desc.Size > MaxBlock {
		return cid.Undef, transport.Errorf(transport.ErrNotFound, p.uri,
			"%s has %d bytes: above %d a blob is several blocks, and its CID can't be told from its digest; name it as ipfs://CID", desc.Digest, desc.Size, MaxBlock)
	}
	c, err := rawCID(desc.Digest)
	if err != nil {
		return cid.Undef, transport.Errorf(transport.ErrPermanent, p.uri, "%w", err)
	}
	return c, nil
}

// files are the files of directories: what [filetree.Tree] reads.
type files struct{ t *Transport }

// OpenFile implements [filetree.Files].
func (f files) OpenFile(ctx context.Context, uri, name string, part filetree.Part) (io.ReadCloser, error) {
	c, err := f.file(ctx, uri, name)
	if err != nil {
		return nil, err
	}
	return c.open(ctx, part)
}

// FileSize implements [filetree.Files].
func (f files) FileSize(ctx context.Context, uri, name string) (int64, error) {
	c, err := f.file(ctx, uri, name)
	if err != nil {
		return 0, err
	}
	return c.node.size, nil
}

// file returns the file called name below a place.
func (f files) file(ctx context.Context, uri, name string) (*content, error) {
	p, err := parsePlace(uri)
	if err != nil {
		return nil, err
	}
	if p.anyBlob() {
		return nil, transport.Errorf(transport.ErrNotFound, uri, "a gateway has no files of its own; name a directory as ipfs://CID")
	}
	s, err := f.t.session(ctx, p)
	if err != nil {
		return nil, err
	}
	path, err := s.below(name)
	if err != nil {
		return nil, err
	}
	c, n, err := s.resolve(ctx, path)
	if err != nil {
		return nil, err
	}
	if n.kind != file {
		return nil, transport.Errorf(transport.ErrNotFound, uri, "%s is a %s, not a file", name, n.kind)
	}
	return &content{session: s, cid: c, node: n}, nil
}

// header returns the headers of a request for mediaType. Bytes come as they
// are stored.
func header(mediaType string) http.Header {
	return http.Header{"Accept": {mediaType}, "Accept-Encoding": {"identity"}}
}
