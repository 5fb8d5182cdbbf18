package fetch

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/waybill-project/waybill/internal/faultserver"
	"github.com/waybill-project/waybill/store"
	"github.com/waybill-project/waybill/transport"
)

// leave puts a partial of b into the store, as source would have left it, with
// the bytes of damage flipped.
func leave(t *testing.T, st *store.Store, b faultserver.Blob, held, damage spans, source string) {
	t.Helper()
	ing, err := st.Ingest(context.Background(), b.Digest, b.Size)
	if err != nil {
		t.Fatal(err)
	}
	defer ing.Close()
	for _, r := range held {
		p := make([]byte, r.len())
		if _, err := b.Content.ReadAt(p, r.start); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		for _, d := range damage.within(r.start, r.end) {
			for i := d.start; i < d.end; i++ {
				p[i-r.start] ^= 1
			}
		}
		if _, err := ing.WriteAt(p, r.start); err != nil {
			t.Fatal(err)
		}
		if err := ing.Record(r.start, r.len(), source); err != nil {
			t.Fatal(err)
		}
	}
}

func kept(t *testing.T, st *store.Store) (n int64) {
	t.Helper()
	for i, err := range st.Ingests() {
		if err != nil {
			t.Fatal(err)
		}
		n += i.Recorded
	}
	return n
}

// What a disk made of bytes that came right is fetched again, and held against
// nobody.
func TestDamagedPartial(t *testing.T) {
	const size = 24 << 20
	b := faultserver.RandomBlob(1, size)
	whole := spans{{0, size}}
	for name, test := range map[string]struct {
		held, damage spans
		source       string // that the partial was recorded as from
		routes       []string
	}{
		"one byte, its own source":     {whole, spans{{5_000_000, 5_000_001}}, "x:a", []string{"x:a"}},
		"half a megabyte":              {whole, spans{{5_000_000, 5_500_000}}, "x:a", []string{"x:a"}},
		"another source":               {whole, spans{{0, 1}}, "x:gone", []string{"x:a"}},
		"an unknown source":            {whole, spans{{size - 1, size}}, "", []string{"x:a"}},
		"two sources":                  {whole, spans{{100, 101}, {20_000_000, 20_000_100}}, "x:b", []string{"x:a", "x:b"}},
		"a part, two sources":          {spans{{1 << 20, 9 << 20}}, spans{{2 << 20, 2<<20 + 1}}, "x:a", []string{"x:a", "x:b"}},
		"all of it, three sources":     {whole, whole, "x:c", []string{"x:a", "x:b", "x:c"}},
		"many parts, none of it wrong": {spans{{0, 1}, {3, 4}, {1 << 20, 2 << 20}, {size - 5, size}}, nil, "x:a", []string{"x:b"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := engineOn(t, places{"x:a": has(b), "x:b": has(b), "x:c": has(b)})
			leave(t, e.opts.Store, b, test.held, test.damage, test.source)
			r, err := e.Fetch(context.Background(), describeBlob(b), at(test.routes...))
			if err != nil {
				t.Fatal(detailOf(err))
			}
			sum := r.Resumed
			for _, s := range r.Served {
				sum += s.Length
			}
			if sum != size || len(test.damage) == 0 && r.Resumed != test.held.size() {
				t.Errorf("resumed %d, served %+v", r.Resumed, r.Served)
			}
			for _, s := range e.Sources() {
				if s.Status == StatusQuarantined {
					t.Errorf("%s is %s: %s", s.URI, s.Status, s.Reason)
				}
			}
		})
	}
}

// A damaged partial nobody can mend now is kept for when somebody can.
func TestDamagedPartialIsKept(t *testing.T) {
	b := faultserver.RandomBlob(1, 4<<20)
	e := engineOn(t, places{"x:a": has(b)})
	leave(t, e.opts.Store, b, spans{{0, b.Size}}, spans{{7, 8}}, "x:a")
	if _, err := e.Fetch(context.Background(), describeBlob(b), nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("without a source: %v", detailOf(err))
	}
	if n := kept(t, e.opts.Store); n != b.Size {
		t.Errorf("kept %d bytes", n)
	}
	if _, err := e.Fetch(context.Background(), describeBlob(b), at("x:a")); err != nil {
		t.Error(detailOf(err))
	}
}

// Whoever can't be asked any more when a lie is looked for is not taken for the
// liar, and what only the liar sent is not kept.
func TestLiarAndWitnessGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := faultserver.RandomBlob(1, 16<<20)
		var gone atomic.Bool
		paced := func(uri string, lie bool) func(context.Context, ocispec.Descriptor, int64, int64) (io.ReadCloser, error) {
			return func(ctx context.Context, _ ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
				if !lie && gone.Load() {
					return nil, transport.Errorf(transport.ErrTemporary, uri, "connection refused")
				}
				return &pacedBody{io.NewSectionReader(b.Content, offset, length), lie}, nil
			}
		}
		e := engineOn(t, places{"x:liar": paced("x:liar", true), "x:honest": paced("x:honest", false)}, func(o *Options) {
			o.Observe = func(ev Event) {
				if ev.Type == EventMismatch {
					gone.Store(true)
				}
			}
		})
		_, err := e.Fetch(context.Background(), describeBlob(b), at("x:liar", "x:honest"))
		if !errors.Is(err, ErrVerification) {
			t.Fatalf("got %v", detailOf(err))
		}
		for _, s := range e.Sources() {
			if want := s.URI == "x:liar"; want != (s.Status == StatusQuarantined) {
				t.Errorf("%s is %s: %s", s.URI, s.Status, s.Reason)
			}
		}
		if n := kept(t, e.opts.Store); n > 12<<20 {
			t.Errorf("kept %d bytes, those of the liar too", n)
		}
		gone.Store(false)
		time.Sleep(time.Minute)
		if _, err := e.Fetch(context.Background(), describeBlob(b), at("x:honest")); err != nil {
			t.Fatal(detailOf(err))
		}
	})
}

// pacedBody sends 64 KiB every 5 milliseconds.
type pacedBody struct {
	io.Reader
	lie bool
}

func (p *pacedBody) Read(b []byte) (int, error) {
	time.Sleep(5 * time.Millisecond)
	n, err := p.Reader.Read(b[:min(len(b), 64<<10)])
	if p.lie {
		for i := range b[:n] {
			b[i]++
		}
	}
	return n, err
}

func (p *pacedBody) Close() error { return nil }

// A blob nobody has leaves nothing on disk, least of all the space reserved.
func TestNothingIsLeftOfNothing(t *testing.T) {
	b := faultserver.RandomBlob(1, 64<<20)
	e := engineOn(t, places{})
	if _, err := e.Fetch(context.Background(), describeBlob(b), at("x:a", "x:b")); !errors.Is(err, ErrNotFound) {
		t.Fatal(detailOf(err))
	}
	for i, err := range e.opts.Store.Ingests() {
		t.Errorf("left: %+v, %v", i, err)
	}
}

// Passwords in routes show up nowhere: not in events, reports, errors or
// results, and not on disk.
func TestPasswordsAreNotShown(t *testing.T) { synctest.Test(t, showNoPasswords) }

func showNoPasswords(t *testing.T) {
	const secret = "hunter2"
	b, small := faultserver.RandomBlob(1, 6<<20), faultserver.RandomBlob(2, 1000)
	uri := func(host string) string { return "x://user:" + secret + "@" + host + "/blob" }
	lies := func(_ context.Context, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
		return &pacedBody{io.NewSectionReader(faultserver.Random(9), offset, length), true}, nil
	}
	var seen strings.Builder
	note := func(s ...string) { seen.WriteString(strings.Join(s, " ") + "\n") }
	var dir string
	e := engineOn(t, places{
		uri("liar"): lies,
		uri("good"): func(ctx context.Context, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
			body := b
			if desc.Digest == small.Digest {
				body = small
			}
			return &pacedBody{io.NewSectionReader(body.Content, offset, length), false}, nil
		},
		uri("broken"): func(context.Context, ocispec.Descriptor, int64, int64) (io.ReadCloser, error) {
			return nil, transport.Errorf(transport.ErrTemporary, uri("broken"), "reset")
		},
	}, func(o *Options) {
		dir = o.Store.Dir()
		var events = make(chan Event, 10_000)
		o.Observe = func(ev Event) { events <- ev }
		t.Cleanup(func() {
			close(events)
			for ev := range events {
				if strings.Contains(ev.Source+ev.Detail, secret) {
					t.Errorf("event %+v", ev)
				}
			}
		})
	})
	routes := func(hosts ...string) Routes {
		return func(yield func(transport.Route, error) bool) {
			for _, h := range hosts {
				yield(transport.Route{URI: uri(h)}, nil)
			}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	e.Fetch(ctx, describeBlob(b), routes("good", "liar", "broken")) // leaves a partial
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "data" {
			return err
		}
		content, err := os.ReadFile(filepath.Join(dir, path))
		note(string(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(seen.String(), "good") {
		t.Error("the partial names no source")
	}
	r, err := e.Fetch(context.Background(), describeBlob(b), routes("liar", "good", "broken"))
	if err != nil {
		t.Fatal(detailOf(err))
	}
	for _, s := range r.Served {
		note(s.Source)
	}
	for _, d := range []faultserver.Blob{small, faultserver.RandomBlob(3, 1000)} {
		if _, err := e.Fetch(context.Background(), describeBlob(d), routes("liar", "broken")); err != nil {
			note(err.Error(), detailOf(err))
			var fe *Error
			if errors.As(err, &fe) {
				for _, s := range fe.Sources {
					note(s.URI, s.Error())
				}
			}
		}
	}
	for _, s := range e.Sources() {
		note(s.URI, s.Origin, s.Reason)
	}
	for line := range strings.Lines(seen.String()) {
		if strings.Contains(line, secret) {
			t.Errorf("shown: %q", line)
		}
	}
}
