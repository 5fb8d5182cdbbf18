package pull

import (
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/fetch"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/store"
	"github.com/waybill-project/waybill/test/testimage"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/layout"
)

// TestFetchedBlobsAreLetGo: a session holds nothing of the fetch of a blob that
// the store has, however many there are, and still opens it.
func TestFetchedBlobsAreLetGo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "image")
	l, err := testimage.NewLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	layer, err := l.AddLayer(testimage.Text(1, 100_000), testimage.Gzip)
	if err != nil {
		t.Fatal(err)
	}
	desc, err := l.AddImage(testimage.Config(), layer)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Tag(desc, "app"); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := &Puller{
		Store: st,
		Fetch: fetch.Options{Transport: transport.Schemes{"oci": layout.Transport{}}},
		Names: resolve.Names{name.Layout: resolve.Local{Finder: layout.Transport{}}},
	}
	n, err := name.Parse("oci:" + dir + ":app")
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.Start(t.Context(), n, Request{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Wait(); err != nil {
		t.Fatal(err)
	}
	if len(s.entries) != 3 {
		t.Errorf("%d entries", len(s.entries))
	}
	for _, e := range s.entries {
		if e.task != nil || e.result == nil {
			t.Errorf("%s: task %v, result %v", e.desc.Digest, e.task, e.result)
		}
		r, err := s.Open(t.Context(), e.desc.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if d, err := digest.FromReader(r); err != nil || d != e.desc.Digest {
			t.Errorf("%s: opened as %s, %v", e.desc.Digest, d, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}
