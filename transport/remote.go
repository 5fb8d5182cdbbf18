package transport

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/transport/netclass"
)

// Remote says that a document of somebody else's named a place, and how near
// to this machine the place may be then. The zero value says that the user or
// their configuration named it: it may be anywhere.
type Remote uint8

// RemotePublic is a place that may be in the public network only: what nearly
// every document may name.
const RemotePublic Remote = 1

// RemoteIn is a place in a network at least as wide as floor: what a document
// may name that the user had read from such a network.
func RemoteIn(floor netclass.Class) Remote {
	return RemotePublic + Remote(netclass.Public-min(floor, netclass.Public))
}

// Floor returns the narrowest network the place may be in.
func (r Remote) Floor() netclass.Class {
	if r == 0 || r > RemoteIn(netclass.Loopback) {
		return netclass.Loopback
	}
	return netclass.Public - netclass.Class(r-RemotePublic)
}

// ByOrigin is a Transport that reads from places the user named or configured
// with Local, and from those named by other people's documents (Route.Remote)
// with Remote, whose transports keep out of private networks and send no
// credentials. A scheme that Remote lacks is [ErrRefused] for such a route:
// files, hosts and programs of the user's are nobody else's to name.
type ByOrigin struct {
	Local, Remote Schemes
}

var (
	_ Transport = ByOrigin{}
	_ Sizer     = ByOrigin{}
	_ Checker   = ByOrigin{}
	_ Queuer    = ByOrigin{}
	_ Preparer  = ByOrigin{}
	_ io.Closer = ByOrigin{}
)

// Open hands the request to the transport for the route.
func (b ByOrigin) Open(ctx context.Context, route Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	s, err := b.schemes(route)
	if err != nil {
		return nil, err
	}
	return s.Open(ctx, route, desc, offset, length)
}

// Size asks the transport for the route; see [Schemes.Size].
func (b ByOrigin) Size(ctx context.Context, route Route, desc ocispec.Descriptor) (int64, error) {
	s, err := b.schemes(route)
	if err != nil {
		return 0, err
	}
	return s.Size(ctx, route, desc)
}

// Check says what is wrong with a URI that the user gave; see [Schemes.Check].
func (b ByOrigin) Check(uri string) error { return b.Local.Check(uri) }

// Prepare asks the user about a place that they named; see [Schemes.Prepare].
// For places of other people's documents nobody is asked anything.
func (b ByOrigin) Prepare(ctx context.Context, uri string) error {
	return b.Local.Prepare(ctx, uri)
}

// Turn asks the transport for the route; see [Schemes.Turn].
func (b ByOrigin) Turn(route Route) time.Duration {
	s, err := b.schemes(route)
	if err != nil {
		return 0
	}
	return s.Turn(route)
}

// Close closes both; see [Schemes.Close].
func (b ByOrigin) Close() error { return errors.Join(b.Local.Close(), b.Remote.Close()) }

func (b ByOrigin) schemes(route Route) (Schemes, error) {
	if route.Remote == 0 {
		return b.Local, nil
	}
	scheme, _, _ := strings.Cut(route.URI, ":")
	if b.Remote[strings.ToLower(scheme)] == nil {
		return nil, Errorf(ErrRefused, route.URI, "%s named it, and %s: is not for others to name", route.Origin, scheme)
	}
	return b.Remote, nil
}
