package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	typeManifest = ocispec.MediaTypeImageManifest
	typeIndex    = ocispec.MediaTypeImageIndex
	typeLayer    = ocispec.MediaTypeImageLayer
)

// tree is content in a store by symbolic names: what refers to others comes
// after them.
type tree struct {
	t     *testing.T
	s     *Store
	descs map[string]ocispec.Descriptor
}

func newTree(t *testing.T) *tree {
	return &tree{t, openStore(t, t.TempDir()), make(map[string]ocispec.Descriptor)}
}

// add stores content under a name.
func (tr *tree) add(name, mediaType string, content []byte) {
	tr.t.Helper()
	put(tr.t, tr.s, content)
	tr.descs[name] = descriptorOf(mediaType, content)
}

// addLayers stores blobs that refer to nothing.
func (tr *tree) addLayers(names ...string) {
	tr.t.Helper()
	for _, name := range names {
		tr.add(name, typeLayer, []byte(name))
	}
}

// addManifest stores a manifest or index of the given ones.
func (tr *tree) addManifest(name, mediaType string, of ...string) {
	tr.t.Helper()
	var list []ocispec.Descriptor
	for _, child := range of {
		list = append(list, tr.descs[child])
	}
	key := "layers"
	if mediaType == typeIndex {
		key = "manifests"
	}
	content, err := json.Marshal(map[string]any{key: list, "annotations": map[string]string{"name": name}})
	noError(tr.t, err)
	tr.add(name, mediaType, content)
}

func (tr *tree) ref(name, of string) {
	tr.t.Helper()
	noError(tr.t, tr.s.PutRef(Ref{Name: name, Descriptor: tr.descs[of]}))
}

// remove removes the blob of a name behind the store's back.
func (tr *tree) remove(name string) {
	tr.t.Helper()
	path, _ := digestPath(tr.s.dir, blobsDir, tr.descs[name].Digest)
	noError(tr.t, os.Remove(path))
}

// left returns the names whose blobs are there.
func (tr *tree) left() string {
	tr.t.Helper()
	var names []string
	for name, desc := range tr.descs {
		if _, err := tr.s.Stat(desc.Digest); err == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// image makes manifest m of layers a and b, and the stray layer s.
func (tr *tree) image() {
	tr.t.Helper()
	tr.addLayers("a", "b", "s")
	tr.addManifest("m", typeManifest, "a", "b")
}

func TestGC(t *testing.T) {
	tests := []struct {
		name  string
		build func(tr *tree)
		want  string
	}{
		{"nothing refers to anything", func(tr *tree) { tr.image() }, ""},
		{"a ref", func(tr *tree) { tr.image(); tr.ref("x", "m") }, "a b m"},
		{"a removed ref", func(tr *tree) { tr.image(); tr.ref("x", "m"); noError(tr.t, tr.s.RemoveRef("x")) }, ""},
		{"two refs to one", func(tr *tree) {
			tr.image()
			tr.ref("x", "m")
			tr.ref("y", "m")
			noError(tr.t, tr.s.RemoveRef("x"))
		}, "a b m"},
		{"shared layers", func(tr *tree) {
			tr.addLayers("a", "b", "c")
			tr.addManifest("m", typeManifest, "a", "b")
			tr.addManifest("n", typeManifest, "b", "c")
			tr.ref("x", "n")
		}, "b c n"},
		{"an index in an index", func(tr *tree) {
			tr.image()
			tr.addManifest("i", typeIndex, "m")
			tr.addManifest("j", typeIndex, "i", "m")
			tr.ref("x", "j")
		}, "a b i j m"},
		{"an index with a platform that wasn't pulled", func(tr *tree) {
			tr.image()
			tr.addManifest("absent", typeManifest, "s")
			tr.addManifest("i", typeIndex, "absent", "m")
			tr.remove("absent")
			tr.ref("x", "i")
		}, "a b i m"},
		{"a ref to a layer", func(tr *tree) {
			tr.t.Helper()
			tr.addLayers("s")
			tr.add("empty", typeLayer, []byte("{}"))
			tr.ref("x", "empty")
		}, "empty"},
		{"a ref to a large layer", func(tr *tree) {
			tr.addLayers("s")
			tr.add("large", typeLayer, make([]byte, maxManifest+1))
			tr.ref("x", "large")
		}, "large"},
		{"what is a layer here and a manifest there", func(tr *tree) {
			tr.image()
			layer := tr.descs["m"]
			layer.MediaType = typeLayer
			tr.descs["m as layer"] = layer
			tr.addManifest("n", typeManifest, "m as layer")
			tr.addManifest("i", typeIndex, "n", "m")
			tr.ref("x", "i")
			delete(tr.descs, "m as layer")
		}, "a b i m n"},
		{"docker's types", func(tr *tree) {
			tr.addLayers("a", "s")
			tr.addManifest("m", "application/vnd.docker.distribution.manifest.v2+json", "a")
			tr.add("l", "application/vnd.docker.distribution.manifest.list.v2+json", fmt.Appendf(nil, `{"manifests":[{"mediaType":%q,"digest":%q,"size":1}]}`, tr.descs["m"].MediaType, tr.descs["m"].Digest))
			tr.ref("x", "l")
		}, "a l m"},
		{"a root of a type not known", func(tr *tree) {
			tr.addLayers("a", "s")
			tr.addManifest("m", "application/x-future", "a")
			tr.ref("x", "m")
		}, "a m"},
		{"foreign files", func(tr *tree) {
			tr.image()
			tr.ref("x", "m")
			noError(tr.t, os.WriteFile(tr.s.path(blobsDir, "sha256", "README"), nil, 0o644))
		}, "a b m"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := newTree(t)
			tt.build(tr)
			before, err := tr.s.DF()
			noError(t, err)
			dry, err := tr.s.GC(t.Context(), GCOptions{DryRun: true, Children: imageChildren})
			noError(t, err)
			if u, err := tr.s.DF(); err != nil || u != before {
				t.Errorf("a dry run changed %+v to %+v, %v", before, u, err)
			}
			report, err := tr.s.GC(t.Context(), GCOptions{Children: imageChildren})
			noError(t, err)
			after, err := tr.s.DF()
			noError(t, err)
			if got := tr.left(); got != tt.want {
				t.Errorf("left %q, want %q", got, tt.want)
			}
			if report != dry || report.Blobs != before.Blobs-after.Blobs || report.Bytes != before.Bytes-after.Bytes {
				t.Errorf("reported %+v (dry %+v), went from %+v to %+v", report, dry, before, after)
			}
		})
	}
}

// Where gc can't tell what a ref leads to, it removes nothing.
func TestGCStops(t *testing.T) {
	tests := []struct {
		name  string
		build func(tr *tree)
		want  string
	}{
		{"root missing", func(tr *tree) { tr.remove("m") }, "not in the store"},
		{"root damaged", func(tr *tree) {
			path, _ := digestPath(tr.s.dir, blobsDir, tr.descs["m"].Digest)
			noError(tr.t, os.WriteFile(path, []byte("{}"), 0o644))
		}, "corrupt"},
		{"root not parsed", func(tr *tree) { tr.add("n", typeManifest, []byte("hello")); tr.ref("y", "n") }, "invalid character"},
		{"root too large", func(tr *tree) {
			tr.add("n", typeManifest, make([]byte, maxManifest+1))
			tr.ref("y", "n")
		}, "more than the limit of 33554432"},
		{"manifest below not parsed", func(tr *tree) {
			tr.add("n", typeManifest, []byte("hello"))
			tr.addManifest("i", typeIndex, "m", "n")
			tr.ref("y", "i")
		}, "invalid character"},
		{"manifest below damaged", func(tr *tree) {
			tr.addManifest("i", typeIndex, "m")
			tr.ref("y", "i")
			path, _ := digestPath(tr.s.dir, blobsDir, tr.descs["m"].Digest)
			noError(tr.t, os.WriteFile(path, nil, 0o644))
		}, "corrupt"},
		{"bad digest in a manifest", func(tr *tree) {
			tr.add("n", typeManifest, []byte(`{"layers":[{"digest":"sha256:../../x","size":1}]}`))
			tr.ref("y", "n")
		}, "digest \"sha256:../../x\""},
		{"foreign lease", func(tr *tree) { noError(tr.t, os.Mkdir(tr.s.path(leasesDir, "x"), 0o755)) }, "doesn't belong"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := newTree(t)
			tr.image()
			tr.ref("x", "m")
			tt.build(tr)
			before := tr.left()
			_, err := tr.s.GC(t.Context(), GCOptions{Children: imageChildren})
			checkError(t, err, tt.want)
			if got := tr.left(); got != before {
				t.Errorf("left %q of %q", got, before)
			}
		})
	}
	t.Run("no Children", func(t *testing.T) {
		_, err := newTree(t).s.GC(t.Context(), GCOptions{})
		checkError(t, err, "Children is required")
	})
	t.Run("context ended", func(t *testing.T) {
		tr := newTree(t)
		tr.image()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := tr.s.GC(ctx, GCOptions{Children: imageChildren}); !errors.Is(err, context.Canceled) {
			t.Errorf("GC: %v", err)
		}
		if got := tr.left(); got != "a b m s" {
			t.Errorf("left %q", got)
		}
	})
}

// Cycles can't be made of digests, but a Children that invents them must not
// keep gc for ever, nor a chain make it deep.
func TestGCEnds(t *testing.T) {
	tr := newTree(t)
	tr.image()
	tr.ref("x", "m")
	calls := 0
	report, err := tr.s.GC(t.Context(), GCOptions{Children: func(desc ocispec.Descriptor, _ []byte) ([]ocispec.Descriptor, error) {
		calls++
		return []ocispec.Descriptor{desc, desc, tr.descs["a"]}, nil
	}})
	if err != nil || calls != 1 || report.Blobs != 2 {
		t.Errorf("%d calls, %+v, %v", calls, report, err)
	}
	tr = newTree(t)
	tr.addLayers("0")
	for n := range 3000 {
		tr.addManifest(fmt.Sprint(n+1), typeIndex, fmt.Sprint(n))
		if n == 0 {
			tr.addManifest("1", typeManifest, "0")
		}
	}
	tr.ref("x", "3000")
	if report, err := tr.s.GC(t.Context(), GCOptions{Children: imageChildren}); err != nil || report.Blobs != 1 {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestGCRemovesStrays(t *testing.T) {
	s := openStore(t, t.TempDir())
	stray := s.tempPath()
	noError(t, os.WriteFile(stray, []byte("half of something"), 0o644))
	noError(t, os.WriteFile(s.path(leasesDir, "dead"), []byte("sha256:1234"), 0o644))
	for _, dryRun := range []bool{true, false} {
		_, err := s.GC(t.Context(), GCOptions{DryRun: dryRun, Children: imageChildren})
		noError(t, err)
		for _, path := range []string{stray, s.path(leasesDir, "dead")} {
			if _, err := os.Lstat(path); (err == nil) != dryRun {
				t.Errorf("%s after a gc with DryRun %v: %v", path, dryRun, err)
			}
		}
	}
}

func TestLease(t *testing.T) {
	tr := newTree(t)
	tr.addLayers("a", "b", "c")
	gc := func() {
		t.Helper()
		_, err := tr.s.GC(t.Context(), GCOptions{Children: imageChildren})
		noError(t, err)
	}
	one, err := tr.s.Lease("one")
	noError(t, err)
	if _, err := openStore(t, tr.s.dir).Lease("one"); !errors.Is(err, ErrExists) {
		t.Errorf("Lease of the same id: %v, want ErrExists", err)
	}
	two, err := tr.s.Lease("two")
	noError(t, err)
	noError(t, one.Hold(tr.descs["a"].Digest, tr.descs["b"].Digest))
	noError(t, two.Hold(tr.descs["b"].Digest))
	noError(t, two.Hold(tr.descs["b"].Digest, tr.descs["b"].Digest))
	gc()
	if got := tr.left(); got != "a b" {
		t.Errorf("left %q, want a and b", got)
	}
	noError(t, one.Release())
	noError(t, one.Release())
	if err := one.Hold(tr.descs["a"].Digest); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Hold after Release: %v, want os.ErrClosed", err)
	}
	gc()
	if got := tr.left(); got != "b" {
		t.Errorf("left %q, want b", got)
	}
	// An id can be used again.
	one, err = tr.s.Lease("one")
	noError(t, err)
	noError(t, one.Release())
	noError(t, two.Release())
	gc()
	if got := tr.left(); got != "" {
		t.Errorf("left %q", got)
	}
}

func TestLeaseOfManyGoroutines(t *testing.T) {
	s := openStore(t, t.TempDir())
	lease, err := s.Lease("x")
	noError(t, err)
	var wg sync.WaitGroup
	for n := range 32 {
		wg.Go(func() {
			content := fmt.Append(nil, n)
			d := digest.FromBytes(content)
			if err := lease.Hold(d); err != nil {
				t.Error(err)
			}
			if err := s.Put(d, content); err != nil {
				t.Error(err)
			}
			if _, err := s.GC(t.Context(), GCOptions{Children: imageChildren}); err != nil {
				t.Error(err)
			}
			if _, err := s.Stat(d); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	noError(t, lease.Release())
}

// Whoever holds a blob and then sees it, while gc is at work, must not lose it to
// that gc.
func TestHoldWhileGCMarks(t *testing.T) {
	tr := newTree(t)
	tr.image()
	tr.ref("x", "m")
	stray := tr.descs["s"].Digest
	lease, err := tr.s.Lease("x")
	noError(t, err)
	var seen error
	var wg sync.WaitGroup
	report, err := tr.s.GC(t.Context(), GCOptions{Children: func(desc ocispec.Descriptor, content []byte) ([]ocispec.Descriptor, error) {
		wg.Go(func() {
			if err := lease.Hold(stray); err != nil {
				t.Error(err)
			}
			_, seen = tr.s.Stat(stray)
		})
		time.Sleep(200 * time.Millisecond) // Hold's chance not to wait
		return imageChildren(desc, content)
	}})
	noError(t, err)
	wg.Wait()
	if seen == nil || !errors.Is(seen, ErrNotFound) || report.Blobs != 1 {
		t.Errorf("seen by its holder: %v; gc: %+v", seen, report)
	}
}

// A lease nobody has a pointer to any more still holds.
func TestLeaseIsNotCollected(t *testing.T) {
	s := openStore(t, t.TempDir())
	d := put(t, s, []byte("content"))
	func() {
		lease, err := s.Lease("x")
		noError(t, err)
		noError(t, lease.Hold(d))
	}()
	for range 3 {
		runtime.GC()
		time.Sleep(time.Millisecond) // finalizers run beside
	}
	if _, err := s.GC(t.Context(), GCOptions{Children: imageChildren}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Stat(d); err != nil {
		t.Error(err)
	}
}

// While others keep taking the lock by turns, so that somebody always has it,
// gc still gets it.
func TestGCIsNotStarved(t *testing.T) {
	s := openStore(t, t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			time.Sleep(time.Duration(n) * 3 * time.Millisecond)
			for {
				unlock, err := s.share()
				if err != nil {
					t.Error(err)
					return
				}
				time.Sleep(20 * time.Millisecond)
				unlock()
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	time.Sleep(50 * time.Millisecond)
	_, err := s.GC(ctx, GCOptions{Children: imageChildren})
	close(stop)
	wg.Wait()
	noError(t, err)
}

func TestGCWaitsUntilContextEnds(t *testing.T) {
	s := openStore(t, t.TempDir())
	unlock, err := s.share()
	noError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.GC(ctx, GCOptions{Children: imageChildren}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("GC: %v", err)
	}
	unlock()
	// What waited gives the lock back, so that another gc gets it.
	if _, err := s.GC(t.Context(), GCOptions{Children: imageChildren}); err != nil {
		t.Error(err)
	}
}
