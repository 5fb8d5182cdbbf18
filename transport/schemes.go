package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Schemes is a Transport that dispatches on the scheme of the route's URI. It
// is filled in one place by the program and not changed afterwards. Two schemes
// may have the same transport.
type Schemes map[string]Transport

var (
	_ Transport = Schemes(nil)
	_ Sizer     = Schemes(nil)
	_ Checker   = Schemes(nil)
	_ Queuer    = Schemes(nil)
	_ Preparer  = Schemes(nil)
	_ io.Closer = Schemes(nil)
)

// Open hands the request to the transport of the URI's scheme.
func (s Schemes) Open(ctx context.Context, route Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	t, err := s.lookup(route.URI)
	if err != nil {
		return nil, err
	}
	return t.Open(ctx, route, desc, offset, length)
}

// Size asks the transport of the URI's scheme, where it is a [Sizer]; others
// answer -1.
func (s Schemes) Size(ctx context.Context, route Route, desc ocispec.Descriptor) (int64, error) {
	t, err := s.lookup(route.URI)
	if err != nil {
		return 0, err
	}
	if sizer, ok := t.(Sizer); ok {
		return sizer.Size(ctx, route, desc)
	}
	return -1, nil
}

// Check says what is wrong with a URI: that its scheme is unknown, or what the
// transport of its scheme says, where that is a [Checker]. Nobody is asked.
func (s Schemes) Check(uri string) error {
	t, err := s.lookup(uri)
	if err != nil {
		return err
	}
	if checker, ok := t.(Checker); ok {
		return checker.Check(uri)
	}
	return nil
}

// Turn asks the transport of the URI's scheme, where it is a [Queuer].
func (s Schemes) Turn(route Route) time.Duration {
	t, err := s.lookup(route.URI)
	if err != nil {
		return 0
	}
	if q, ok := t.(Queuer); ok {
		return q.Turn(route)
	}
	return 0
}

// Prepare has the transport of the URI's scheme ask the user, where it is a
// [Preparer].
func (s Schemes) Prepare(ctx context.Context, uri string) error {
	t, err := s.lookup(uri)
	if err != nil {
		return err
	}
	if p, ok := t.(Preparer); ok {
		return p.Prepare(ctx, uri)
	}
	return nil
}

// Close closes every transport that is an io.Closer, once, also where it has
// several schemes. It closes all of them, whatever they answer.
func (s Schemes) Close() error {
	var errs []error
	closed := map[io.Closer]bool{}
	for _, scheme := range s.names() {
		closer, ok := s[scheme].(io.Closer)
		if !ok {
			continue
		}
		// What can't be compared (a Schemes) can't be told from another.
		if reflect.ValueOf(closer).Comparable() {
			if closed[closer] {
				continue
			}
			closed[closer] = true
		}
		if err := closer.Close(); err != nil {
			errs = append(errs, fmt.Errorf("closing the transport of %s: %w", scheme, err))
		}
	}
	return errors.Join(errs...)
}

// lookup returns the transport of a URI's scheme. Schemes are the same in upper
// and lower case (RFC 3986 §3.1).
func (s Schemes) lookup(uri string) (Transport, error) {
	scheme, _, ok := strings.Cut(uri, ":")
	if !ok {
		return nil, Errorf(ErrPermanent, uri, "not a URI: it has no scheme; known are %s", strings.Join(s.names(), ", "))
	}
	if t := s[strings.ToLower(scheme)]; t != nil {
		return t, nil
	}
	return nil, Errorf(ErrPermanent, uri, "no transport for scheme %q; known are %s", scheme, strings.Join(s.names(), ", "))
}

// names returns the schemes that have a transport, sorted.
func (s Schemes) names() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(s)), func(scheme string) bool { return s[scheme] == nil })
}
