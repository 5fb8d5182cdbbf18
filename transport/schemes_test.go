package transport_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/transport"
)

// missing is a transport that has no blob.
func missing(_ context.Context, r transport.Route, _ ocispec.Descriptor, _, _ int64) (io.ReadCloser, error) {
	return nil, transport.Errorf(transport.ErrNotFound, r.URI, "no such thing")
}

// full is a transport that can all there is, and counts how often it is closed.
type full struct {
	transport.Func
	closed  int
	failure error
}

func (f *full) Size(context.Context, transport.Route, ocispec.Descriptor) (int64, error) {
	return 42, nil
}

func (f *full) Check(uri string) error {
	if strings.HasSuffix(uri, "!") {
		return transport.Errorf(transport.ErrPermanent, uri, "too loud")
	}
	return nil
}

func (f *full) Close() error {
	f.closed++
	return f.failure
}

func TestSchemes(t *testing.T) {
	s := transport.Schemes{"x": transport.Func(missing), "nil": nil}
	_, err := s.Open(context.Background(), transport.Route{URI: "x:y"}, ocispec.Descriptor{}, 0, 1)
	if !errors.Is(err, transport.ErrNotFound) || err.Error() != "x:y: no such thing" {
		t.Errorf("got %v", err)
	}
	for _, uri := range []string{"y:z", "x", "", "nil:x"} {
		if _, err := s.Open(context.Background(), transport.Route{URI: uri}, ocispec.Descriptor{}, 0, 1); !errors.Is(err, transport.ErrPermanent) {
			t.Errorf("%q: got %v", uri, err)
		}
	}
	if n, err := s.Size(context.Background(), transport.Route{URI: "x:y"}, ocispec.Descriptor{}); n != -1 || err != nil {
		t.Errorf("a transport that can't tell sizes: %d, %v", n, err)
	}
}

// asking is a transport that asks the user, and remembers what for.
type asking struct {
	transport.Func
	about []string
	err   error
}

func (a *asking) Prepare(_ context.Context, uri string) error {
	a.about = append(a.about, uri)
	return a.err
}

func TestSchemesPrepare(t *testing.T) {
	refused := transport.Errorf(transport.ErrUnauthorized, "a:x", "the answer was wrong")
	a := &asking{}
	s := transport.Schemes{"a": a, "x": transport.Func(missing)}
	for _, p := range []transport.Preparer{s, transport.ByOrigin{Local: s, Remote: transport.Schemes{"a": &asking{}}}} {
		a.about, a.err = nil, refused
		if err := p.Prepare(t.Context(), "A:x"); err != error(refused) || len(a.about) != 1 || a.about[0] != "A:x" {
			t.Errorf("%T: asked about %q: %v", p, a.about, err)
		}
		if err := p.Prepare(t.Context(), "x:y"); err != nil {
			t.Errorf("%T: where there is nothing to ask: %v", p, err)
		}
		if err := p.Prepare(t.Context(), "unknown:y"); !errors.Is(err, transport.ErrPermanent) {
			t.Errorf("%T: an unknown scheme: %v", p, err)
		}
	}
}

func TestSchemesCheck(t *testing.T) {
	s := transport.Schemes{"x": transport.Func(missing), "full": &full{}, "nil": nil}
	for uri, want := range map[string]string{
		"x:anything":       "",
		"X:anything":       "",
		"full:quiet":       "",
		"full:loud!":       "full:loud!: too loud",
		"http://u:secret@": `http://u:xxxxx@: no transport for scheme "http"; known are full, x`,
		"nowhere":          "nowhere: not a URI: it has no scheme; known are full, x",
	} {
		err := s.Check(uri)
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", uri, err)
		case want != "" && (err == nil || err.Error() != want || !errors.Is(err, transport.ErrPermanent)):
			t.Errorf("%q: got %v, want %s", uri, err, want)
		}
	}
}

func TestSchemesClose(t *testing.T) {
	two, broken := &full{}, &full{failure: errors.New("stuck")}
	inner := transport.Schemes{"three": &full{}}
	s := transport.Schemes{"a": two, "b": two, "c": transport.Func(missing), "d": broken, "e": inner, "f": nil}
	err := s.Close()
	if err == nil || err.Error() != "closing the transport of d: stuck" || !errors.Is(err, broken.failure) {
		t.Errorf("got %v", err)
	}
	if two.closed != 1 || broken.closed != 1 || inner["three"].(*full).closed != 1 {
		t.Errorf("closed %d, %d and %d times; want each once", two.closed, broken.closed, inner["three"].(*full).closed)
	}
}
