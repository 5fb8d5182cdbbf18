package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/waybill-project/waybill/internal/faultserver"
	"github.com/waybill-project/waybill/store"
	"github.com/waybill-project/waybill/transport"
)

// places is a transport of functions by URI.
type places map[string]func(ctx context.Context, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error)

func (p places) Open(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	if f := p[route.URI]; f != nil {
		return f(ctx, desc, offset, length)
	}
	return nil, transport.Errorf(transport.ErrNotFound, route.URI, "no such blob")
}

// has is a place that has the blob.
func has(b faultserver.Blob) func(context.Context, ocispec.Descriptor, int64, int64) (io.ReadCloser, error) {
	return func(_ context.Context, _ ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(b.Content, offset, length)), nil
	}
}

func at(uris ...string) Routes {
	return func(yield func(transport.Route, error) bool) {
		for _, uri := range uris {
			if !yield(transport.Route{URI: uri, Origin: "test"}, nil) {
				return
			}
		}
	}
}

func describeBlob(b faultserver.Blob) ocispec.Descriptor {
	return ocispec.Descriptor{Digest: b.Digest, Size: b.Size}
}

func engineOn(t testing.TB, tr transport.Transport, change ...func(*Options)) *Engine {
	t.Helper()
	st, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	opts := Options{Transport: tr, Store: st}
	for _, f := range change {
		f(&opts)
	}
	return New(opts)
}

// detailOf shows all an error knows.
func detailOf(err error) string {
	var fe *Error
	if errors.As(err, &fe) {
		return fe.Detail()
	}
	return fmt.Sprint(err)
}

// The first look at the sources is never too early for the routes given.
func TestRoutesAreWaitedFor(t *testing.T) {
	for i := range uint64(60) {
		b := faultserver.RandomBlob(i, 100)
		e := engineOn(t, places{"x:": has(b)})
		if _, err := e.Fetch(context.Background(), describeBlob(b), at("x:")); err != nil {
			t.Fatalf("fetch %d: %s", i, detailOf(err))
		}
	}
}

// Who joins a fetch just as it fails has the sources it knows asked.
func TestJoinWhileFailing(t *testing.T) {
	for name, size := range map[string]int64{"small": 100, "large": 1 << 20, "of unknown size": -1} {
		t.Run(name, func(t *testing.T) {
			b := faultserver.RandomBlob(1, max(size, 100))
			desc := describeBlob(b)
			desc.Size = size
			var e *Engine
			var second *Task
			var once sync.Once
			lacking := func(ctx context.Context) error {
				// The second caller comes in while the only source answers.
				once.Do(func() { second = e.Start(context.Background(), desc, at("x:late")) })
				return transport.Errorf(transport.ErrNotFound, "x:", "no such blob")
			}
			tr := sized{places: places{
				"x:": func(ctx context.Context, _ ocispec.Descriptor, _, _ int64) (io.ReadCloser, error) {
					return nil, lacking(ctx)
				},
				"x:late": has(b),
			}, size: func(uri string) (int64, error) {
				if uri == "x:" {
					return 0, lacking(context.Background())
				}
				return b.Size, nil
			}}
			e = engineOn(t, tr)
			first := e.Start(context.Background(), desc, at("x:"))
			_, firstErr := first.Wait()
			if _, err := second.Wait(); err != nil {
				t.Fatalf("the second: %s; the first: %v", detailOf(err), firstErr)
			}
		})
	}
}

// sized is places that also say how large the blob is.
type sized struct {
	places
	size func(uri string) (int64, error)
}

func (s sized) Size(_ context.Context, r transport.Route, _ ocispec.Descriptor) (int64, error) {
	return s.size(r.URI)
}

// A descriptor with a wrong size doesn't spoil the fetch of the right one.
func TestAnotherSize(t *testing.T) {
	b := faultserver.RandomBlob(1, 1<<20)
	begun := make(chan struct{})
	release := make(chan struct{})
	e := engineOn(t, places{"x:": func(ctx context.Context, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
		if desc.Size != b.Size {
			close(begun)
			<-release
			return nil, transport.Errorf(transport.ErrPermanent, "x:", "has %d bytes", b.Size)
		}
		return has(b)(ctx, desc, offset, length)
	}})
	wrong := describeBlob(b)
	wrong.Size = 1000
	bad := e.Start(context.Background(), wrong, at("x:"))
	<-begun
	if _, err := e.Fetch(context.Background(), describeBlob(b), at("x:")); err != nil {
		t.Error(detailOf(err))
	}
	close(release)
	if _, err := bad.Wait(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("with the wrong size: %v", err)
	}
	if _, err := e.Fetch(context.Background(), wrong, nil); err == nil {
		t.Error("a blob of another size than described was taken from the store")
	}
}

// An observer may hold a lock that is also held while a task is asked for its
// progress.
func TestObserverWithALock(t *testing.T) {
	b := faultserver.RandomBlob(1, 8<<20)
	var mu sync.Mutex
	places := places{}
	var uris []string
	for i := range 4 {
		uris = append(uris, fmt.Sprint("x:", i))
		places[uris[i]] = has(b)
	}
	for range 20 {
		e := engineOn(t, places, func(o *Options) {
			o.Observe = func(Event) {
				mu.Lock()
				defer mu.Unlock()
				time.Sleep(time.Millisecond)
			}
		})
		task := e.Start(context.Background(), describeBlob(b), at(uris...))
		done := make(chan struct{})
		go func() {
			defer close(done)
			if _, err := task.Wait(); err != nil {
				t.Error(detailOf(err))
			}
		}()
		for over := false; !over; {
			mu.Lock()
			task.Progress()
			mu.Unlock()
			select {
			case <-done:
				over = true
			default:
			}
		}
		if p := task.Progress(); p.Done != 0 && p.Done != b.Size {
			t.Errorf("progress in the end: %+v", p)
		}
	}
}

// Callers leave at every stage, and the next finds everything in order.
func TestLeavingAtEveryStage(t *testing.T) {
	for name, size := range map[string]int64{"small": 100, "large": 1 << 20, "of unknown size": -1} {
		t.Run(name, func(t *testing.T) {
			b := faultserver.RandomBlob(2, max(size, 1<<20))
			desc := describeBlob(b)
			desc.Size = size
			if size == 100 {
				b = faultserver.RandomBlob(2, 100)
				desc = describeBlob(b)
			}
			for stage := range 8 {
				var e *Engine
				leave := make(chan struct{}, 1)
				n := 0
				var mu sync.Mutex
				step := func() {
					mu.Lock()
					defer mu.Unlock()
					if n++; n == stage {
						leave <- struct{}{}
						time.Sleep(5 * time.Millisecond)
					}
				}
				e = engineOn(t, sized{
					places: places{"x:": func(_ context.Context, _ ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
						step()
						return steps{io.NewSectionReader(b.Content, offset, length), step}, nil
					}},
					size: func(string) (int64, error) { step(); return b.Size, nil },
				})
				ctx, cancel := context.WithCancel(context.Background())
				task := e.Start(ctx, desc, at("x:"))
				rd := task.Reader()
				go func() {
					select {
					case <-leave:
					case <-time.After(10 * time.Millisecond):
					}
					cancel()
				}()
				_, waitErr := task.Wait()
				if waitErr != nil && !errors.Is(waitErr, context.Canceled) {
					t.Errorf("stage %d: %v", stage, waitErr)
				}
				rd.Close()
				if _, err := e.Fetch(context.Background(), desc, at("x:")); err != nil {
					t.Errorf("after stage %d: %s", stage, detailOf(err))
				}
			}
		})
	}
}

// steps is a body that tells of every read of a quarter of a megabyte.
type steps struct {
	io.Reader
	step func()
}

func (s steps) Read(p []byte) (int, error) {
	s.step()
	return s.Reader.Read(p[:min(len(p), 256<<10)])
}

func (s steps) Close() error { return nil }

// A caller who gives up while another process holds the blob gets its context's
// error, at once.
func TestLeavingTheQueue(t *testing.T) {
	b := faultserver.RandomBlob(1, 1<<20)
	e := engineOn(t, places{"x:": has(b)})
	other, err := e.opts.Store.Ingest(context.Background(), b.Digest, b.Size)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	mine := errors.New("enough of it")
	time.AfterFunc(20*time.Millisecond, func() { cancel(mine) })
	if _, err := e.Fetch(ctx, describeBlob(b), at("x:")); !errors.Is(err, mine) {
		t.Errorf("got %v", err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Fetch(context.Background(), describeBlob(b), at("x:")); err != nil {
		t.Error(detailOf(err))
	}
}

// Readers get the blob, or an error, whenever they come.
func TestReaders(t *testing.T) {
	b := faultserver.RandomBlob(1, 3<<20)
	want := make([]byte, b.Size)
	if _, err := b.Content.ReadAt(want, 0); err != nil {
		t.Fatal(err)
	}
	t.Run("after the commit", func(t *testing.T) {
		e := engineOn(t, places{"x:": has(b)})
		task := e.Start(context.Background(), describeBlob(b), at("x:"))
		if _, err := task.Wait(); err != nil {
			t.Fatal(err)
		}
		rd := task.Reader()
		defer rd.Close()
		if got, err := io.ReadAll(rd); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
	t.Run("across the commit", func(t *testing.T) {
		e := engineOn(t, places{"x:": has(b)})
		task := e.Start(context.Background(), describeBlob(b), at("x:"))
		rd := task.Reader()
		defer rd.Close()
		half := make([]byte, len(want)/2)
		if _, err := io.ReadFull(rd, half); err != nil {
			t.Fatal(err)
		}
		if _, err := task.Wait(); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(rd)
		if err != nil || !bytes.Equal(append(half, rest...), want) {
			t.Errorf("%d bytes, %v", len(half)+len(rest), err)
		}
	})
	t.Run("after a failure", func(t *testing.T) {
		e := engineOn(t, places{})
		task := e.Start(context.Background(), describeBlob(b), at("x:"))
		task.Wait()
		rd := task.Reader()
		defer rd.Close()
		if _, err := io.ReadAll(rd); !errors.Is(err, ErrNotFound) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("of one who leaves", func(t *testing.T) {
		e := engineOn(t, places{"x:": func(ctx context.Context, _ ocispec.Descriptor, _, _ int64) (io.ReadCloser, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		ctx, cancel := context.WithCancel(context.Background())
		rd := e.Start(ctx, describeBlob(b), at("x:")).Reader()
		defer rd.Close()
		time.AfterFunc(20*time.Millisecond, cancel)
		if _, err := io.ReadAll(rd); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}
