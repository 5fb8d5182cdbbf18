package fetch

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/waybill-project/waybill/internal/faultserver"
	"github.com/waybill-project/waybill/transport"
)

// endless is a place that has the blob and never looks at how long it is to be:
// after the blob's bytes come zeros.
func endless(b faultserver.Blob) func(context.Context, ocispec.Descriptor, int64, int64) (io.ReadCloser, error) {
	return func(_ context.Context, _ ocispec.Descriptor, offset, _ int64) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(io.NewSectionReader(b.Content, offset, b.Size-offset), strings.NewReader(strings.Repeat("\x00", 9)))), nil
	}
}

// Sources that make sizes up cost nothing but their own good name.
func TestMadeUpSizes(t *testing.T) {
	small, large := faultserver.RandomBlob(1, 5000), faultserver.RandomBlob(2, 4<<20)
	for name, test := range map[string]struct {
		blob  faultserver.Blob
		place func(faultserver.Blob) func(context.Context, ocispec.Descriptor, int64, int64) (io.ReadCloser, error)
		liars []int64 // what each of them says
	}{
		"smaller":            {small, has, []int64{100}},
		"larger":             {small, has, []int64{6000}},
		"a majority":         {small, has, []int64{100, 100, 100}},
		"nothing":            {small, has, []int64{0, 0}},
		"large for small":    {small, has, []int64{8 << 20, 8 << 20}},
		"small for large":    {large, has, []int64{1000, 1000}},
		"smaller, large":     {large, has, []int64{3 << 20, 3 << 20}},
		"larger, large":      {large, has, []int64{5 << 20, 5 << 20}},
		"all different":      {large, has, []int64{3 << 20, 5 << 20, 1, 0}},
		"small and careless": {small, endless, []int64{100, 100}},
		"more than any disk": {large, has, []int64{1 << 62, 1 << 62}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sizes := map[string]int64{"x:honest": test.blob.Size}
			tr := sized{places: places{"x:honest": test.place(test.blob)}, size: func(uri string) (int64, error) { return sizes[uri], nil }}
			uris := []string{}
			for i, n := range test.liars {
				uri := "x:liar" + string(rune('0'+i))
				sizes[uri] = n
				uris = append(uris, uri)
				tr.places[uri] = func(_ context.Context, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
					if desc.Size != n {
						return nil, transport.Errorf(transport.ErrPermanent, uri, "has %d bytes, want %d", n, desc.Size)
					}
					return io.NopCloser(io.NewSectionReader(faultserver.Random(9), offset, length)), nil
				}
			}
			e := engineOn(t, tr)
			desc := describeBlob(test.blob)
			desc.Size = -1
			task := e.Start(context.Background(), desc, at(append(uris, "x:honest")...))
			rd := task.Reader()
			defer rd.Close()
			got, readErr := io.ReadAll(rd)
			r, err := task.Wait()
			if err != nil {
				t.Fatal(detailOf(err))
			}
			if r.Size != test.blob.Size {
				t.Errorf("size %d, want %d", r.Size, test.blob.Size)
			}
			if readErr == nil && digest.FromBytes(got) != desc.Digest {
				t.Errorf("a reader got %d wrong bytes and no error", len(got))
			}
			for _, s := range e.Sources() {
				if s.URI == "x:honest" && s.Status == StatusQuarantined {
					t.Errorf("the honest source is quarantined: %s", s.Reason)
				}
			}
			for i, err := range e.opts.Store.Ingests() {
				t.Errorf("left: %+v, %v", i, err)
			}
		})
	}
}

func TestSizeThatNobodyKnows(t *testing.T) {
	b := faultserver.RandomBlob(1, 5000)
	desc := describeBlob(b)
	desc.Size = -1
	for name, test := range map[string]struct {
		tr   transport.Transport
		kind error
		says string
	}{
		"a transport that can't tell": {places{"x:": has(b)}, ErrUnavailable, "give its size"},
		"a place that can't tell":     {sized{places{"x:": has(b)}, func(string) (int64, error) { return -1, nil }}, ErrUnavailable, "give its size"},
		"said to be empty":            {sized{places{"x:": has(b)}, func(string) (int64, error) { return 0, nil }}, ErrUnavailable, "empty"},
		"not there": {sized{places{}, func(string) (int64, error) {
			return 0, transport.Errorf(transport.ErrNotFound, "x:", "no such blob")
		}}, ErrNotFound, "no such blob"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := engineOn(t, test.tr).Fetch(context.Background(), desc, at("x:"))
			if !errors.Is(err, test.kind) || !strings.Contains(detailOf(err), test.says) {
				t.Errorf("got %s, want %v that says %q", detailOf(err), test.kind, test.says)
			}
		})
	}
	t.Run("of nothing", func(t *testing.T) {
		r, err := engineOn(t, places{}).Fetch(context.Background(), ocispec.Descriptor{Digest: digest.FromBytes(nil), Size: -1}, nil)
		if err != nil || r.Size != 0 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// Once one source has said how large the blob is, neither mute sources nor slow
// locators are waited for.
func TestSizeOfTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := faultserver.RandomBlob(1, 5000)
		desc := describeBlob(b)
		desc.Size = -1
		began := time.Now()
		e := engineOn(t, sized{places{"x:": has(b)}, func(string) (int64, error) { return b.Size, nil }})
		_, err := e.Fetch(context.Background(), desc, func(yield func(transport.Route, error) bool) {
			yield(transport.Route{URI: "x:"}, nil)
			time.Sleep(time.Hour)
		})
		if err != nil {
			t.Fatal(detailOf(err))
		}
		if took := time.Since(began); took > 2*patience {
			t.Errorf("took %v", took)
		}
		time.Sleep(time.Hour)
	})
}
