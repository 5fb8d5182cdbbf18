package transporttest_test

import (
	"context"
	"errors"
	"io"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/transport"
)

// opener and reader are what a flaw changes: an Open, and a Read of what it
// returned.
type (
	opener = transport.Func
	reader = func(r io.Reader, p []byte) (int, error)
)

// flawed is the reference with something wrong.
type flawed struct {
	*reference
	open  opener                                                                    // nil: the reference's
	size  func(context.Context, transport.Route, ocispec.Descriptor) (int64, error) // nil: the reference's
	close func() error                                                              // nil: the reference's
}

func (f *flawed) Open(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	if f.open == nil {
		return f.reference.Open(ctx, route, desc, offset, length)
	}
	return f.open(ctx, route, desc, offset, length)
}

func (f *flawed) Size(ctx context.Context, route transport.Route, desc ocispec.Descriptor) (int64, error) {
	if f.size == nil {
		return f.reference.Size(ctx, route, desc)
	}
	return f.size(ctx, route, desc)
}

func (f *flawed) Close() error {
	if f.close == nil {
		return f.reference.Close()
	}
	return f.close()
}

// flawedReader is a reader whose Read or Close is another.
type flawedReader struct {
	io.ReadCloser
	read  reader
	close func() error
}

func (r *flawedReader) Read(p []byte) (int, error) {
	if r.read == nil {
		return r.ReadCloser.Read(p)
	}
	return r.read(r.ReadCloser, p)
}

func (r *flawedReader) Close() error {
	if r.close == nil {
		return r.ReadCloser.Close()
	}
	return r.close()
}

// opens returns the reference with another Open.
func opens(make func(r *reference) opener) func(*transporttest.Harness) {
	return func(h *transporttest.Harness) {
		r := newReference()
		h.Transport = &flawed{reference: r, open: make(r)}
	}
}

// reads returns the reference with readers that have a Read each. rest is how
// many bytes were asked for.
func reads(make func(rest int64) reader) func(*transporttest.Harness) {
	return opens(func(r *reference) opener {
		return func(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
			body, err := r.Open(ctx, route, desc, offset, length)
			if err != nil {
				return nil, err
			}
			return &flawedReader{ReadCloser: body, read: make(length)}, nil
		}
	})
}

// fails returns the reference with errors changed.
func fails(change func(route transport.Route, err error) error) func(*transporttest.Harness) {
	return opens(func(r *reference) opener {
		return func(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
			body, err := r.Open(ctx, route, desc, offset, length)
			if err != nil {
				return nil, change(route, err)
			}
			return &flawedReader{ReadCloser: body, read: func(r io.Reader, p []byte) (int, error) {
				n, err := r.Read(p)
				if err != nil && err != io.EOF {
					err = change(route, err)
				}
				return n, err
			}}, nil
		}
	})
}

// another returns a change of one kind into another.
func another(from, to error) func(*transporttest.Harness) {
	return fails(func(route transport.Route, err error) error {
		if errors.Is(err, from) {
			return transport.Errorf(to, route.URI, "something")
		}
		return err
	})
}

// asked returns the reference asked for another range than the flawed one was.
func asked(change func(desc *ocispec.Descriptor, offset, length *int64)) func(*transporttest.Harness) {
	return opens(func(r *reference) opener {
		return func(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
			change(&desc, &offset, &length)
			return r.Open(ctx, route, desc, offset, length)
		}
	})
}

// checker is the reference that checks URIs.
type checker struct {
	*reference
	check func(uri string) error
}

func (c *checker) Check(uri string) error { return c.check(uri) }

// checks returns the reference with a Check.
func checks(check func(uri string) error) func(*transporttest.Harness) {
	return func(h *transporttest.Harness) { h.Transport = &checker{newReference(), check} }
}

// unminded opens with a context that is never cancelled, once its own wasn't.
func unminded(r *reference) opener {
	return func(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return r.Open(context.Background(), route, desc, offset, length)
	}
}

// oneAtATime doesn't open before what was opened is closed.
func oneAtATime(r *reference) opener {
	var busy sync.Mutex
	return func(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
		busy.Lock()
		body, err := r.Open(ctx, route, desc, offset, length)
		if err != nil {
			busy.Unlock()
			return nil, err
		}
		return &flawedReader{ReadCloser: body, close: func() error { busy.Unlock(); return body.Close() }}, nil
	}
}

// drained returns readers that are read to their end by Close.
func drained(r *reference) opener {
	return func(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
		body, err := r.Open(ctx, route, desc, offset, length)
		if err != nil {
			return nil, err
		}
		return &flawedReader{ReadCloser: body, close: func() error {
			_, _ = io.Copy(io.Discard, body)
			return body.Close()
		}}, nil
	}
}

// broken never opens again after it once failed.
func broken(r *reference) opener {
	var failed bool
	return func(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
		if failed {
			return nil, transport.Errorf(transport.ErrTemporary, route.URI, "broken for good")
		}
		body, err := r.Open(ctx, route, desc, offset, length)
		failed = errors.Is(err, transport.ErrTemporary)
		return body, err
	}
}

// wholeOnly refuses ranges.
func wholeOnly(r *reference) opener {
	return func(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
		if length >= 0 && length != desc.Size {
			return nil, transport.Errorf(transport.ErrRangeUnsupported, route.URI, "only whole blobs")
		}
		return r.Open(ctx, route, desc, offset, length)
	}
}
